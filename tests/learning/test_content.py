"""Hashes of what is in no file: they change with everything that can change a result."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.learning.content import content_of

RULE = '''
import math
from baselines.nearest_mean import NearestMean
from pydantic import Field

SCALE = 2

def helper(x):
    return x * SCALE

class Rule(NearestMean):
    """A rule."""

    class Config(NearestMean.Config):
        rate: float = Field(0.1, gt=0, description="of learning")

    def fit(self, train, **kwargs):
        "Learn."
        return super().fit(train, **kwargs)

    def score(self, x):
        return helper(x) + math.pi
'''


def rule_hash(text: str) -> str:
    names = {"__name__": "__main__"}
    exec(compile(text, "<cell>", "exec", dont_inherit=True), names)
    return content_of(names["Rule"], "Rule").sha256


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x * SCALE", "x + SCALE"),
        ("SCALE = 2", "SCALE = 3"),
        ("math.pi", "math.e"),
        ("Field(0.1", "Field(0.2"),
        ("gt=0", "gt=1"),
        ("super().fit", "super().body and super().fit"),
        ("(NearestMean):", "(NearestMean, int.__mro__[1]):"),
        ("def score(self, x)", "def score(self, x=1)"),
    ],
)
def test_whatever_a_class_uses_is_in_its_hash(before, after):
    assert before in RULE
    assert rule_hash(RULE.replace(before, after)) != rule_hash(RULE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCALE = 2", "SCALE = 2  # a comment\nOTHER = 3"),
        ('"Learn."', '"Learn something."'),
        ('"""A rule."""', '"""Another."""'),
        ("of learning", "a rate"),
        ("def helper(x)", "def helper(x: float) -> float"),
    ],
)
def test_what_changes_no_result_is_not_in_the_hash(before, after):
    assert before in RULE
    assert rule_hash(RULE.replace(before, after)) == rule_hash(RULE)


def test_another_process_computes_the_same_hash():
    lines = [RULE, "from harness.learning.content import content_of", "print(content_of(Rule, ''))"]
    code = "\n".join([*lines, "print(content_of({'a', 'b', 'c'}, '').sha256)"])
    ended = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, check=True
    )
    of_class, of_set = ended.stdout.splitlines()
    assert rule_hash(RULE) in of_class
    assert "baselines.nearest_mean:NearestMean" in of_class
    assert of_set == content_of({"c", "b", "a"}, "").sha256


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(3))


def changed_weight(made: nn.Module) -> None:
    made[0].weight.data[0] += 1


def changed_buffer(made: nn.Module) -> None:
    made[1].running_mean += 1


def changed_stride(made: nn.Module) -> None:
    made[0].stride = (2, 2)


def hooked(made: nn.Module) -> None:
    made[0].register_forward_hook(lambda *given: given[2] * 2)


@pytest.mark.parametrize("change", [changed_weight, changed_buffer, changed_stride, hooked])
def test_the_state_and_the_settings_of_a_network_are_in_its_hash(change):
    made = network()
    made(torch.zeros(2, 1, 5, 5))
    before = content_of(made, "it").sha256
    change(made)
    assert content_of(made, "it").sha256 != before


def test_weak_references_that_a_network_does_not_pickle_are_left_out():
    torch.manual_seed(0)
    made = nn.LSTM(2, 2)
    before = content_of(made, "it").sha256
    made.weight_hh_l0.data += 1
    assert content_of(made, "it").sha256 != before


def test_gradients_and_modes_are_not_in_the_hash_of_a_network():
    made = network().eval()
    made(torch.zeros(2, 1, 5, 5)).sum().backward()
    before = content_of(made, "it").sha256
    made.zero_grad()
    made.train().requires_grad_(False)
    assert content_of(made, "it").sha256 == before


def test_decorated_functions_count_with_what_they_wrap():
    def hash_of(number: int) -> str:
        class Rule:
            @torch.no_grad()
            def learn(self):
                return number

            @functools.cached_property
            def rate(self):
                return 1

        return content_of(Rule, "Rule").sha256

    assert hash_of(1) == hash_of(1)
    assert hash_of(1) != hash_of(2)


def test_what_cannot_be_hashed_is_named():
    with open(__file__) as file:

        class Reads:
            def read(self):
                return file.read()

        with pytest.raises(HarnessError, match=r"Reads\.read, file is a TextIOWrapper"):
            content_of(Reads, "Reads")
