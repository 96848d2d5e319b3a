"""YAML that remembers where it stood."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.suite.marked_yaml import Mark, merge, parse

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=8),
)
keys = st.text("abcdefgh-", min_size=1, max_size=5).map(lambda word: f"k{word}")
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(trees, st.sampled_from([None, 2]))
def test_json_is_yaml_and_is_read_as_json(tree, indent):
    assert parse(json.dumps(tree, indent=indent), "f").value == tree


@given(st.dictionaries(keys, trees, min_size=1, max_size=4))
def test_every_value_has_a_mark_inside_the_text(tree):
    text = json.dumps(tree, indent=1)
    source, lines = parse(text, "f"), text.splitlines()
    for mark in [*source.values.values(), *source.keys.values()]:
        assert 1 <= mark.line <= len(lines) + 1 and mark.column >= 1
    for path, mark in source.keys.items():
        assert lines[mark.line - 1][mark.column - 1 :].lstrip("'\"").startswith(str(path[-1]))


def test_scalars_follow_yaml_1_2():
    value = parse(
        "[1e-4, 1.5, .5, 0x1F, 0o17, 010, no, on, yes, ~, null, true, 1_000, 12:30]", "f"
    ).value
    assert value == [
        1e-4,
        1.5,
        0.5,
        31,
        15,
        10,
        "no",
        "on",
        "yes",
        None,
        None,
        True,
        "1_000",
        "12:30",
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2", "f:1:9"),
        ("a: 1\na: 2\n", "f:2:1"),
        ("a: &x [*x]", "f:1:4"),
        ("a: !!python/name:os.system x", "f:1:4"),
        ("a: \x00", "f:1:4"),
        ("", "f:1:1"),
        ("a:\n\t- b", "f:2:1"),
        ("a: 1\n b: 2", "f:2:3"),
        ("1: 2", "f:1:1"),
        ("a: *b", "f:1:4"),
        ("a: 1\n---\nb: 2", "f:2:1"),
        ("[" * 3000, "f:1:1"),
        ("a: !!int x", "f:1:4"),
    ],
)
def test_faulty_yaml_is_one_error_with_a_place(text, where):
    with pytest.raises(SuiteError) as caught:
        parse(text, "f")
    assert caught.value.where == where


def test_aliases_that_multiply_are_refused():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    with pytest.raises(SuiteError, match="over 100,000 values"):
        parse(bomb, "f")


def test_merge_keeps_the_place_each_value_came_from():
    base, over = (
        parse("a: {x: 1, y: [1, 2]}\nb: 2\n", "base"),
        parse("c: 0\na: {y: [3], z: 4}\n", "over"),
    )
    merged = merge(base, over)
    assert merged.value == {"a": {"x": 1, "y": [3], "z": 4}, "b": 2, "c": 0}
    assert merged.where(("a", "x")) == Mark("base", 1, 8)
    assert merged.where(("a", "y", 0)) == Mark("over", 2, 9)
    assert merged.where(("a", "z"), key=True) == Mark("over", 2, 13)
    assert merged.where(("a", "y", 1)) == Mark("over", 2, 8)  # the base's second element is gone


@given(st.dictionaries(keys, trees, max_size=3), st.dictionaries(keys, trees, max_size=3))
def test_merge_overrides_and_loses_nothing(under, over):
    merged = merge(parse(json.dumps(under), "u"), parse(json.dumps(over), "o")).value
    assert set(merged) == set(under) | set(over)
    for key, value in over.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    for key in set(under) - set(over):
        assert merged[key] == under[key]
