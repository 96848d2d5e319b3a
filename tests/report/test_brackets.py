"""Brackets: proven below, attacked above, and what follows from both."""

from __future__ import annotations

from dataclasses import replace

import pytest
from results_kit import results_of, sweep

from harness.errors import ProofError
from harness.report.board.charts import charts
from harness.report.claims import decide
from harness.report.curves import proofs
from harness.report.derive import with_worst_case
from harness.report.figures import write_figures
from harness.report.printed import lay_out
from harness.report.tables import build, build_all
from harness.suite.specs.claims import ClaimSpec
from harness.suite.specs.tables import TableSpec

FGSM = {0.1: [1, 1, 1, 1, 0], 0.2: [1, 1, 1, 0, 0]}
PGD = {0.1: [1, 1, 1, 0, 0], 0.2: [1, 1, 0, 0, 0]}
PROVEN = {0.1: [1, 1, 0, 0, 0], 0.2: [1, 0, 0, 0, 0]}


def certified(learner, attack, attacked, proven, **keys):
    """One cell of a certified sweep."""
    cells = sweep(learner, attack, attacked, **keys)
    for made, array in sweep(learner, attack, proven, **keys):
        name = f"certified {made.verdicts}"
        cells.append((replace(made, metric="proven", verdicts=name), array))
    return cells


def numbers(results, metric, **setting):
    found = with_worst_case(results)
    return [
        (each.low, each.value, each.high)
        for each in found.records
        if each.metric == metric and setting.items() <= each.setting.items()
    ]


def text(table, row=0):
    return [cell.number for cell in lay_out(table).cells[row]]


def test_a_bracket_has_the_proven_and_the_attacked_share_as_its_ends():
    results = results_of(certified("a", "pgd", PGD, PROVEN))
    assert numbers(results, "bracket", eps=0.1) == [(0.4, 0.6, 0.6)]
    ((low, value, high),) = numbers(results, "undecided", eps=0.1)
    assert value == 0.2 and low < 0.2 < high


def test_the_worst_case_is_bracketed_by_proofs_of_any_attack_of_its_norm():
    results = results_of(certified("a", "pgd", PGD, PROVEN), sweep("a", "fgsm", FGSM))
    assert [value for _, value, _ in numbers(results, "proven", attack="worst")] == [0.4, 0.2]
    assert numbers(results, "bracket", attack="worst", eps=0.2) == [(0.2, 0.4, 0.4)]
    assert not numbers(results, "bracket", attack="fgsm")  # it was not asked for


def test_what_any_attack_breaks_and_a_proof_covers_is_an_error():
    broken = {**FGSM, 0.1: [0, 1, 1, 1, 0]}
    results = results_of(certified("a", "pgd", PGD, PROVEN), sweep("a", "fgsm", broken))
    with pytest.raises(ProofError, match="image at place 0 is proven robust at eps 0.1, and fgsm"):
        with_worst_case(results)
    other_norm = results_of(
        certified("a", "pgd", PGD, PROVEN), sweep("a", "fgsm", broken, norm="l2")
    )
    assert with_worst_case(other_norm)


def test_a_break_at_a_smaller_budget_refutes_a_proof_at_a_larger_one():
    broken = {0.1: [0, 1, 1, 1, 0], 0.2: [1, 1, 1, 0, 0]}
    proven = {0.1: [0, 1, 0, 0, 0], 0.2: [1, 0, 0, 0, 0]}
    results = results_of(certified("a", "pgd", PGD, proven), sweep("a", "fgsm", broken))
    with pytest.raises(ProofError, match="eps 0.2"):
        with_worst_case(results)


def test_a_table_prints_both_ends_and_a_dash_without_a_bound():
    results = results_of(
        certified("a", "pgd", PGD, PROVEN),
        certified("a", "pgd", PGD, {0.1: [0] * 5, 0.2: [0] * 5}, seed=1),
        sweep("b", "pgd", PGD),
        sweep("b", "pgd", PGD, seed=1),
    )
    table = build(
        results, TableSpec(protocol="robust", columns=["attack", "eps"], metric="bracket")
    )
    assert text(table) == ["20.0–60.0", "10.0–40.0"]
    proven = build(
        results, TableSpec(protocol="robust", columns=["attack", "eps"], metric="proven")
    )
    assert text(proven)[:1] == ["20.0"]
    both = build(
        results,
        TableSpec(protocol="robust", columns=["eps", "metric"], metric=["accuracy", "bracket"]),
    )
    assert text(both, 1) == ["60.0", "–", "40.0", "–"]
    assert any("proven and left by the attack" in note for note in both.notes)
    assert "proven–attacked, %" in lay_out(table).title


def test_a_suite_that_asks_for_no_table_gets_one_of_brackets_if_it_has_any():
    with_proofs = build_all(results_of(certified("a", "pgd", PGD, PROVEN)), [])
    assert "robust-brackets" in [table.name for table in with_proofs]
    without = build_all(results_of(sweep("a", "pgd", PGD)), [])
    assert "robust-brackets" not in [table.name for table in without]


@pytest.mark.parametrize(
    "metric, bound, verdict",
    [
        ("proven", {"at_least": 0.3}, "holds"),
        ("proven", {"at_least": 0.6}, "fails"),
        ("undecided", {"at_most": 0.3}, "holds"),
        ("undecided", {"at_most": 0.1}, "fails"),
    ],
)
def test_claims_measure_what_is_proven_and_what_is_undecided(metric, bound, verdict):
    attacked = {0.1: [1] * 600 + [0] * 400}
    proven = {0.1: [1] * 400 + [0] * 600}
    results = results_of(certified("a", "pgd", attacked, proven))
    measure = {"protocol": "robust", "metric": metric, "setting": {"eps": 0.1}, **bound}
    claim = ClaimSpec(name="c", claim="It is.", learner="a", measures=[measure])
    (row,) = decide(results, [claim])
    assert row.verdict == verdict


def test_curves_have_a_band_from_proven_to_attacked(tmp_path):
    results = results_of(
        certified("a", "pgd", {0.0: [1] * 4 + [0], **PGD}, {0.0: [1] * 4 + [0], **PROVEN}),
        sweep("b", "pgd", PGD),
        learners=["a", "b"],
        protocols={"robust": "attack_sweep"},
        configs={},
        kinds={"a": "mlp", "b": "mlp"},
    )
    found = proofs(with_worst_case(results), "robust")
    ((row, _),) = found
    assert row == ("a",)
    points = next(iter(found.values()))
    assert {eps: each[0].value for eps, each in points.items()} == {0.0: 0.8, 0.1: 0.4, 0.2: 0.2}
    assert write_figures(results, tmp_path)


def test_the_boards_curves_reach_down_to_what_is_proven():
    results = results_of(certified("a", "pgd", PGD, PROVEN), sweep("b", "pgd", PGD))
    (panel,) = charts(with_worst_case(results), "robust")[0]["panels"]
    first, second = panel["series"]
    assert first["proven"] == [[0.1, 40.0, 60.0], [0.2, 20.0, 40.0]]
    assert "proven" not in second
