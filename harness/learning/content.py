"""Hashes of Python objects that are in no file: classes of a notebook, networks in memory.

The objects are hashed as they are, not their source: a notebook shows text that may have changed
since its cell was run, and a program that comes through a pipe has none. Functions count with their
bytecode, constants and defaults, and with every global that they name. Comments, the docstring of a
function, annotations and places in a file do not count.

What other processes can import counts by name. Its code is followed like that of every cell
(``harness.cells.code``), or its release counts.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np
from pydantic import BaseModel

from harness.environment import LIBRARIES
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.bytecode import imported_names, used_globals

ATOMS = (type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes)

NOT_FOLLOWED = frozenset(
    {*sys.stdlib_module_names, *LIBRARIES, "pydantic", "pydantic_core", "annotated_types"}
)
"""Packages whose release is in every key, or that only check what a config holds."""

MADE_BY_PYTHON = frozenset(
    {
        "__abstractmethods__",
        "__annotations__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__match_args__",
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__qualname__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
        "kind",
    }
)
"""Members of a class that follow from others, change nothing, or name its entry in a registry."""

OF_TRAINING = frozenset({"training", "_is_full_backward_hook"})
"""Attributes of a network that evaluation does not depend on."""

DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)


@dataclass(frozen=True)
class Content:
    """What an object consists of.

    Attributes:
        sha256: of all that can change a result and is in no file.
        code: ``module:name`` of everything importable that it uses.
    """

    sha256: str
    code: tuple[str, ...]


def content_of(value: Any, name: str) -> Content:
    """Hash an object. Equal definitions give equal hashes, in every process.

    >>> content_of([1, 2], "a list") == content_of([1, 2], "another")
    True

    Args:
        value: A class, a function, a network, or data.
        name: What to call it in messages.

    Raises:
        HarnessError: It uses something without content to hash, such as an open file.
    """
    reading = _Reading(name)
    try:
        reading.read(value)
    except RecursionError:
        raise HarnessError(f"{name} refers to objects that are nested too deeply") from None
    return Content(reading.sha.hexdigest(), tuple(sorted(reading.code)))


def importable(value: Any) -> str | None:
    """``module:name`` under which another process finds the same object; None if there is none.

    >>> importable(content_of)
    'harness.learning.content:content_of'
    """
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found = sys.modules.get(module)
    if getattr(found, "__spec__", None) is None:
        return None  # a module that was made by hand
    for step in name.split("."):
        found = getattr(found, step, None)
    return f"{module}:{name}" if found is value else None


class _Reading:
    """One pass through an object and all that it uses."""

    def __init__(self, name: str) -> None:
        self.sha = hashlib.sha256()
        self.code: set[str] = set()
        self.trail = [name]
        self.met: dict[int, tuple[int, Any]] = {}  # keeps objects alive, so that ids stay theirs

    def write(self, *parts: object) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode()
            self.sha.update(f"{len(data)}:".encode() + data)

    def read(self, value: Any, step: str = "") -> None:
        """Include a value, which is called ``step`` in the one that is being read."""
        if isinstance(value, ATOMS):
            self.write(type(value).__name__, repr(value))
            return
        # Whether equal constants are one object is up to the compiler.
        is_constant = isinstance(value, tuple | frozenset)
        if not is_constant:
            if id(value) in self.met:
                self.write("met before", self.met[id(value)][0])
                return
            self.met[id(value)] = (len(self.met), value)
        self.trail.append(step)
        self._reader(value)(value)
        self.trail.pop()

    def _reader(self, value: Any) -> Callable[[Any], None]:
        for kinds, reader in _READERS.items():
            if isinstance(value, kinds):
                return functools.partial(reader, self)
        if isinstance(value, torch.Tensor):
            return self.tensor
        if isinstance(value, nn.Module) and type(value).__reduce__ is object.__reduce__:
            return self.network
        return self.other

    def items(self, values: list | tuple) -> None:
        self.write(type(values).__name__, len(values))
        for place, value in enumerate(values):
            self.read(value, f"[{place}]")

    def mapping(self, values: dict) -> None:
        self.write("mapping", len(values))
        for key, value in values.items():
            self.read(key)
            self.read(value, f"[{key!r}]")

    def members(self, values: set | frozenset) -> None:
        """Sets have no order, so each member is hashed on its own."""
        hashes = []
        for value in values:
            content = content_of(value, self._place())
            self.code |= {*content.code}
            hashes.append(content.sha256)
        self.write("set", *sorted(hashes))

    def array(self, values: np.ndarray | np.generic) -> None:
        if values.dtype.hasobject:
            self.items(np.asarray(values).tolist())
        else:
            self.write("array", values.dtype.str, values.shape, values.tobytes())

    def tensor(self, values: torch.Tensor) -> None:
        try:
            data = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            self.write("tensor", values.dtype, tuple(values.shape), data.numpy().tobytes())
        except (RuntimeError, TypeError, NotImplementedError):  # sparse, quantised, on no device
            raise self._unknown(values) from None

    def network(self, module: nn.Module) -> None:
        self.read(type(module))
        try:
            state = module.__getstate__()
        except Exception:  # parametrised modules refuse, LSTMs leave out weak references
            state = vars(module)
        if not isinstance(state, dict):
            state = {"state": state}
        for name, value in state.items():
            if name in OF_TRAINING:
                continue
            is_hooks = name.endswith("_hooks") and isinstance(value, dict)
            # Hooks are numbered in the order in which a process made them.
            self.write(name)
            self.read([*value.values()] if is_hooks else value, f".{name}")

    def module(self, module: types.ModuleType) -> None:
        self.write("module", module.__name__)

    def wrapped(self, value: Any) -> None:
        """What a decorator has wrapped without a function of its own."""
        function = next(
            getattr(value, name)
            for name in ("__wrapped__", "__func__", "func", "fget")
            if getattr(value, name, None) is not None
        )
        self.write(type(value).__name__)
        self.read(function)
        for name in ("fset", "fdel"):
            self.read(getattr(value, name, None))

    def bound(self, method: types.MethodType) -> None:
        self.read(method.__func__, method.__name__)
        self.read(method.__self__)

    def builtin(self, function: Any) -> None:
        self.write("builtin", getattr(function, "__module__", ""), function.__qualname__)

    def enum(self, member: Enum) -> None:
        self.read(type(member))
        self.write(member.name)

    def path(self, path: PurePath) -> None:
        self.write("path", path)

    def other(self, value: Any) -> None:
        """Any other object, by what pickle would keep of it."""
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception:  # locks, files, generators
            raise self._unknown(value) from None
        if isinstance(reduced, str):
            self.write("global", type(value).__module__, reduced)
            return
        for part in reduced:
            self.read([*part] if isinstance(part, Iterator) else part)

    def _name(self, value: Any) -> bool:
        """Include something importable by name; False if it has to be read."""
        name = importable(value)
        if name is None:
            return False
        self.write("importable", name)
        if _is_followed(name):
            module, _, inner = name.partition(":")
            self.code.add(f"{module}:{inner.partition('.')[0]}")
        return True

    # ------------------------------------------------------------------------ classes, functions

    def cls(self, cls: type) -> None:
        if self._name(cls):
            return
        self.write("class", cls.__name__)
        self.read(type(cls))
        self.items(cls.__bases__)
        if issubclass(cls, BaseModel):
            self._fields(cls)
        for name, member in sorted(vars(cls).items()):
            if name in MADE_BY_PYTHON or isinstance(member, DESCRIPTORS):
                continue
            if issubclass(cls, BaseModel) and (
                name[:2] == "__" or not isinstance(member, _DEFINED)
            ):
                continue  # what pydantic has made of the fields
            self.write(name)
            self.read(member, f".{name}")

    def _fields(self, model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            self.write(name, field.alias, repr(field.is_required()))
            self.read(field.annotation, f".{name}")
            self.read(None if field.is_required() else field.get_default(), f".{name}")
            self.read([*field.metadata], f".{name}")
        decorators = model.__pydantic_decorators__
        for kind in ("field_validators", "model_validators", "validators", "root_validators"):
            for name, decorator in getattr(decorators, kind).items():
                self.write(name, repr(decorator.info))

    def function(self, function: types.FunctionType) -> None:
        if self._name(function):
            return
        documented = function.__doc__ is not None
        self._code(function.__code__, documented)
        self.read(function.__defaults__)
        self.read(function.__kwdefaults__)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self.read(content, name)
        for chain in used_globals(function.__code__):
            self._global(function.__globals__, chain)
        self.code |= {name for name in imported_names(function.__code__) if _is_followed(name)}

    def _code(self, code: types.CodeType, documented: bool = False) -> None:
        # A function without a docstring has None as its first constant.
        constants = (None, *code.co_consts[1:]) if documented else code.co_consts
        self.write(code.co_code, code.co_exceptiontable, code.co_flags)
        self.write(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        self.write(code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        for constant in constants:
            if isinstance(constant, types.CodeType):
                self._code(constant)
            else:
                self.read(constant)

    def _global(self, names: dict[str, Any], chain: tuple[str, ...]) -> None:
        """A global that a function names: the value, or what is read from a module."""
        self.write(*chain)
        if chain[0] not in names:
            return  # of builtins, or never called
        value = names[chain[0]]
        for step in chain[1:]:
            if not isinstance(value, types.ModuleType) or not hasattr(value, step):
                break
            value = getattr(value, step)
        self.read(value, chain[0])

    # --------------------------------------------------------------------------------- messages

    def _place(self) -> str:
        steps = [step for step in self.trail if step]
        return "".join(step if step[0] in ".[" else f", {step}" for step in steps)[2:]

    def _unknown(self, value: Any) -> HarnessError:
        kind = type(value).__name__
        return HarnessError(
            f"cannot tell when a result has to be computed again: {self._place()} is a {kind}, "
            "which has no content to hash",
            hint="create it inside the function that uses it; or move the code into a module file, "
            "which is followed as text",
        )


def _is_followed(name: str) -> bool:
    """Whether ``module:name`` is code whose text or release is to be in the key."""
    return name.partition(":")[0].partition(".")[0] not in NOT_FOLLOWED


_DEFINED = (types.FunctionType, classmethod, staticmethod, property, type)

_READERS: dict[Any, Callable[[_Reading, Any], None]] = {
    (list, tuple): _Reading.items,
    (dict, types.MappingProxyType): _Reading.mapping,
    (set, frozenset): _Reading.members,
    (np.ndarray, np.generic): _Reading.array,
    types.FunctionType: _Reading.function,
    types.MethodType: _Reading.bound,
    (types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType): (
        _Reading.builtin
    ),
    (
        classmethod,
        staticmethod,
        property,
        functools.cached_property,
        functools._lru_cache_wrapper,
    ): (_Reading.wrapped),
    types.ModuleType: _Reading.module,
    Enum: _Reading.enum,
    PurePath: _Reading.path,
    type: _Reading.cls,
}
"""Type -> how its objects are read; anything else as a network, a tensor, or by its reduction."""
