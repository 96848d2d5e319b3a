"""State of a network outside its parameters and buffers: memories, caches, counters.

Such state is in no ``state_dict``, so nothing that compares weights sees it change. This file
imports torch.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

DEPTH = 8
"""Levels of containers, objects and closures that are followed."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def hidden_state(model: nn.Module) -> dict[str, str]:
    """Where a network can keep something -> digest of what it keeps there.

    Read are the attributes of each module that are not torch's own, the attributes of its class,
    and, wherever a function is met, its closure, its defaults and the variables of its module that
    it names.

    >>> from torch import nn
    >>> network = nn.Sequential(nn.ReLU())
    >>> network.memory = [1, 2]
    >>> sorted(hidden_state(network))
    ['0.inplace', 'memory']
    """
    state = {}
    for path, module in model.named_modules():
        for name, value in _attributes(module):
            digest = hashlib.blake2b(digest_size=16)
            _feed(digest, value, {}, DEPTH)
            state[f"{path}.{name}" if path else name] = digest.hexdigest()
    return state


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What is a module's own: instance attributes, then those of its classes below torch's."""
    known = _torch_attributes()
    for name, value in vars(module).items():
        if name not in known:
            yield name, value
    for cls in type(module).__mro__:
        if cls.__module__.partition(".")[0] in ("torch", "builtins"):
            break
        for name, value in vars(cls).items():
            if not name.startswith("__") or name == "__call__":
                yield f"{cls.__name__}.{name}", value


def _torch_attributes() -> frozenset[str]:
    """Attributes that every module has: parameters, buffers, modules, hooks, the training flag."""
    return frozenset(vars(nn.Module()))


def _feed(digest: Any, value: Any, met: dict[int, Any], depth: int) -> None:
    """Add what a value holds to a digest.

    Args:
        digest: of ``hashlib``.
        value: what is read.
        met: what has been read, by identity; holding it keeps an identity from being used again.
        depth: levels that are still followed.
    """
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode())
        return
    if depth == 0 or id(value) in met or isinstance(value, (type, ModuleType)):
        return
    met[id(value)] = value
    digest.update(type(value).__name__.encode())
    if isinstance(value, torch.Tensor):
        digest.update(_bytes(value))
        return
    if isinstance(value, np.ndarray):
        digest.update(np.ascontiguousarray(value).tobytes())
        return
    for part in _parts(value):
        _feed(digest, part, met, depth - 1)


def _bytes(tensor: torch.Tensor) -> bytes:
    dense = tensor.detach().cpu()
    if dense.layout is not torch.strided:
        dense = dense.to_dense()
    return dense.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _parts(value: Any) -> Iterable[Any]:
    """What a container, a function or an object holds."""
    for kind, parts in _PARTS.items():
        if isinstance(value, kind):
            return parts(value)
    if hasattr(value, "cache_info"):
        return [value.cache_info().currsize]
    return _of_object(value)


def _of_function(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # an empty cell
            continue
    yield function.__defaults__
    yield function.__kwdefaults__
    yield vars(function)
    for name in function.__code__.co_names:
        named = function.__globals__.get(name)
        # Functions and classes of the module are code; only what can be filled is state.
        if isinstance(named, (list, dict, set, np.ndarray, torch.Tensor)):
            yield named


def _of_object(value: Any) -> Iterator[Any]:
    yield getattr(value, "__dict__", None)
    for name in getattr(type(value), "__slots__", ()):
        yield getattr(value, name, None)


def _of_module(module: nn.Module) -> dict[str, Any]:
    """A module in a list is no part of the network for torch: its weights are hidden too."""
    return {name: item for name, item in vars(module).items() if not name.endswith("hooks")}


_PARTS: dict[Any, Callable[[Any], Iterable[Any]]] = {
    Mapping: lambda value: [part for item in value.items() for part in item],
    (list, tuple, deque): list,
    (set, frozenset): lambda value: sorted(map(repr, value)),
    FunctionType: _of_function,
    # The module behind a bound method is read on its own.
    (MethodType, staticmethod, classmethod): lambda value: [value.__func__],
    partial: lambda value: [value.func, value.args, value.keywords],
    property: lambda value: [value.fget],
    nn.Module: lambda value: [_of_module(value)],
    torch.Generator: lambda value: [value.get_state()],
    BuiltinFunctionType: lambda value: [],
}
"""Kind of value -> what it holds."""
