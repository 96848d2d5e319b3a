"""Families of learners: every one has one, and no key of a cell depends on it."""

from __future__ import annotations

import ast
import inspect

import pytest

from harness.cells import syntax
from harness.errors import HarnessError
from harness.registry import FAMILIES, OTHER, Registry, learners


def test_every_learner_names_its_family():
    without = [name for name in learners if learners.family(name) == OTHER]
    assert without == []
    assert {learners.family(name) for name in learners} == set(FAMILIES) - {OTHER}


def test_an_unknown_family_is_an_error_that_suggests_one():
    with pytest.raises(HarnessError, match="unknown family 'hebbian' of learner 'mine'") as raised:
        Registry("learner", "harness.learning.learner:Learner").register("mine", family="hebbian")
    assert "Hebbian" in raised.value.hint


def test_the_family_of_a_plugin_is_told_without_importing_it():
    assert learners.family("module_of_a_stranger:Mine") == OTHER


@pytest.mark.parametrize("name", learners)
def test_no_key_depends_on_the_family_of_a_learner(name):
    """The text that versions of code are hashes of is the same without it."""
    with_family, without = (ast.parse(inspect.getsource(learners[name])).body[0] for _ in range(2))
    (register,) = (each for each in without.decorator_list if isinstance(each, ast.Call))
    assert [keyword.arg for keyword in register.keywords] == ["family"]
    register.keywords = []
    texts = [syntax.dump(syntax.essence(each, lambda _: False)) for each in (with_family, without)]
    assert texts[0] == texts[1]


def test_a_keyword_of_another_call_counts_even_if_it_is_called_family():
    calls = ("fit(family='a')", "fit(family='b')")
    texts = [syntax.dump(syntax.essence(ast.parse(call).body[0], bool)) for call in calls]
    assert texts[0] != texts[1]
