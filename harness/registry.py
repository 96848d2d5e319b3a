"""What can be named in a suite: learners, datasets, attacks, protocols. One file adds one entry.

Built-in entries are the modules of a package that call ``@<registry>.register(name)``. Third parties register through
an entry point (group ``harness.learners`` and so on) or are named in YAML as ``package.module:Class``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.errors import HarnessError, did_you_mean


class Config(BaseModel):
    """Base of every config model: frozen, strict about types, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Registry:
    """Names -> classes. A class has a ``Config`` and its docstring's first line is its description.

    Args:
        what: what an entry is, in a word.
        base: ``module:Class`` that every entry is a subclass of.
        packages: whose modules are the built-in entries.
    """

    def __init__(self, what: str, base: str, *packages: str):
        self.what, self.base, self.packages = what, base, packages
        self._entries: dict[str, type] = {}
        self._broken: dict[str, str] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator; a name can be taken once."""

        def add(cls: type) -> type:
            if name in self._entries and self._entries[name].__qualname__ != cls.__qualname__:
                raise HarnessError(
                    f"two {self.what}s are called {name!r}: {self._entries[name]} and {cls}"
                )
            cls.kind = name
            self._entries[name] = cls
            return cls

        return add

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True  # first, because the modules scanned may ask the registry themselves
        for package in map(importlib.import_module, self.packages):
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
        for point in entry_points(group=f"harness.{self.what}s"):
            try:
                self.register(point.name)(self._checked(point.value, point.load()))
            except (
                Exception,
                SystemExit,
            ) as error:  # somebody's broken package is no reason to do nothing at all
                self._broken[point.name] = f"{point.value}: {_first_line(error)}"

    @property
    def broken(self) -> dict[str, str]:
        """Entries of installed packages that could not be loaded, and why."""
        self._scan()
        return dict(self._broken)

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        self._scan()
        return name in self._entries

    def __getitem__(self, name: str) -> Any:
        """The class called ``name``, or found at ``package.module:Class``."""
        self._scan()
        if name in self._entries:
            return self._entries[name]
        if name in self._broken:
            raise HarnessError(
                f"cannot load {self.what} {name!r}: {self._broken[name]}",
                hint="mend it or uninstall the package that brings it",
            )
        if ":" in name:
            return self._external(name)
        raise HarnessError(f"unknown {self.what} {name!r}", hint=did_you_mean(name, self))

    def _external(self, name: str) -> type:
        try:
            cls = _named(name)
        except (
            Exception,
            SystemExit,
        ) as error:  # whatever a third party's module does when it is imported
            raise HarnessError(
                f"cannot load {self.what} {name!r}: {_first_line(error)}",
                hint="package.module:Class, of a module beside the suite or installed",
            ) from error
        self._checked(name, cls).kind = name
        return cls

    def _checked(self, name: str, cls: Any) -> type:
        """``cls``, if it can be an entry."""
        config = getattr(cls, "Config", None)
        if not (
            isinstance(cls, type)
            and issubclass(cls, _named(self.base))
            and isinstance(config, type)
            and issubclass(config, BaseModel)
        ):
            raise HarnessError(
                f"{name!r} is no {self.what}",
                hint=f"it must be a subclass of {self.base.replace(':', '.')} with a nested Config",
            )
        return cls

    def describe(self, name: str) -> str:
        """First line of the entry's docstring."""
        return (self[name].__doc__ or "").strip().partition("\n")[0]


def _named(name: str) -> Any:
    """The object at ``module:attribute``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def distinct(values: list[Any] | None) -> list[Any] | None:
    """A validator: no value of a list stands twice."""
    twice = [value for place, value in enumerate(values or []) if value in values[:place]]
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice")
    return values


learners = Registry("learner", "harness.learning.learner:Learner", "harness.rules", "baselines")
datasets = Registry("dataset", "harness.data.base:Dataset", "harness.data")
attacks = Registry("attack", "harness.attacks.base:Attack", "harness.attacks")
protocols = Registry("protocol", "harness.protocols.base:Protocol", "harness.protocols")
