"""Suites: what is laid over what, and what a broken one says."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.errors import SuiteError
from harness.suite import load as suite

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("**/*.yaml"))

GOOD = """\
name: good
seeds: [0, 1]
budget: {images: 5000}
learners:
  bio: {kind: ech, hidden: 40}
  backprop: {kind: mlp, hidden: 40, l1: 1e-4}
  pixels: {kind: nearest-mean}
protocols:
  plain:
    kind: classification
    dataset: mnist5k
  robust:
    kind: attack_sweep
    dataset: mnist5k
    images: 100
    attacks:
      - {attack: fgsm, norm: linf, eps: [0, 0.1]}
      - {attack: pgd, norm: linf, eps: [0, 0.05, 0.1], steps: 5, restarts: 2, loss: [ce, margin]}
  few:
    kind: few_shot
    dataset: mnist5k
    regime: class_transfer
    ways: [2, 5]
    shots: [1, 5]
    queries: 10
    episodes: 50
tables:
  - {protocol: robust, rows: learner, columns: [attack, eps]}
  - {protocol: few, rows: learner, columns: [ways, shots]}
"""

PLACE = re.compile(r"^(?P<file>[^\n:]+\.yaml):(?P<line>\d+):(?P<column>\d+): \S")

# (what is replaced, by what, words the message must have)
BREAKAGES = [
    ("name: good\n", "", "'name' is missing"),
    ("name: good", "nmae: good", "did you mean 'name'"),
    ("name: good", "name: 7", "not 7"),
    ("name: good", "name: ../up", "name"),
    ("name: good", "name: good\nname: again", "duplicate key"),
    ("seeds: [0, 1]", "seeds: [0, -1]", "seeds.1"),
    ("seeds: [0, 1]", "seeds: []", "seeds"),
    (
        "columns: [attack, eps]",
        "columns: [attack, eps], only: {atack: worst}",
        "'robust' has no 'atack' to choose by",
    ),
    ("seeds: [0, 1]", "seeds: [0, 0]", "duplicate value 0"),
    ("seeds: [0, 1]", "seeds: [0, 99999999999999999999999]", "too large"),
    ("seeds: [0, 1]", "seeds: [0, 1]\nextend: base.yaml", "did you mean 'extends'"),
    ("seeds: [0, 1]", 'seeds: [0, 1]\nextends: "a\\0b"', "no file"),
    ("seeds: [0, 1]", f"seeds: [0, 1]\nextends: {'x' * 5000}", "no file"),
    ("dataset: mnist5k\n  robust", "dataset: mnist5k\n    learners: []\n  robust", "learners"),
    ("dataset: mnist5k\n  robust", "dataset: mnist5k\n    seeds: []\n  robust", "seeds"),
    ("kind: classification", "kind: 'baselines.mlp:Mlp'", "is not a valid protocol"),
    ("seeds: [0, 1]", "seeds: 0", "list"),
    ("seeds: [0, 1]", "seeds: [0, one]", "integer"),
    ("budget: {images: 5000}", "budget: {images: 0}", "images"),
    ("budget: {images: 5000}", "budget: {image: 5000}", "did you mean 'images'"),
    ("budget: {images: 5000}", "budget: 5000", "budget"),
    ("kind: ech", "kind: eche", "did you mean 'ech'"),
    ("kind: ech, ", "", "'kind' is missing"),
    ("kind: ech", "kind: 3", "kind"),
    ("kind: ech", "kind: 'no.such.module:Thing'", "no.such.module"),
    ("kind: ech", "kind: 'json:dumps'", "is not a valid learner"),
    ("kind: ech", "kind: 'builtins:dict'", "is not a valid learner"),
    ("attack: fgsm", "attack: 'builtins:dict'", "attack"),
    ("{kind: ech, hidden: 40}", "ech", "bio"),
    ("hidden: 40}", "hiden: 40}", "did you mean 'hidden'"),
    ("hidden: 40}", "hidden: 4.5}", "hidden"),
    ("hidden: 40}", "hidden: '40'}", "hidden"),
    ("hidden: 40}", "hidden: 0}", "hidden"),
    ("hidden: 40}", "hidden: ~}", "hidden"),
    ("l1: 1e-4", "l1: -1e-4", "l1"),
    ("l1: 1e-4", "l1: .nan", "l1"),
    ("l1: 1e-4", "l1: .inf", "l1"),
    ("l1: 1e-4", "l1: small", "l1"),
    ("kind: classification", "kind: clasification", "did you mean 'classification'"),
    ("dataset: mnist5k\n  robust", "dataset: mnist5\n  robust", "did you mean 'mnist5k'"),
    ("dataset: mnist5k\n  robust", "dataset: {kind: mnist5}\n  robust", "did you mean"),
    (
        "dataset: mnist5k\n  robust",
        "dataset: {kind: mnist5k, rotate: true}\n  robust",
        "unknown key 'rotate'",
    ),
    ("dataset: mnist5k\n  robust", "dataset: 5\n  robust", "dataset"),
    ("    dataset: mnist5k\n  robust", "  robust", "'dataset' is missing"),
    ("dataset: mnist5k\n  robust", "dataset: mnist5k\n    split: tset\n  robust", "test"),
    (
        "dataset: mnist5k\n  robust",
        "dataset: mnist5k\n    splitting: classes\n  robust",
        "trained on",
    ),
    ("dataset: mnist5k\n  robust", "dataset: mnist5k\n    splitting: clases\n  robust", "standard"),
    (
        "dataset: mnist5k\n  robust",
        "dataset: mnist5k\n    learners: [boi]\n  robust",
        "did you mean 'bio'",
    ),
    ("dataset: mnist5k\n  robust", "dataset: mnist5k\n    seeds: [-1]\n  robust", "seeds"),
    ("attack: fgsm", "attack: fsgm", "did you mean 'fgsm'"),
    ("attack: fgsm, ", "", "attack"),
    ("norm: linf, eps: [0, 0.1]", "norm: l7, eps: [0, 0.1]", "l7"),
    ("eps: [0, 0.1]", "eps: [0, 1.1]", "outside [0, 1]"),
    ("eps: [0, 0.1]", "eps: [0, 8]", "8 of 255 levels are 8/255"),
    ("eps: [0, 0.1]", "eps: [0, -0.1]", "eps"),
    ("eps: [0, 0.1]", "eps: [0.1, 0]", "ascend"),
    ("eps: [0, 0.1]", "eps: big", "eps"),
    ("eps: [0, 0.1]", "eps: []", "eps"),
    ("eps: [0, 0.1]", "eps: [0, big]", "eps"),
    ("steps: 5", "steps: 0", "steps"),
    ("steps: 5", "stps: 5", "did you mean 'steps'"),
    ("restarts: 2", "restarts: 0", "restarts"),
    ("loss: [ce, margin]", "loss: [ce, margni]", "margin"),
    ("loss: [ce, margin]", "loss: []", "loss"),
    ("images: 100", "images: 0", "images"),
    ("images: 100", "images: 1000000", "images"),
    ("ways: [2, 5]", "ways: [2, 6]", "6 ways"),
    ("ways: [2, 5]", "ways: [1]", "at least 2 ways"),
    ("ways: [2, 5]", "ways: [0]", "ways"),
    ("ways: [2, 5]", "ways: five", "neither a number nor a range"),
    ("shots: [1, 5]", "shots: [1, 500]", "500 shots"),
    ("queries: 10", "queries: 100000", "queries"),
    ("queries: 10", "queries: 0", "queries"),
    ("episodes: 50", "episodes: 1", "episodes"),
    ("episodes: 50", "episodes: 50\n    mode: class_disjoint", "class_disjoint allows"),
    ("episodes: 50", "episodes: 5e1", "episodes"),
    ("regime: class_transfer", "regime: class-transfer", "did you mean 'class_transfer'"),
    (
        "regime: class_transfer",
        "regime: class_transfer\n    splitting: standard",
        "without shared classes",
    ),
    (
        "regime: class_transfer",
        "regime: semi_supervised\n    learners: [backprop]",
        "cannot measure 'backprop'",
    ),
    ("protocol: robust", "protocol: robst", "did you mean 'robust'"),
    ("columns: [attack, eps]", "columns: [attack, epsilon]", "did you mean 'eps'"),
    ("rows: learner, columns: [attack", "rows: lerner, columns: [attack", "did you mean 'learner'"),
    ("rows: learner, columns: [attack", "row: learner, columns: [attack", "did you mean 'rows'"),
    ("tables:", "tabels:", "did you mean 'tables'"),
    ("learners:\n", "learners:\n  'bad name!': {kind: ech}\n", "bad name!"),
    ("protocols:", "protocols: {}\nother:", "protocols"),
    ("seeds: [0, 1]", "seeds: [0, 1]\nextends: nowhere.yaml", "nowhere.yaml"),
    ("seeds: [0, 1]", "seeds: [0, 1]\nextends: 7", "extends"),
    ("seeds: [0, 1]", "seeds: [0, 1]\nextends: suite.yaml", "extends itself"),
    (
        "seeds: [0, 1]",
        "seeds: [0, 1]\ndefaults: {learners: {mlpp: {hidden: 3}}}",
        "did you mean 'mlp'",
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0, 1]\ndefaults: {learners: {mlp: {hiden: 3}}}",
        "did you mean 'hidden'",
    ),
    ("seeds: [0, 1]", "seeds: [0, 1]\ndefaults: {learner: {}}", "did you mean 'learners'"),
    ("seeds: [0, 1]", "seeds: [0, 1]\ndefaults: [1]", "defaults"),
    ("seeds: [0, 1]", "seeds: [0, 1", "not YAML"),
    ("seeds: [0, 1]", "\tseeds: [0, 1]", "not YAML"),
    ("seeds: [0, 1]", "seeds: !!python/tuple [0, 1]", "tag"),
    ("learners:", "learners: &l {x: *l}\nmore:", "contains itself"),
]


def broken_by_hand(text: str = GOOD) -> list[tuple[str, str]]:
    return [(text.replace(old, new, 1), words) for old, new, words in BREAKAGES]


def test_the_good_suite_is_good(write_suite):
    loaded = suite.load(write_suite(GOOD))
    assert [entry.name for entry in loaded.learners] == ["bio", "backprop", "pixels"]
    assert [entry.name for entry in loaded.protocols] == ["plain", "robust", "few"]
    assert loaded.protocols[2].seeds == [0, 1] and loaded.budget.images == 5000


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_committed_suites_are_good(path):
    assert suite.load(path).protocols


NAMES = [f"{old.strip()[:20]}->{new.strip()[:30]}" for old, new, _ in BREAKAGES]


@pytest.mark.parametrize(("text", "words"), broken_by_hand(), ids=NAMES)
def test_a_broken_suite_names_the_place_and_what_is_allowed(write_suite, text, words):
    assert text != GOOD
    with pytest.raises(SuiteError) as caught:
        suite.load(write_suite(text))
    message = str(caught.value)
    place = PLACE.match(message)
    assert place and int(place["line"]) <= text.count("\n") + 1 and int(place["column"]) <= 200, (
        message
    )
    assert words in message, message


def mutations(count: int) -> list[str]:
    """Suites broken by small random damage; those that are still valid are left out."""
    draw, found = random.Random(0), []
    lines = GOOD.splitlines(keepends=True)
    while len(found) < count:
        damaged = list(lines)
        at = draw.randrange(len(lines))
        line = damaged[at]
        spot = draw.randrange(max(1, len(line) - 1))
        kind = draw.randrange(6)
        if kind == 0:
            damaged[at] = line[:spot] + draw.choice("[]{}:,\"'&*!%@`\t\x07") + line[spot:]
        elif kind == 1:
            damaged[at] = line[:spot] + line[spot + 1 :]
        elif kind == 2:
            damaged[at] = "  " + line
        elif kind == 3:
            damaged[at] = re.sub(
                r"\d+", lambda _: draw.choice(["-3", "1e9", "x", "[]", "''", "~"]), line, count=1
            )
        elif kind == 4:
            word = draw.choice(re.findall(r"[a-z_]{3,}", line) or ["name"])
            damaged[at] = line.replace(word, word[:-1] + draw.choice("xyz"), 1)
        else:
            damaged.insert(at, line)
        found.append("".join(damaged))
    return found


@pytest.mark.parametrize(
    ("mutants", "most_sound"), [(100, 60), pytest.param(400, 220, marks=pytest.mark.slow)]
)
def test_broken_suites_each_give_a_message_a_fault_and_status_2(
    write_suite, monkeypatch, capsys, mutants, most_sound
):
    broken = 0
    texts = [text for text, _ in broken_by_hand()] + mutations(mutants)
    for text in texts:
        path = write_suite(text)
        monkeypatch.setattr(sys, "argv", ["harness", "validate", str(path)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        errors = capsys.readouterr().err
        if ended.value.code == 0:
            assert errors == ""
            continue
        broken += 1
        assert ended.value.code == 2, text
        faults = [line for line in errors.splitlines() if not line.startswith("  ")]
        assert faults and all(map(PLACE.match, faults)) and "Traceback" not in errors, errors
        assert errors.count("\n") <= 3 * len(faults), errors
    assert len(texts) - broken <= most_sound


def test_a_binary_file_names_the_byte(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"name: x\nseeds: \xff\xfe\n")
    with pytest.raises(SuiteError, match=r"suite.yaml:2:8: not UTF-8"):
        suite.load(path)


def test_a_file_without_end_is_no_suite():
    with pytest.raises(SuiteError, match="/dev/zero: larger than 4 MiB"):
        suite.load("/dev/zero")


def test_what_an_error_quotes_is_cut_to_what_a_terminal_can_bear(write_suite):
    path = write_suite(
        f'name: "{"a" * 100_000}"\n'
        'learners: {"\\e[31m\\nred": {kind: nosuch}}\nprotocols: {}\n'
    )
    with pytest.raises(SuiteError) as caught:
        suite.load(path)
    assert all(len(line) <= 1000 and line.isprintable() for line in str(caught.value).split("\n"))


def test_a_missing_file_is_one_message(tmp_path):
    with pytest.raises(SuiteError, match="cannot read it"):
        suite.load(tmp_path / "none.yaml")


def test_a_suite_lies_over_what_it_extends(write_suite):
    write_suite(GOOD, "base.yaml")
    path = write_suite(
        "extends: base.yaml\nname: over\nlearners: {bio: {hidden: 77}}\n"
        "protocols: {few: {ways: 3}}\ntables: []\n"
    )
    loaded = suite.load(path)
    assert loaded.name == "over" and loaded.tables == []
    assert loaded.learners[0].config.hidden == 77 and loaded.learners[1].config.hidden == 40
    assert [s.ways for s in loaded.protocols[2].protocol.settings()] == [3, 3]


def test_a_fault_is_named_in_the_file_that_it_is_in(write_suite):
    write_suite(GOOD.replace("hidden: 40}", "hiden: 40}", 1), "base.yaml")
    with pytest.raises(SuiteError, match=r"base\.yaml:5:20: unknown key 'hiden'"):
        suite.load(write_suite("extends: base.yaml\nname: over\n"))


def test_defaults_lie_under_every_entry_of_their_kind(write_suite):
    defaults = (
        "defaults: {learners: {mlp: {epochs: 3, hidden: 9}}, protocols: {few_shot: {queries: 4}}}\n"
    )
    text = GOOD.replace("learners:", f"{defaults}learners:", 1)
    loaded = suite.load(write_suite(text.replace("queries: 10\n", "split: test\n")))
    config = loaded.learners[1].config
    assert config.epochs == 3 and config.hidden == 40
    assert next(loaded.protocols[2].protocol.settings()).queries == 4


def test_set_overrides(write_suite):
    path = write_suite(GOOD)
    sets = [
        "learners.bio.hidden=12",
        "seeds=[5]",
        "protocols.robust.attacks.1.steps=9",
        "budget.images=7",
    ]
    loaded = suite.load(path, sets=sets)
    assert (
        loaded.learners[0].config.hidden == 12
        and loaded.protocols[0].seeds == [5]
        and loaded.budget.images == 7
    )
    assert [s for s in loaded.protocols[1].protocol.settings()][1].label == "pgd-9"
    assert (
        suite.load(path, sets="budget.images=7").budget.images == 7
    )  # one alone, as it would be typed


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("learners.bio.hidden", "not an assignment"),
        ("learners.boi.hidden=3", "did you mean 'bio'"),
        ("name.x=3", "single value"),
        ("protocols.robust.attacks.7.steps=1", "list of 2"),
        ("learners.bio.hidden=x", "hidden"),
        ("seeds=[", "not YAML"),
        ("a..b=1", "empty"),
        ("extends=x", "cannot extend"),
        ("protocols.robust.attacks.²=1", "list of 2"),
        ("learners.bio.hiden=3", "did you mean 'hidden'"),
    ],
)
def test_a_wrong_set_names_itself(write_suite, assignment, words):
    with pytest.raises(SuiteError) as caught:
        suite.load(write_suite(GOOD), sets=[assignment])
    assert f"--set {assignment}" in str(caught.value) and words in str(caught.value)


def test_learners_that_a_protocol_cannot_measure_are_left_out_with_a_reason(write_suite):
    loaded = suite.load(
        write_suite(GOOD.replace("regime: class_transfer", "regime: semi_supervised"))
    )
    few = loaded.protocols[2]
    assert [entry.name for entry in few.learners] == [
        "bio",
        "pixels",
    ] and "semi_supervised" in few.skipped["backprop"]


VALIDATE_AND_LIST = """
import sys
from harness import registry
from harness.execute.base import executors
from harness.suite import load as suite
from harness.suite.schema import suite_schema
suite.load(sys.argv[1])
suite_schema()
entries = (registry.learners, registry.datasets, registry.attacks, registry.protocols, executors)
for each in entries:
    for name in each:
        each.describe(name)
heavy = {"torch", "pandas", "matplotlib", "sklearn", "scipy"} & set(sys.modules)
print(heavy)
sys.exit(bool(heavy))
"""


def test_validating_never_imports_torch(write_suite):
    command = [sys.executable, "-c", VALIDATE_AND_LIST, write_suite(GOOD)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


CLAIM = """\
claims:
  - name: sturdy
    claim: it is sturdy
    learner: bio
    measures:
      - {protocol: robust, setting: {attack: worst, eps: 0.1}, at_least: 0.5}
"""


def test_a_claim_may_refer_to_the_worst_case(write_suite):
    assert suite.load(write_suite(GOOD + CLAIM)).claims[0].measures[0].setting == {
        "attack": "worst",
        "eps": 0.1,
    }
    assert suite.load(
        write_suite(GOOD + CLAIM.replace("eps: big", "eps: 0"))
    ).claims  # 0 is the 0.0 of the attack's config


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("attack: worst", "attack: pgd", "has no attack 'pgd'"),
        ("eps: 0.1}, at", "eps: 0.2}, at", "no eps 0.2"),
        ("robust, setting", "robust, metric: acuracy, setting", "did you mean 'accuracy'"),
        (
            "protocol: robust, setting: {attack: worst, eps",
            "protocol: few, setting: {shots: 1, ways",
            "no ways 0.1",
        ),
        (
            "robust, setting: {attack: worst, eps: 0.1}",
            "few, setting: {shots: 1}",
            "say which ways in its `setting`: 2, 5",
        ),
    ],
)
def test_a_number_that_will_never_be_measured_is_refused_before_the_run(
    write_suite, old, new, words
):
    with pytest.raises(SuiteError, match=r"suite.*\.yaml:35:\d+: ") as caught:
        suite.load(write_suite(GOOD + CLAIM.replace(old, new)))
    assert words in str(caught.value), caught.value


def test_a_folder_beside_the_suite_that_is_called_as_a_package_of_ours_hides_nothing(tmp_path):
    import subprocess
    import sys

    (tmp_path / "baselines").mkdir()
    (tmp_path / "own.yaml").write_text(
        "name: own\nlearners: {plain: {kind: mlp}}\n"
        "protocols: {clean: {kind: classification, dataset: digits}}\n"
    )
    main = (
        "import sys; sys.path = [p for p in sys.path if p]; "
        "sys.argv = ['harness', 'validate', 'own.yaml']; "
        "from harness import cli; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", main], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
