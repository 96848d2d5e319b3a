"""Cascade: several attacks in turn are the worst case over them, for less work."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from harness import api
from harness.attacks.engine.sweep import SKIPPED, sweep
from harness.errors import HarnessError
from harness.records import WORST
from harness.registry import attacks
from harness.report.derived import with_derived
from harness.rng import Rng
from harness.suite import load

EPS = [0, 0.03, 0.06, 0.1]
MEMBERS = [
    {"attack": "fgsm", "eps": EPS},
    {"attack": "fmn", "eps": EPS, "norm": "linf", "steps": 8},
    {"attack": "pgd", "eps": EPS, "steps": 5, "restarts": 2, "loss": ["ce", "margin"]},
    {"attack": "pgd", "eps": EPS, "steps": 5, "targets": 3},
    {"attack": "square", "eps": EPS, "queries": 30},
]


def run(model, digits, keys, n=96):
    attack = attacks[keys["attack"]].of(**{name: keys[name] for name in keys if name != "attack"})
    return sweep(model, digits.images[:n], digits.labels[:n], np.arange(n), attack, Rng(0))


def test_a_cascade_is_the_worst_case_on_every_sample_in_fewer_runs(conv, digits):
    together = run(conv, digits, {"attack": "cascade", "attacks": MEMBERS})
    alone = [run(conv, digits, keys) for keys in MEMBERS]
    np.testing.assert_array_equal(together.worst, np.all([each.worst for each in alone], axis=0))
    made = (together.correct != SKIPPED).sum()
    assert made < sum((each.correct != SKIPPED).sum() for each in alone)
    assert len(together.objectives) == len({*together.objectives}) == 1 + 1 + 4 + 4 + 1
    assert (together.norm[~np.isnan(together.norm)] <= max(EPS) + 1e-6).all()


@pytest.mark.parametrize(
    ("second", "place"),
    [
        ({"attack": "pgd", "eps": [0.1], "steps": 2}, "eps"),
        ({"attack": "pgd", "eps": EPS, "norm": "l2", "steps": 2}, "norm"),
        ({"attack": "pgd", "eps": EPS, "steps": 2, "sweep": "bisect"}, "sweep"),
        ({"attack": "pgd", "eps": EPS, "steps": 2, "save": 4}, "save"),
        ({"attack": "cascade", "attacks": MEMBERS[:1]}, "attack"),
    ],
)
def test_what_does_not_fit_is_named_at_its_place(second, place):
    with pytest.raises(ValidationError) as caught:
        attacks["cascade"].of(attacks=[MEMBERS[0], second])
    assert ("attacks", 1, place) in [error["loc"] for error in caught.value.errors()]


def suite(**keys):
    protocol = {"kind": "attack_sweep", "dataset": "digits", "images": 40}
    members = [MEMBERS[0], MEMBERS[2] | {"label": "mine"}]
    two_norms = [*members, {"attack": "pgd", "norm": "l2", "eps": [0.5, 1], "steps": 3}]
    return {
        "name": "cascaded",
        "learners": {"pixels": {"kind": "nearest-mean"}},
        "protocols": {
            "plain": protocol | {"attacks": members, "trust": False},
            "robust": protocol | {"worst": "cascade", "attacks": two_norms} | keys,
        },
        "tables": [{"protocol": "robust", "columns": ["attack", "norm", "eps"]}],
    }


def test_a_suite_measures_the_worst_case_as_one_cell_of_each_norm(tmp_path):
    ran = api.run(suite(), store=tmp_path, workers=1)
    assert not ran.outcome.failed
    cells = [cell for cell in ran.plan.unique if cell.role == "measure"]
    assert sorted(cell.label for cell in cells) == ["fgsm", "mine", WORST, WORST]
    accuracy = {
        (record.protocol, record.setting["eps"]): record.value
        for record in with_derived(ran.results).records
        if record.metric == "accuracy"
        and record.setting["attack"] == WORST
        and record.setting["norm"] == "linf"
    }
    assert [accuracy["plain", eps] for eps in EPS] == [accuracy["robust", eps] for eps in EPS]
    broken = {record.setting["part"] for record in ran.results.records if record.metric == "broken"}
    assert broken == {"fgsm", "mine ce", "mine margin", "mine ce #2", "mine margin #2", "pgd-3-l2"}


def test_a_suite_says_which_attack_cannot_be_part_of_it():
    attacks_ = [MEMBERS[0], {"attack": "pgd", "steps": 2, "eps": [0.1]}]
    with pytest.raises(HarnessError, match="one eps") as caught:
        load.load(suite(attacks=attacks_))
    assert "attacks[1].eps" in str(caught.value) or "attacks.1.eps" in str(caught.value)
