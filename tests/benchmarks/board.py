"""Size and speed of the board of a 2,000-cell store; time of turning 100,000 records into tables.

    python tests/benchmarks/board.py     (the tables, and the size of the board)
    pip install 'bioharness[browser]'    (with a Chromium: also its times in the browser)

Times outside the browser are CPU times, so that they mean something on a busy machine. The store is
synthetic: a real suite is planned as usual, but its cells contain random verdicts.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness import api
from harness.cells.results import Results
from harness.execute.session import RunOptions
from harness.metrics.statistics import share_interval, wilson
from harness.publish import leaderboard
from harness.records import Record
from harness.report.board.site import write_site
from harness.report.tables import build_all
from harness.storage.store import VERDICTS, CellResult, Store
from harness.suite.specs.tables import TableSpec

SUITE = """
name: made-up
seeds: [0, 1, 2, 3, 4]
learners:
{learners}
protocols:
  robust: {{kind: attack_sweep, dataset: digits, images: 300, attacks: [
    {{attack: fgsm, eps: [0, 0.05, 0.1, 0.2]}},
    {{attack: pgd, eps: [0, 0.05, 0.1, 0.2], steps: 20}}]}}
  few: {{kind: few_shot, dataset: glyphs, regime: from_scratch, ways: [5, 20], shots: [1, 5],
         episodes: 200}}
  biology: {{kind: biology, dataset: digits}}
tables:
  - {{protocol: robust, columns: [attack, eps]}}
  - {{protocol: few, columns: [ways, shots]}}
  - {{protocol: biology, columns: [metric],
      metric: [live_share, dale_purity, sigma_log_w, ks_log_w, gini_w]}}
"""
METRICS = ("live_share", "dale_purity", "sigma_log_w", "ks_log_w", "gini_w")


def made_up_store(folder: Path, cells: int) -> tuple[Path, Store, int]:
    """A suite and a store with at least so many finished cells."""
    count = -(
        -cells // (5 * 8)
    )  # a learner and seed: one training, two sweeps, four kinds of episode, one audit
    suite = folder / "made-up.yaml"
    names = [f"  learner-{i:03}: {{kind: mlp, hidden: {10 + i}}}" for i in range(count)]
    suite.write_text(SUITE.format(learners="\n".join(names)))
    layout, store = api.plan(suite), Store(folder / "store")
    store.prepare()
    for cell in layout.unique:
        draw = np.random.default_rng(int(cell.key[:12], 16))
        skill = 0.95 - 0.4 * int(cell.learner[-3:]) / count
        values, arrays = _made_up(cell, draw, skill)
        trust = (
            [{"name": "unbounded", "level": "PASS", "detail": "accuracy 0.08 at half the box"}]
            if "attack" in str(cell.identity.get("setting"))
            else []
        )
        rows = [
            {"epoch": float(e), "loss": 2 / e, "train_accuracy": 1 - 1 / (e + 1)}
            for e in range(1, 11)
        ]
        log = {"rows": rows, "images_seen": 1000, "sign_changes": 0} if cell.role == "train" else {}
        store.write(
            cell.key,
            CellResult(
                cell.identity,
                values,
                trust,
                log,
                1.0,
                "cpu",
                cell.identity["versions"],
                "0" * 12,
                "2026-01-01T00:00:00+00:00",
            ),
            {VERDICTS: arrays},
        )
    return suite, store, len(layout.unique)


def _made_up(
    cell, draw: np.random.Generator, skill: float
) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Values and verdicts of one cell."""
    if cell.role == "train":
        return [], {}
    value = dict(
        metric="accuracy", low=None, high=None, n=1, unit="sample", setting=None, verdicts=None
    )
    if cell.protocol == "robust":
        right, values, arrays = draw.random(300), [], {}
        for eps in (0.0, 0.05, 0.1, 0.2):
            stood = (right < skill - 2 * eps).astype(np.uint8)
            low, high = wilson(int(stood.sum()), 300)
            arrays[f"eps={eps:g}"] = stood
            values.append(
                value
                | dict(
                    value=float(stood.mean()),
                    low=low,
                    high=high,
                    n=300,
                    setting={"eps": eps},
                    verdicts=f"eps={eps:g}",
                )
            )
        return values, arrays
    if cell.protocol == "few":
        episodes = np.clip(np.round(draw.normal(skill - 0.1, 0.1, 200) * 25) / 25, 0, 1)
        low, high = share_interval(episodes)
        return [
            value
            | dict(
                value=float(episodes.mean()),
                low=low,
                high=high,
                n=200,
                unit="episode",
                verdicts="accuracy",
            )
        ], {"accuracy": episodes}
    values = [
        value
        | dict(metric=metric, value=float(draw.random()), n=100, unit="synapse", setting=setting)
        for metric in METRICS
        for setting in (None, {"bundle": "one"}, {"bundle": "two"})
    ]
    return values, {
        "log_weight_quantiles": np.sort(draw.normal(-2, 0.5, 1001)),
        "receptive_fields": draw.normal(0, 1, (36, 1, 8, 8)).astype(np.float32),
    }


def board(folder: Path, cells: int) -> Path:
    """Time a board from its store to its files."""
    suite, store, count = made_up_store(folder, cells)
    start = time.process_time()
    laid = leaderboard.gather([suite], RunOptions(store=store.root))
    read = time.process_time()
    written = write_site(laid.divisions, laid.refused, folder / "site")
    page = next(path for path in written if path.parent.name == laid.divisions[0].results.suite)
    print(
        f"{count} cells, {len(laid.divisions[0].results.learners)} learners: "
        f"read {read - start:.1f} CPU s, written {time.process_time() - read:.1f} CPU s, "
        f"the suite's page {page.stat().st_size / 1e6:.2f} MB, "
        f"all {len(written)} files {sum(p.stat().st_size for p in written) / 1e6:.1f} MB"
    )
    return page


OPEN = "performance.getEntriesByType('navigation')[0].loadEventEnd"
SORT = """column => {
  const button = document.querySelector(`.panel.current .sort[data-column='${column}']`);
  const start = performance.now();
  button.click(); document.body.offsetHeight; return performance.now() - start; }"""
FILTER = """text => { const field = document.querySelector('.panel.current .filter');
  const start = performance.now();
  field.value = text; field.dispatchEvent(new Event('input')); document.body.offsetHeight;
  return performance.now() - start; }"""


def browse(page_file: Path) -> None:
    """Open, sort and filter in a headless Chromium; the browser measures, layout included."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("no playwright here: nothing was timed in a browser")
        return
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        times: dict[str, list[float]] = {"open": [], "sort": [], "filter": []}
        for _ in range(5):
            page = browser.new_page()
            page.goto(page_file.as_uri())
            times["open"].append(page.evaluate(OPEN))
            times["sort"] += [page.evaluate(SORT, column) for column in (0, 1, 5, 5)]
            times["filter"] += [
                page.evaluate(FILTER, text) for text in ("learner-01", "nobody", "")
            ]
            page.close()
        for name, measured in times.items():
            print(
                f"{name}: median {statistics.median(measured):.0f} ms, "
                f"worst {max(measured):.0f} ms of {len(measured)}"
            )
        browser.close()


def made_up_results(records: int, seeds: int) -> Results:
    """Records of sweeps, episodes and audits with verdicts, in realistic proportions."""
    draw, out, arrays = np.random.default_rng(0), [], {}
    each = 4 * 2 + 4 + 40
    learners = [f"l{i}" for i in range(-(-records // (each * seeds)))]

    def add(
        learner: str,
        seed: int,
        protocol: str,
        setting: dict,
        metric: str,
        units: np.ndarray | None,
        unit: str,
    ) -> None:
        what = setting.get("attack", setting.get("ways"))
        cell = f"{learner}/{protocol}/{seed}/{what}/{setting.get('shots')}"
        value = float(draw.random()) if units is None else float(units.mean())
        ends = (
            share_interval
            if unit == "episode"
            else lambda drawn: wilson(int(drawn.sum()), len(drawn))
        )
        low, high = (None, None) if units is None else ends(units)
        name = None if units is None else f"u{setting.get('eps')}"
        arrays[cell, name] = units
        out.append(
            Record(
                "made-up",
                cell,
                learner,
                "digits",
                protocol,
                setting,
                seed,
                metric,
                value,
                low,
                high,
                100 if units is None else len(units),
                unit,
                name,
                "PASS",
                1.0,
                "cpu",
                {},
                "",
                "",
                "",
            )
        )

    for place, learner in enumerate(learners):
        skill = 0.95 - 0.4 * place / len(learners)
        for seed in range(seeds):
            right = draw.random(300)
            for attack, force in (("fgsm", 1), ("pgd", 2)):
                for eps in (0.0, 0.05, 0.1, 0.2):
                    add(
                        learner,
                        seed,
                        "robust",
                        {"attack": attack, "norm": "linf", "eps": eps},
                        "accuracy",
                        (right < skill - force * eps).astype(np.uint8),
                        "sample",
                    )
            for ways in (5, 20):
                for shots in (1, 5):
                    episodes = np.clip(np.round(draw.normal(skill - 0.1, 0.1, 200) * 25) / 25, 0, 1)
                    add(
                        learner,
                        seed,
                        "few",
                        {"ways": ways, "shots": shots},
                        "accuracy",
                        episodes,
                        "episode",
                    )
            for metric in range(10):
                for bundle in (None, "one", "two", "three"):
                    add(
                        learner,
                        seed,
                        "biology",
                        {"bundle": bundle} if bundle else {},
                        f"metric_{metric}",
                        None,
                        "synapse",
                    )
    return Results(
        "made-up",
        learners,
        {"robust": "attack_sweep", "few": "few_shot", "biology": "biology"},
        {},
        out,
        lambda cell, name: arrays[cell, name],
        {},
        [],
    )


SPECS = [
    TableSpec(protocol="robust", columns=["attack", "eps"]),
    TableSpec(protocol="few", columns=["ways", "shots"]),
    TableSpec(protocol="biology", columns=["metric"]),
]


def tables(records: int, seeds: int) -> None:
    """Time records to tables."""
    results = made_up_results(records, seeds)
    start = time.process_time()
    build_all(results, SPECS)
    print(
        f"{len(results.records)} records of {len(results.learners)} learners, {seeds} seeds, "
        "to tables: "
        f"{time.process_time() - start:.1f} CPU s"
    )


def main() -> None:
    cells, records = (
        int(word) for word in (sys.argv[1:] + ["2000", "100000"][len(sys.argv) - 1 :])[:2]
    )
    tables(records, 1)
    tables(records, 3)
    tables(records // 10, 5)
    with tempfile.TemporaryDirectory() as folder:
        browse(board(Path(folder), cells))


if __name__ == "__main__":
    main()
