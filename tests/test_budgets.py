"""Budgets are exact: equal ones are one, in configs, settings, tables and the worst case."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.attacks.config import AttackConfig
from harness.budgets import budget, words
from harness.registry import learners
from harness.report.formats import label
from harness.suite.load import load
from harness.suite.specs.claims import MeasureSpec


def grid(eps: object) -> list[float]:
    return AttackConfig.model_validate({"attack": "pgd", "eps": eps}).eps


@given(st.integers(0, 255), st.integers(1, 400))
def test_a_fraction_and_the_float_that_python_computes_for_it_are_one_budget(levels, denominator):
    number = levels / denominator
    assert budget(f"{levels}/{denominator}") == budget(number)
    assert budget(number * 3 / 3) == budget(number)
    assert budget(float(f"{number:.12g}")) == budget(number)


@given(st.decimals(0, 1000, places=6).map(float))
def test_a_plain_decimal_stays_as_it_is_so_that_keys_stay(number):
    assert json.dumps(budget(number)) == json.dumps(number)
    assert json.dumps(budget(budget(number))) == json.dumps(budget(number))


def test_a_budget_needs_no_list_and_may_be_a_fraction():
    assert grid("8/255") == [8 / 255]
    assert grid(0.1) == [0.1]
    assert grid([0, "8/255", 0.1 + 0.2]) == [0.0, 8 / 255, 0.3]


@pytest.mark.parametrize(
    "eps", ["1/0", "big", "", "-1/2", [0.3, 0.1 + 0.2], 1e308, 10**400, [True], "1/2/3", []]
)
def test_what_is_no_budget_is_refused(eps):
    with pytest.raises(ValidationError):
        grid(eps)


@pytest.mark.parametrize("kind", ["mlp", "protonet"])
def test_the_budget_of_adversarial_training_is_exact_too(kind):
    config = learners[kind].Config
    written = [config(adversarial_eps=eps) for eps in ("8/255", 8 / 255, 0.0313725490196)]
    assert {each.adversarial_eps for each in written} == {8 / 255}
    with pytest.raises(ValidationError):
        config(adversarial_eps="9/8")


def test_a_heading_prints_the_budget_as_it_is_written():
    assert label("eps", budget("8/255")) == "eps 8/255"
    assert label("eps", budget(0.1 + 0.2)) == "eps 0.3"
    assert label("support_eps", budget("1/255")) == "support_eps 1/255"
    # Two budgets never have one heading.
    assert words(0.1234567) != words(0.12345678)


def test_a_number_is_referred_to_by_any_form_of_its_budget():
    spec = MeasureSpec.model_validate(
        {"protocol": "robust", "setting": {"attack": "pgd", "eps": "8/255"}, "at_least": 0.5}
    )
    assert spec.setting == {"attack": "pgd", "eps": 8 / 255}


def test_two_attacks_at_one_budget_share_its_column_however_it_is_written(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(
        """\
name: budgets
learners: {pixels: {kind: nearest-mean}}
protocols:
  robust:
    kind: attack_sweep
    dataset: digits
    attacks:
      - {attack: fgsm, eps: [-0.0, 0.031372549019607843, 0.30000000000000004]}
      - {attack: pgd, eps: [0, 8/255, 0.3], steps: 3}
"""
    )
    (entry,) = load(path).protocols
    fgsm, pgd = [setting.to_identity()["config"]["eps"] for setting in entry.protocol.settings()]
    assert json.dumps(fgsm) == json.dumps(pgd)
