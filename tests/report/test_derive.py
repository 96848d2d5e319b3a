"""The worst case over attacks, and the check across them."""

from __future__ import annotations

import numpy as np
import pytest
from results_kit import results_of, sweep

from harness.report.derive import with_worst_case

FGSM = {
    0.0: [1, 1, 1, 1, 0],
    0.1: [1, 1, 0, 1, 0],
    0.2: [1, 1, 1, 0, 0],
}  # at .2 it misses what it found at .1
PGD = {0.0: [1, 1, 1, 1, 0], 0.1: [1, 0, 0, 1, 0], 0.2: [1, 0, 0, 0, 0]}


def worst(results, learner: str = "a") -> dict[float, list[int]]:
    found = with_worst_case(results)
    return {
        r.setting["eps"]: found.verdicts(r.cell, r.verdicts).tolist()
        for r in found.records
        if r.setting["attack"] == "worst" and r.learner == learner
    }


def test_worst_case_is_the_and_over_attacks_and_smaller_eps():
    found = worst(results_of(sweep("a", "fgsm", FGSM), sweep("a", "pgd", PGD)))
    assert found == {0.0: [1, 1, 1, 1, 0], 0.1: [1, 0, 0, 1, 0], 0.2: [1, 0, 0, 0, 0]}


def test_its_record_has_value_interval_and_worst_trust():
    found = with_worst_case(
        results_of(sweep("a", "fgsm", FGSM, trust="WARN"), sweep("a", "pgd", PGD))
    )
    record = next(
        r for r in found.records if r.setting == {"attack": "worst", "norm": "linf", "eps": 0.1}
    )
    assert (record.value, record.n, record.trust) == (0.4, 5, "WARN")
    assert record.low < 0.4 < record.high


def test_worst_case_never_rises_with_eps():
    draw = np.random.default_rng(0)
    cells = [
        sweep("a", attack, {e / 10: draw.integers(0, 2, 50).tolist() for e in range(6)})
        for attack in ("x", "y", "z")
    ]
    shares = [np.mean(v) for _, v in sorted(worst(results_of(*cells)).items())]
    assert shares == sorted(shares, reverse=True)


def test_one_attack_has_no_worst_case():
    assert worst(results_of(sweep("a", "pgd", PGD))) == {}


def test_a_learner_without_one_of_the_attacks_has_no_worst_case():
    results = results_of(sweep("a", "fgsm", FGSM), sweep("a", "pgd", PGD), sweep("b", "fgsm", FGSM))
    assert len(worst(results, "a")) == 3
    assert worst(results, "b") == {}


def test_norms_are_kept_apart():
    cells = [
        sweep("a", attack, verdicts, norm=norm)
        for attack, verdicts in (("fgsm", FGSM), ("pgd", PGD))
        for norm in ("linf", "l2")
    ]
    found = with_worst_case(results_of(*cells)).records
    assert sorted(
        (r.setting["norm"], r.setting["eps"]) for r in found if r.setting["attack"] == "worst"
    ) == [(norm, eps) for norm in ("l2", "linf") for eps in (0.0, 0.1, 0.2)]


def test_deriving_twice_adds_nothing():
    once = with_worst_case(results_of(sweep("a", "fgsm", FGSM), sweep("a", "pgd", PGD)))
    assert with_worst_case(once) is once


@pytest.mark.parametrize(("pgd", "level"), [(PGD, "PASS"), ({0.1: [1] * 5}, "FAIL")])
def test_pgd_must_be_as_strong_as_fgsm(pgd, level):
    found = with_worst_case(
        results_of(sweep("a", "fgsm", {0.1: [1, 1, 0, 1, 0]}), sweep("a", "pgd", pgd))
    )
    assert [check.level for check in found.trust["a/pgd/linf/0"]] == [level]
    assert {r.trust for r in found.records if r.setting["attack"] == "pgd"} == {level}
    assert {r.trust for r in found.records if r.setting["attack"] == "fgsm"} == {"PASS"}
    assert {r.trust for r in found.records if r.setting["attack"] == "worst"} == {level}


def test_a_few_images_that_only_fgsm_finds_are_a_warning():
    fgsm, pgd = [1] * 1000, [1] * 1000
    fgsm[:10] = [0] * 10
    found = with_worst_case(
        results_of(sweep("a", "fgsm", {0.1: fgsm}), sweep("a", "pgd", {0.1: pgd}))
    )
    (check,) = found.trust["a/pgd/linf/0"]
    assert check.level == "WARN" and check.detail.startswith("FGSM breaks 10 of 1000 images")


def test_attacks_are_known_by_their_config_whatever_their_label():
    fgsm = sweep("a", "quick", {0.1: [1, 1, 0, 1, 0]}, config={"attack": "fgsm"})
    pgd = sweep("a", "thorough", {0.1: [1] * 5}, config={"attack": "pgd", "steps": 20})
    found = with_worst_case(results_of(fgsm, pgd))
    assert [check.level for check in found.trust["a/thorough/linf/0"]] == ["FAIL"]


def union(results) -> dict[float, tuple[str, list[int]]]:
    found = with_worst_case(with_worst_case(results))  # repeated, it adds nothing
    return {
        r.setting["eps"]: (r.setting["norm"], found.verdicts(r.cell, r.verdicts).tolist())
        for r in found.records
        if r.setting["attack"] == "union"
    }


L2 = {0.0: [1, 1, 1, 1, 0], 0.5: [1, 1, 1, 0, 0], 1.0: [1, 1, 0, 0, 0]}


def test_the_union_over_norms_takes_their_budgets_together_in_order():
    l2 = sweep("a", "pgd-l2", L2, norm="l2")
    found = union(results_of(sweep("a", "fgsm", FGSM), sweep("a", "pgd", PGD), l2))
    assert found == {
        0.1: ("linf 0.1 + l2 0.5", [1, 0, 0, 0, 0]),
        0.2: ("linf 0.2 + l2 1", [1, 0, 0, 0, 0]),
    }


def test_norms_of_different_numbers_of_budgets_have_no_union():
    short = {eps: L2[eps] for eps in (0.0, 0.5)}
    assert not union(results_of(sweep("a", "pgd", PGD), sweep("a", "x", short, norm="l2")))
    assert not union(results_of(sweep("a", "pgd", PGD), sweep("a", "fgsm", FGSM)))


def test_a_learner_without_one_of_the_norms_has_no_union():
    others = (sweep("b", "pgd", PGD), sweep("b", "x", L2, norm="l2"))
    found = with_worst_case(results_of(sweep("a", "pgd", PGD), *others))
    assert {r.learner for r in found.records if r.setting["attack"] == "union"} == {"b"}
