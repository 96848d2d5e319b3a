"""LaTeX that compiles: its structure is checked always, compilation where TeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, plain, record, results_of, sweep

from harness.report import claims_text
from harness.report.latex import PAGE, escape
from harness.report.render import render
from harness.report.tables import build, build_all
from harness.suite.specs.claims import ClaimSpec
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

RESULTS = Path(__file__).parents[2] / "results"
SPECIAL = r"a_b & 50% #1 {x} ~^\ $z$ | <y> [c]"
SWEEP = TableSpec(protocol="robust", columns=["attack", "eps"])
BREADTH = r">\{[^{}]*\}|@\{[^{}]*\}|\[[^\]]*\]|\{[^{}]*\}"
"""What a column's letter may have around it in the argument of ``tabular``."""


def special():
    results = results_of(
        *(sweep(SPECIAL, attack, {0.1: [1, 0], 0.2: [0, 0]}) for attack in ("pgd", "fgsm"))
    )
    return build(results, TableSpec(protocol="robust", columns=["attack", "eps"], title=SPECIAL))


def mixed():
    """Flags, counts, families; missing, negative, very large, very small, and not a number."""
    numbers = {
        "enforced": 1.0,
        "sign_changes": 123456.0,
        "best_family": 0.0,
        "skew_log_w": -1.5,
        "ks_log_w": 0.00002,
        "live_share": float("nan"),
    }
    cells = [
        record(name, {}, value, metric=metric, protocol="audit")
        for metric, value in numbers.items()
        for name in ("bio", "bp")
        if (name, metric) != ("bp", "skew_log_w")
    ]
    return build(results_of(plain(*cells)), TableSpec(protocol="audit", columns=["metric"]))


def distrusted():
    return build(
        results_of(
            sweep("bio", "pgd", {0.1: [1] * 90 + [0] * 10}),
            sweep("bp", "pgd", {0.1: [1] * 50 + [0] * 50}),
            sweep("odd", "pgd", {0.1: [0] * 100}, trust="FAIL"),
        ),
        SWEEP,
    )


def beside_published():
    spec = PublishedSpec(
        learner="a", protocol="few", setting={"shots": 1}, value=0.9, source="Σ & others, 2017"
    )
    return build_all(
        results_of(episodes("a", [0.2, 0.4, 0.9]), episodes("b", [0.2, 0.4, 0.5])),
        [TableSpec(protocol="few", columns=["ways", "shots"])],
        [spec],
    )[0]


def long():
    cells = [
        sweep(f"learner-{i}", attack, {e / 10: [1, 0] for e in range(5)})
        for i in range(45)
        for attack in ("pgd", "fgsm")
    ]
    return build(results_of(*cells), SWEEP)


def claims():
    results = results_of(
        plain(
            *(
                record(name, {}, value, protocol="few", seed=seed, cell=f"{name}{seed}")
                for name, value in (("bio", 0.8), ("bp_1", 0.7))
                for seed in (0, 1)
            )
        )
    )
    specs = [
        ClaimSpec.model_validate(
            {
                "name": f"claim {i}",
                "claim": "50 % better & more",
                "learner": "bio",
                "controls": ["bp_1"],
                "measures": [
                    {"protocol": "few", "above_controls_by": 0.0},
                    {"protocol": "few", "at_least": 0.9},
                ],
            }
        )
        for i in range(20)
    ]
    from harness.report import claims as deciding

    return claims_text.latex(deciding.decide(results, specs), specs)


TABLES = (special, mixed, distrusted, beside_published, long)
TEXTS = {make.__name__: lambda make=make: render(make(), "latex") for make in TABLES} | {
    "claims": claims
}


def unescaped(text: str) -> str:
    """Escaped text without the commands that we emit."""
    text = re.sub(
        r"\\text(backslash|asciitilde|asciicircum|less|greater|bar|dagger)\{\}|\\ldots\{\}",
        "",
        text,
    )
    text = text.replace(r"\textsuperscript{2}", "")
    return re.sub(
        r"\\[&%$#_{}]|\$\\(pm|sigma|eta|times|geq|leq|approx|varepsilon|cdot)\$"
        r"|\$-\$|\{\[\}|\{\]\}",
        "",
        text,
    )


@given(st.text())
def test_escaped_text_has_nothing_special_left(text):
    assert re.fullmatch(r"[^\\&%$#_{}~^<>|\"\n]*", unescaped(escape(text)))


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_plain_text_is_unchanged(text):
    assert escape(text) == text


def rows_of(text: str) -> list[tuple[int, list[str]]]:
    """For every line of every tabular: the number of columns it should have, and its cells."""
    out = []
    body = r"\\begin\{tabular\}\{((?:[^{}]|\{[^{}]*\})*)\}(.*?)\\end\{tabular\}"
    for spec, lines in re.findall(body, text, re.DOTALL):
        columns = re.sub(BREADTH, "", spec)
        assert re.fullmatch("[lcSp]+", columns), spec
        out += [
            (len(columns), re.split(r"(?<!\\)&", line[:-2]))
            for line in lines.splitlines()
            if line.endswith(r"\\")
        ]
    return out


@pytest.mark.parametrize("name", TEXTS)
def test_environments_braces_and_columns_are_balanced(name):
    text = TEXTS[name]()
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(
        re.findall(r"\\end\{(\w+)\}", text)
    )
    bare = re.sub(r"\\[{}]", "", text)
    assert (
        bare.count("{") == bare.count("}")
        and r"\usepackage{booktabs,siunitx}" in text.splitlines()[0]
    )
    rows = rows_of(text)
    assert rows and all(text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    for columns, cells in rows:
        assert (
            len(cells)
            + sum(int(n) - 1 for cell in cells for n in re.findall(r"\\multicolumn\{(\d+)\}", cell))
            == columns
        )


def test_numbers_are_aligned_and_texts_are_in_braces():
    text = TEXTS["mixed"]()
    header = {cells[0]: [cell.strip() for cell in cells[1:]] for _, cells in rows_of(text)}
    assert (
        "S[table-format=6.0,detect-weight]" in text and "S[table-format=-1.1,detect-weight]" in text
    )
    shown = [
        cell for name, cells in header.items() if name.strip() in ("bio", "bp") for cell in cells
    ]
    assert {"{yes}", "123456", "{--}", "{nan}", "{2e-05}"} <= {*shown}
    assert all(re.fullmatch(r"(\\bfseries )?-?\d+(\.\d+)?|\{[^{}]*\}", cell) for cell in shown)


def test_the_best_is_bold_its_interval_is_small_and_a_distrusted_row_is_marked():
    text = render(distrusted(), "latex")
    assert r"\bfseries 90.0 & $\pm$7.4" in text and r"\bfseries 50.0" not in text
    assert "S[table-format=2.1,detect-weight]@{\\,}>{\\scriptsize}l" in text
    assert (
        r"odd\textsuperscript{\textdagger} & 0.0 & +3.7" in text
        and "rows marked \\textdagger{} are excluded" in text
    )


def test_wide_tables_are_stacked_and_long_ones_continue():
    text = TEXTS["long"]()
    tabulars = [spec.count("S[") for spec in re.findall(r"\\begin\{tabular\}(.*)", text)]
    assert sum(tabulars) == 2 * 13 and max(tabulars) <= 6  # 45 rows stand twice under a heading
    for page in re.findall(r"\\begin\{table\}(.*?)\\end\{table\}", text, re.DOTALL):
        assert page.count("\nlearner-") <= PAGE and page.count(r"\caption{") == 1
    floats, continued = text.count(r"\begin{table}"), text.count(r"(continued)}")
    assert (
        floats > 2
        and continued == floats - 1 == text.count(r"\addtocounter{table}{-1}")
        and text.count(r"\label") == 1
    )


# --------------------------------------------------------------------------------------- TeX itself


def compiled(texts: list[str], folder: Path) -> str:
    """The log of a document with the tables in it."""
    engine = shutil.which("pdflatex") or shutil.which("lualatex")
    if engine is None:
        pytest.skip("no TeX engine is installed")
    packages = [r"\documentclass{article}", r"\usepackage{booktabs,siunitx}", r"\begin{document}"]
    (folder / "all.tex").write_text(
        "\n".join([*packages, *(text + r"\clearpage" for text in texts), r"\end{document}"])
    )
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if re.search(r"File `(booktabs|siunitx)\.sty' not found", done.stdout):
        pytest.skip("this TeX has no booktabs or siunitx")
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "all.log").read_text(errors="replace")


def test_every_kind_of_table_compiles_and_fits_the_page(tmp_path):
    log = compiled([make() for make in TEXTS.values()], tmp_path)
    assert not re.findall(r"Overfull \\hbox.*|Float too large.*", log)


def test_the_committed_tables_compile_and_fit_the_page(tmp_path):
    log = compiled([path.read_text() for path in sorted(RESULTS.rglob("*.tex"))], tmp_path)
    assert not re.findall(r"Overfull \\hbox.*|Float too large.*", log)
