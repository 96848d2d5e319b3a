"""Registries: what a suite can name. One file adds one entry.

Built-in entries are modules of the packages listed at the end of this file; each calls
``@<registry>.register(name)``. Other packages register through an entry point (group
``harness.learners``, ``harness.datasets`` and so on), or are named in YAML as
``package.module:Class``.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import HarnessError, did_you_mean

Entry = TypeVar("Entry", bound=type)


class Config(BaseModel):
    """Base of every config model: frozen, strict about types, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def later_key(default: Any, **about: Any) -> Any:
    """A key of a ``Config`` that was added after results had been published.

    A config that leaves it at its default is written without it, as before: finished cells keep
    their identity. It must then change nothing.

    Args:
        default: Its default.
        **about: As ``pydantic.Field`` takes it.
    """
    return Field(default, exclude_if=lambda value: value == default, **about)


FAMILIES = {
    "excitatory rules": "excitatory layers with few active units: the rules under test",
    "Hebbian": "features by local correlation, without labels",
    "predictive coding": "activities settle on prediction errors before weights learn",
    "energy-based": "networks that relax to a minimum of an energy",
    "error signals": "errors that reach hidden layers by other paths than backpropagation",
    "local losses": "a loss of its own for every layer",
    "spikes": "spiking neurons",
    "sparse codes": "codes in which few units are active",
    "memories": "stored patterns and sparse associative memories",
    "backprop": "errors carried down by backpropagation",
    "few-shot": "learning to learn from few examples",
    "trained elsewhere": "networks that come with their weights",
    "controls": "what can be reached without learning features",
    "other": "not among the learners that are installed here",
}
"""Families of learners, in the order of lists and boards."""

OTHER = "other"
"""Family of a learner that names none."""

_may_import = ContextVar("_may_import", default=True)


@contextlib.contextmanager
def without_plugins() -> Iterator[None]:
    """Refuse ``package.module:Class`` within the block: nothing is imported that a suite names."""
    token = _may_import.set(False)
    try:
        yield
    finally:
        _may_import.reset(token)


def may_import() -> bool:
    """Whether code that a suite names may run; see ``without_plugins``."""
    return _may_import.get()


class Registry:
    """A mapping from names to classes, filled on first use.

    Each class has a nested ``Config``; the first line of its docstring is its description.

    Args:
        what: What an entry is, in a word, e.g. ``"learner"``.
        base: ``module:Class`` that every entry is a subclass of.
        packages: Packages whose modules are the built-in entries.
        plural: Of ``what``, if that does not end in s.

    Attributes:
        at_hand: Classes that only this process has, by kind (``harness.learning.at_hand``).
    """

    def __init__(self, what: str, base: str, *packages: str, plural: str = "") -> None:
        self.what = what
        self.plural = plural or f"{what}s"
        self.base = base
        self.packages = packages
        self._entries: dict[str, Any] = {}
        self._families: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._scanned = False
        self.at_hand: dict[str, Any] = {}

    def register(self, name: str, *, family: str = OTHER) -> Callable[[Entry], Entry]:
        """Return a class decorator that adds the class under ``name``.

        Args:
            name: What a suite calls it.
            family: Of a learner, one of ``FAMILIES``. It groups lists and boards, and is no part of
                the code that keys are made of.

        Raises:
            HarnessError: Another class already has this name, or there is no such family.
        """
        if family not in FAMILIES:
            raise HarnessError(
                f"unknown family {family!r} of {self.what} {name!r}",
                hint=did_you_mean(family, FAMILIES),
            )

        def add(cls: Entry) -> Entry:
            other = self._entries.get(name)
            if other is not None and other.__qualname__ != cls.__qualname__:
                raise HarnessError(f"two {self.plural} are called {name!r}: {other} and {cls}")
            cls.kind = name  # type: ignore[attr-defined]  # every base class declares ``kind``
            self._entries[name] = cls
            if family != OTHER:  # an entry point registers again what its module has registered
                self._families[name] = family
            return cls

        return add

    def _scan(self) -> None:
        """Import all modules that may register an entry, once."""
        if self._scanned:
            return
        self._scanned = True  # set first: the imported modules may use this registry themselves
        for name in self.packages:
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
        for point in entry_points(group=f"harness.{self.plural}"):
            try:
                self.register(point.name)(self._checked(point.value, point.load()))
            # A broken package of a third party must not break everything else.
            except BaseException as error:
                _pass_interrupt(error)
                self._broken[point.name] = f"{point.value}: {_first_line(error)}"

    @property
    def broken(self) -> dict[str, str]:
        """Names of entry points that could not be loaded, each with the reason."""
        self._scan()
        return dict(self._broken)

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        self._scan()
        return name in self._entries

    def family(self, name: str) -> str:
        """Return the family of an entry; ``"other"`` if it has none. Nothing is imported for it."""
        self._scan()
        return self._families.get(name, OTHER)

    def has(self, name: str, cls: type) -> bool:
        """Whether a class is the entry of this name."""
        self._scan()
        return self._entries.get(name) is cls

    def __getitem__(self, name: str) -> Any:
        """Return the class registered as ``name``, or the one at ``package.module:Class``.

        Raises:
            HarnessError: No such entry, or it cannot be loaded.
        """
        if name in self.at_hand:
            return self.at_hand[name]
        self._scan()
        if name in self._entries:
            return self._entries[name]
        if name in self._broken:
            raise HarnessError(
                f"cannot load {self.what} {name!r}: {self._broken[name]}",
                hint="fix or uninstall the package that provides it",
            )
        if ":" in name:
            return self._external(name)
        raise HarnessError(f"unknown {self.what} {name!r}", hint=did_you_mean(name, self))

    def add_at_hand(self, kind: str, cls: Any) -> None:
        """Add a class that cannot be imported; it is not listed.

        Raises:
            HarnessError: It cannot be an entry of this registry.
        """
        self.at_hand[kind] = self._checked(cls.__qualname__, cls)
        cls.kind = kind

    def _external(self, name: str) -> Any:
        """Load ``package.module:Class``."""
        if not may_import():
            raise HarnessError(
                f"{self.what} {name!r} is a plugin, and plugins are not imported",
                hint="read its code; to import it, leave out --no-plugins",
            )
        module, _, attribute = name.partition(":")
        if module == "__main__":
            raise HarnessError(
                f"cannot load {self.what} {name!r}: workers cannot import a script",
                hint=f"in Python, give the class itself: kind: {attribute}; or move it to a file "
                f"of its own, such as mine.py: mine:{attribute}",
            )
        try:
            cls = _load(name)
        # Importing a third party's module may raise anything.
        except BaseException as error:
            _pass_interrupt(error)
            raise HarnessError(
                f"cannot load {self.what} {name!r}: {_first_line(error)}",
                hint="write package.module:Class; the module is installed, or beside the suite "
                "under a name that no other module has",
            ) from error
        entry = self._checked(name, cls)
        entry.kind = name
        return entry

    def _checked(self, name: str, cls: Any) -> Any:
        """Return ``cls`` if it can be an entry of this registry, else raise."""
        config = getattr(cls, "Config", None)
        has_config = isinstance(config, type) and issubclass(config, BaseModel)
        if has_config and isinstance(cls, type) and issubclass(cls, _load(self.base)):
            return cls
        raise HarnessError(
            f"{name!r} is not a valid {self.what}",
            hint=f"it must be a subclass of {self.base.replace(':', '.')} with a nested Config",
        )

    def describe(self, name: str) -> str:
        """Return the first line of an entry's docstring."""
        docstring = self[name].__doc__ or ""
        return str(docstring).strip().partition("\n")[0]


def _load(name: str) -> Any:
    """Import the object at ``module:attribute``."""
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(module_name)
    if not hasattr(module, attribute):
        # A file beside the suite may have the name of an installed module, which comes first.
        file = getattr(module, "__file__", None) or "which is part of Python"
        raise AttributeError(f"module {module_name!r} ({file}) has no {attribute!r}")
    return getattr(module, attribute)


def _pass_interrupt(error: BaseException) -> None:
    """Raise Ctrl-C again; everything else that an import raises is its own fault."""
    if isinstance(error, KeyboardInterrupt):
        raise error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def distinct(values: list[Any] | None) -> list[Any] | None:
    """Check that no value of a list repeats; for use as a pydantic validator.

    >>> distinct([1, 2])
    [1, 2]
    >>> distinct([1, 2, 1])
    Traceback (most recent call last):
    ValueError: duplicate value 1
    """
    if values is None:
        return None
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"duplicate value {value!r}")
    return values


learners = Registry("learner", "harness.learning.learner:Learner", "harness.rules", "baselines")
bodies = Registry("body", "harness.learning.body:Body", "harness.bodies", plural="bodies")
fronts = Registry("front", "harness.fronts.base:Front", "harness.fronts")
datasets = Registry("dataset", "harness.data.base:Dataset", "harness.data")
attacks = Registry("attack", "harness.attacks.base:Attack", "harness.attacks")
checks = Registry("check", "harness.attacks.trust.base:Check", "harness.attacks.trust")
protocols = Registry("protocol", "harness.protocols.base:Protocol", "harness.protocols")
