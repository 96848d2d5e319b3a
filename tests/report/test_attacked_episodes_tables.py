"""Attacked episodes in tables: worst case, one clean column per episode shape, tests by episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_kit import plain, record, results_of
from scipy import stats

from harness.cells.results import Results
from harness.metrics.statistics import share_interval
from harness.report.curves import curve_figure
from harness.report.derive import with_worst_case
from harness.report.tables import build
from harness.suite.specs.tables import TableSpec

EPISODES, QUERIES = 12, 10
EPS = (0.0, 0.1, 0.2)


def correct(learner: str, attack: str, ways: int, eps: float) -> np.ndarray:
    """Verdicts (episodes, queries): fewer are right at larger eps; ways set the episode count."""
    share = (
        {"strong": 0.95, "weak": 0.6}[learner]
        - 2 * eps * (eps > 0) * {"fgsm": 0.5, "pgd": 1.0}[attack]
        - ways / 100
    )
    draw = np.random.default_rng([ways, len(learner)]).random(
        (EPISODES, QUERIES)
    )  # the same at every eps and attack
    return (draw < share).astype(np.uint8)


def hunted(ways: tuple[int, ...] = (5,), **more) -> Results:
    arrays, records = {}, []
    for learner in ("strong", "weak"):
        for attack in ("fgsm", "pgd"):
            for way in ways:
                cell = f"{learner}/{attack}/{way}"
                for eps in EPS:
                    right = correct(learner, attack, way, eps)
                    arrays[cell, f"correct/eps={eps:g}"], arrays[cell, f"accuracy/eps={eps:g}"] = (
                        right,
                        right.mean(1),
                    )
                    low, high = share_interval(right.mean(1))
                    records.append(
                        record(
                            learner,
                            {
                                "ways": way,
                                "shots": 1,
                                "attack": attack,
                                "norm": "linf",
                                "config": {"attack": attack},
                                **more,
                                "eps": eps,
                            },
                            right.mean(),
                            low=low,
                            high=high,
                            n=EPISODES,
                            unit="episode",
                            cell=cell,
                            verdicts=f"accuracy/eps={eps:g}",
                            protocol="hunted",
                        )
                    )
    return results_of(
        plain(*records),
        protocols={"hunted": "attacked_episodes"},
        verdicts=lambda cell, name: arrays[cell, name],
    )


def test_the_worst_case_is_taken_query_by_query_and_then_averaged_by_episode():
    found = with_worst_case(hunted((5, 20)))
    worst = [r for r in found.records if r.setting["attack"] == "worst"]
    assert {(r.learner, r.setting["ways"], r.setting["eps"]) for r in worst} == {
        (learner, way, eps) for learner in ("strong", "weak") for way in (5, 20) for eps in EPS
    }
    for r in worst:
        robust = np.ones((EPISODES, QUERIES), bool)
        for eps in (e for e in EPS if e <= r.setting["eps"]):
            for attack in ("fgsm", "pgd"):
                robust &= correct(r.learner, attack, r.setting["ways"], eps) > 0
        np.testing.assert_allclose(found.verdicts(r.cell, r.verdicts), robust.mean(1))
        assert (r.value, r.low, r.high) == pytest.approx(
            (robust.mean(), *share_interval(robust.mean(1)))
        )


def test_the_check_across_attacks_counts_queries():
    found = with_worst_case(hunted())
    (check,) = found.trust["weak/pgd/5"]
    assert check.level == "PASS" and f"0 of {EPISODES * QUERIES} images" in check.detail


@pytest.mark.parametrize(
    "columns", [["ways", "attack", "eps"], ["attack", "eps"]], ids=["asked for", "found out"]
)
def test_each_number_of_ways_keeps_its_own_clean_column(columns):
    table = build(hunted((5, 20)), TableSpec(protocol="hunted", columns=columns))
    at = {key: place for place, key in enumerate(table.column_keys)}
    clean = {
        column[at["ways"]]: cell.value
        for column, cell in zip(table.columns, table.cells[0], strict=True)
        if column[at["attack"]] == "clean"
    }
    assert clean == pytest.approx(
        {way: correct("strong", "pgd", way, 0.0).mean() for way in (5, 20)}
    )
    assert len(table.columns) == 2 * (1 + 3 * 2)


def test_bold_is_by_a_t_test_paired_by_episode():
    table = build(hunted(), TableSpec(protocol="hunted", columns=["attack", "eps"]))
    strong, weak = (correct(name, "pgd", 5, 0.1).mean(1) for name in ("strong", "weak"))
    assert stats.ttest_rel(strong, weak).pvalue < 0.05
    assert all(row.bold for row in table.cells[0]) and not any(row.bold for row in table.cells[1])
    assert any("paired by episode" in note for note in table.notes)


def test_budgets_of_the_support_set_have_named_columns():
    one, other = (hunted(support_eps=eps) for eps in (0.0, 0.1))
    both = results_of(
        plain(
            *(r for r in one.records if r.setting["eps"] == 0 and r.setting["attack"] == "fgsm"),
            *(r for r in other.records if r.setting["eps"] == 0 and r.setting["attack"] == "fgsm"),
        ),
        protocols=one.protocols,
        verdicts=one.verdicts,
    )
    table = build(both, TableSpec(protocol="hunted", columns=["support_eps"]))
    assert table.columns == ((0.0,), (0.1,)) and all(
        cell is not None for row in table.cells for cell in row
    )


def test_curves_have_a_panel_per_attack():
    figure = curve_figure(with_worst_case(hunted()), "hunted")
    assert [axis.get_title("left") for axis in figure.axes if axis.get_visible()][:2] == [
        "fgsm (linf)",
        "pgd (linf)",
    ]


def test_deriving_again_beside_a_protocol_of_one_attack_changes_nothing():
    found = hunted()
    alone = [
        replace(each, protocol="alone")
        for each in found.records
        if each.setting["attack"] == "fgsm"
    ]
    both = replace(
        found,
        records=[*found.records, *alone],
        protocols={**found.protocols, "alone": "attacked_episodes"},
    )
    once = with_worst_case(both)
    assert with_worst_case(once).records == once.records
