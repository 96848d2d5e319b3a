"""Bars: what a suite expects is judged by its interval, with the rules that claims have."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError
from results_kit import correct, results_of, sweep

from harness.report import bars, gate_text
from harness.report.findings import Limits, Report
from harness.report.judged import Estimate
from harness.suite.specs.bounds import fraction
from harness.suite.specs.expect import ExpectSpec


def bar(**keys) -> ExpectSpec:
    base = {"protocol": "robust", "learner": "mine", "setting": {"attack": "worst", "eps": 0.1}}
    return ExpectSpec.model_validate(base | keys)


def judged(results, *specs, **options):
    return bars.judge(results, specs, {}, **options)


def measured(wrong: int, **more):
    """100 images under two attacks; the weaker one breaks half of ``wrong``."""
    return results_of(
        sweep("mine", "fgsm", {0.1: correct(100, wrong // 2)}, **more),
        sweep("mine", "pgd", {0.1: correct(100, wrong)}, **more),
    )


@pytest.mark.parametrize(
    "bound, outcome",
    [
        ({"at_least": "50 %"}, "holds"),
        ({"at_least": 0.95}, "fails"),
        ({"at_least": 0.8}, "undecided"),
        ({"at_most": "50 %"}, "fails"),
        ({"within": ["60 %", "95 %"]}, "holds"),
        ({"within": [0.1, 0.2]}, "fails"),
        ({"within": [0.8, 0.9]}, "undecided"),
    ],
)
def test_the_whole_interval_decides_a_bar(bound, outcome):
    (finding,) = judged(measured(wrong=20), bar(**bound))
    assert finding.outcome == outcome and finding.fails == (outcome == "fails")


def test_the_worst_case_over_attacks_can_be_expected():
    (finding,) = judged(measured(wrong=20), bar(at_least=0.5))
    assert finding.value == pytest.approx(0.8) and "80.0 [" in finding.said


def test_an_undecided_bar_fails_only_if_asked():
    (finding,) = judged(measured(wrong=20), bar(at_least=0.8), undecided_fails=True)
    assert finding.outcome == "undecided" and finding.fails


def test_a_distrusted_or_missing_number_clears_no_bar():
    (finding,) = judged(measured(wrong=0, trust="FAIL"), bar(at_least=0.5))
    assert finding.outcome == "untrusted" and finding.fails
    (finding,) = judged(measured(wrong=0), bar(learner="other", at_least=0.5))
    assert finding.outcome == "missing" and finding.fails


def test_a_seed_that_is_missing_leaves_a_bar_unjudged():
    results = results_of(sweep("mine", "pgd", {0.1: correct(100, 0)}), seeds={"robust": [0, 1]})
    (finding,) = judged(results, bar(setting={"attack": "pgd", "eps": 0.1}, at_least=0.5))
    assert finding.outcome == "missing" and "only for seeds 0 of 0, 1" in finding.notes[0]


@pytest.mark.parametrize(
    "keys", [{}, {"at_least": 0.1, "at_most": 0.2}, {"within": [0.2, 0.1]}, {"within": [0.1]}]
)
def test_a_bar_has_one_bound_that_can_be_kept(keys):
    with pytest.raises(ValidationError):
        bar(**keys)


def test_a_percentage_is_the_same_float_as_its_fraction():
    for whole in range(101):
        assert fraction(f"{whole} %") == whole / 100 and fraction(f"{whole}.5%") == float(
            f"{whole}.5e-2"
        )


def test_a_bound_that_is_met_exactly_is_kept():
    assert Estimate(0.5, None, None).verdict((0.5, math.inf)) == "holds"
    assert Estimate(0.5, None, None).verdict((-math.inf, 0.5)) == "holds"


def test_every_report_shows_the_number_that_cleared_a_bar():
    findings = judged(measured(wrong=20), bar(at_least=0.5), bar(at_least=0.95))
    report = Report("s", "expected", Limits(), findings)
    shown = gate_text.lines(report)
    assert shown[0].startswith("ok   mine: robust, worst, eps 0.1, ≥ 50.0 %: holds: 80.0 [")
    assert "✅ | mine" in gate_text.markdown(report) and "❌ | mine" in gate_text.markdown(report)
    first, second = ElementTree.fromstring(gate_text.junit(report)).iter("testcase")
    assert "80.0 [" in first.findtext("system-out")
    assert second.find("failure") is not None
