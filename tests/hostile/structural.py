"""Structural mutations of JSON: types, ranges, missing and added fields, wherever in the tree."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

NASTY = [
    *(None, True, False, 0, -1, 1, 7, 10**400, 2**63, 1.5, 0.5, -0.0, 1e308, -1e308),
    *(float("inf"), float("-inf"), float("nan")),
    *("", " ", "\0", "\x1b[31mred", "\u202e", "x" * 3000, "\ud800", "0", "0.1", "nan", "\r\n"),
    *("<script>alert(1)</script>", "=cmd|'/c calc'!A1", "\\input{/etc/passwd}", "../../x", "/x"),
    *("clean", "worst", "mean", "pgd", "accuracy", "error", "best_family", "band", "enforced"),
    *("relative_drop", "sample", "image", "episode", "synapse", "antigravity:x", "measure", "train"),
    *([], {}, [[]], [None], {"": ""}, {"a": {"b": 1}}, ["a", "b"], 99, 3),
]
NAMES = ["", "x" * 50, "metric", "eps", "kind", "attack", "seed", "learner", "config", "new", "\0"]


def _places(tree: Any, path: tuple = ()) -> list[tuple]:
    places = [path] if path else []
    if isinstance(tree, dict | list):
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in entries:
            places += _places(value, (*path, key))
    return places


@st.composite
def mutated(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of a tree with one to ``most`` changes."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        places = _places(tree)
        if places:
            _change(draw, tree, draw(st.sampled_from(places)))
    return tree


def _change(draw: st.DrawFn, tree: Any, place: tuple) -> None:
    *steps, last = place
    parent = tree
    for step in steps:
        parent = parent[step]
    how = draw(st.sampled_from(["set", "set", "set", "remove", "rename", "repeat"]))
    if how == "remove" and isinstance(parent, dict):
        del parent[last]
    elif how == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(NAMES))] = parent.pop(last)
    elif how == "repeat" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]))
    else:
        parent[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))
