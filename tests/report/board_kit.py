"""A small board, and one of any size, written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from results_kit import episodes, plain, record, results_of, sweep

from harness.cells.results import Training
from harness.records import TrustCheck
from harness.report.board.model import Division
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

HOSTILE = "<script>alert(1)</script>"
NAMES = (HOSTILE, "beta", "gamma", "delta", "e" * 60, "omega")
"""Learners of the board that is looked at in a browser."""

SUITE = "suites/suite/index.html"
OTHER = "suites/other/index.html"
LEARNER = "suites/suite/learners/beta.html"
TABLES = [
    TableSpec(protocol="robust", columns=["attack", "eps"], title="Under attack"),
    TableSpec(protocol="few", columns=["ways", "shots"]),
    TableSpec(protocol="audit", columns=["metric"]),
]


def beside_published(board: Division) -> Division:
    """The board with published numbers beside its first learner: lower at 1 shot, higher at 5."""
    first, shots = board.results.learners[0], ((1, 0.5), (5, 0.99))
    return replace(
        board,
        published=[
            PublishedSpec(
                learner=first,
                protocol="few",
                setting={"ways": 5, "shots": k},
                value=value,
                source="a paper",
            )
            for k, value in shots
        ],
    )


def division(*names: str, seeds: int = 1, suite: str = "suite") -> Division:
    """Learners from best to worst in sweeps, episodes and the audit.

    Trust checks warn on the second and fail on the last.
    """
    draw, cells = np.random.default_rng(0), []
    for place, name in enumerate(names):
        skill, level = (
            0.95 - 0.5 * place / len(names),
            {1: "WARN", len(names) - 1: "FAIL"}.get(place, "PASS"),
        )
        for seed in range(seeds):
            right = draw.random(120)
            for attack, force in (("fgsm", 1.0), ("pgd", 2.0)):
                cells.append(
                    sweep(
                        name,
                        attack,
                        {
                            eps: [int(v < skill - force * eps) for v in right]
                            for eps in (0.0, 0.1, 0.2)
                        },
                        seed=seed,
                        trust=level,
                    )
                )
            for shots in (1, 5):
                cells.append(
                    episodes(
                        name,
                        np.clip(draw.normal(skill - 0.1 / shots, 0.08, 40), 0, 1),
                        shots=shots,
                        seed=seed,
                    )
                )
            for metric, value in (
                ("live_share", skill),
                ("sigma_log_w", 1 - skill),
                ("enforced", float(place % 2)),
            ):
                cells.append(
                    plain(
                        record(
                            name,
                            {},
                            value,
                            protocol="audit",
                            metric=metric,
                            seed=seed,
                            trust="-",
                            cell=f"{name}/audit/{seed}",
                        )
                    )
                )
    results = results_of(*cells, suite=suite)
    logs = {
        "log_weight_quantiles": np.sort(draw.normal(0, 1, 101)),
        "receptive_fields": draw.normal(0, 1, (9, 1, 6, 6)),
    }
    verdicts = results.verdicts

    def kept(cell: str, name: str) -> np.ndarray:
        return logs[name] if "/audit/" in cell and name in logs else verdicts(cell, name)

    trust = {
        r.cell: [TrustCheck("unbounded", r.trust, f"accuracy of {r.learner} at half the box")]
        for r in results.records
        if r.protocol == "robust"
    }
    blocks = {
        "robust": {"split": "test", "trust checks": "after each sweep"},
        "few": {"episodes": "40"},
        "audit": {},
    }
    course = [{"epoch": float(e), "loss": 2 / e} for e in range(1, 6)]
    results = replace(
        results,
        verdicts=kept,
        trust=trust,
        blocks=blocks,
        kinds=dict.fromkeys(names, "mlp"),
        configs={name: {"hidden": 10 * (i + 1), "l1": None} for i, name in enumerate(names)},
        trainings={name: [Training("digits/standard", 0, 1000, course, 1.0)] for name in names},
    )
    return Division(results, TABLES, [], "A suite for tests.", dict.fromkeys(names, "tests"))


def broad() -> Division:
    """A board with more columns than rows of a phone's cards have lines."""
    steps = [eps / 100 for eps in range(14)]
    cells = [
        sweep(name, "pgd", {eps: [int(i < right - 100 * eps) for i in range(40)] for eps in steps})
        for name, right in (("one", 30), ("two", 20))
    ]
    results = results_of(*cells)
    return Division(results, [TableSpec(protocol="robust", columns=["eps"])])
