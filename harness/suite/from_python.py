"""A suite written as a Python mapping: plain values, and classes and networks where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, SuiteError
from harness.learning.at_hand import AtHand, add_class
from harness.learning.content import importable
from harness.registry import learners
from harness.suite.marked_yaml import LARGEST, MAX_NODES, Mark, Path_, Source

NETWORK = "network"
"""Kind of the learner that a network at hand becomes."""


def source_of(suite: Mapping[str, Any]) -> Source:
    """Turn a mapping into what a YAML file is read as, with a mark for each of its values.

    A learner may be a class, ``{"mine": MyRule}``, or a network, ``{"mine": model}``; so may its
    keys ``kind`` and ``module``.

    >>> source = source_of({"name": "mine", "seeds": range(2)})
    >>> source.value, str(source.where(("seeds",)))
    ({'name': 'mine', 'seeds': [0, 1]}, "suite['seeds']")

    Raises:
        SuiteError: a value that no suite can hold, or a key that is not a word.
    """
    reading = _Reading()
    try:
        reading.source.value = reading.read(suite, ())
    except RecursionError:
        raise SuiteError("nested too deeply", where="suite") from None
    return reading.source


def _mark(path: Path_) -> Mark:
    return Mark("suite" + "".join(f"[{step!r}]" for step in path), 0, 0)


class _Reading:
    """Turns Python's values into those of YAML while noting marks."""

    def __init__(self) -> None:
        self.source = Source()

    def read(self, value: Any, path: Path_) -> Any:
        self.source.values[path] = _mark(path)
        if len(self.source.values) > MAX_NODES:
            raise SuiteError(f"over {MAX_NODES:,} values", where="suite", hint="write fewer")
        if isinstance(value, Mapping):
            return {
                self._key(key, path): self.read(each, (*path, key)) for key, each in value.items()
            }
        if hasattr(value, "tolist"):  # of NumPy or torch
            value = value.tolist()
        if isinstance(value, list | tuple | range):
            return [self.read(each, (*path, place)) for place, each in enumerate(value)]
        if isinstance(value, int) and abs(value) > LARGEST:
            hint = f"at most {LARGEST:,}"
            raise SuiteError("a number too large", where=str(_mark(path)), hint=hint)
        if value is None or isinstance(value, str | bool | int | float | AtHand):
            return value
        if isinstance(value, Path):
            return str(value)
        try:
            return _code(value, path)
        except HarnessError as error:
            raise SuiteError(error.message, where=str(_mark(path)), hint=error.hint) from None

    def _key(self, key: Any, path: Path_) -> str:
        if not isinstance(key, str):
            where = str(_mark(path))
            raise SuiteError(f"a key must be a word, not {key!r}", where=where, hint="quote it")
        self.source.keys[(*path, key)] = _mark((*path, key))
        return key


def _code(value: Any, path: Path_) -> Any:
    """A class, a function or a network, as a suite names it."""
    is_learner = len(path) == 2 and path[0] == "learners"
    if isinstance(value, type):
        kind = _named(value, path)
        return {"kind": kind} if is_learner else kind
    if _is_network(value):
        network = AtHand.of(value)
        return {"kind": NETWORK, "module": network} if is_learner else network
    name = importable(value)
    if name is not None and "." not in name.partition(":")[2]:
        return name
    raise HarnessError(
        f"{type(value).__name__} cannot be part of a suite",
        hint="it holds numbers, words, lists, mappings, learner classes and networks",
    )


def _named(cls: type, path: Path_) -> str:
    """The name of a class: registered, importable, or that of a learner at hand."""
    kind = getattr(cls, "kind", None)
    if isinstance(kind, str) and ":" not in kind and learners.has(kind, cls):
        return kind
    name = importable(cls)
    if name is not None and "." not in name.partition(":")[2]:
        return name
    if path[0] != "learners" or path[2:] not in ((), ("kind",)):
        raise HarnessError(
            f"workers cannot import {cls.__qualname__}",
            hint="move it to a module file; only a learner may be a class of a notebook or script",
        )
    return add_class(cls, learners)


def _is_network(value: Any) -> bool:
    """Whether a value is a ``torch.nn.Module``; only asked of what is not plain."""
    from torch import nn

    return isinstance(value, nn.Module)
