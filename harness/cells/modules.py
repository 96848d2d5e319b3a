"""Modules as text: their definitions, and what a name refers to. No module is imported."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from harness.cells.syntax import Binder, Import, Reference, bound_name, called_name, essence

OURS = ("harness", "baselines")

Stamp = tuple[int, int] | None
"""Time and size of a file; None if it is not there."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a definition is: the name ``name`` of a module (``Class.member`` for a part of one)."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class External:
    """A definition that is not followed, by its full name, e.g. ``math.floor``."""

    name: str


Resolved = Place | External | None
"""What a name refers to; None for a built-in or unknown name, which the tree contains."""


@dataclass
class Module:
    """The text of a module, sorted by what it defines.

    Attributes:
        name: dotted.
        definitions: name -> the statements that make it.
        imports: name -> what was imported under it.
        effects: statements that bind no name and run when the module is imported.
    """

    name: str
    package: str
    tree: ast.Module
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def parse(cls, name: str, package: str, tree: ast.Module) -> Module:
        """Sort the statements of a module."""
        module = cls(name, package, tree)
        for statement in tree.body:
            module._sort(statement)
        return module

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Classes by their names."""
        return {
            name: statement
            for name, statements in self.definitions.items()
            for statement in statements
            if isinstance(statement, ast.ClassDef)
        }

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.If) and called_name(statement.test) == "TYPE_CHECKING":
            for each in statement.orelse:
                self._sort(each)
            return
        if _is_inert(statement):
            return
        binder = Binder(self.package)
        binder.visit(statement)
        self.imports |= binder.imported
        names = binder.bound or _roots(statement) & self.definitions.keys()
        for name in names - {"__all__"}:
            self.definitions.setdefault(name, []).append(statement)
        if not names and not binder.imported:
            self.effects.append(statement)


def _is_inert(statement: ast.stmt) -> bool:
    """Whether a statement does nothing for whoever imports the module."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.If) and "__main__" in ast.dump(statement.test)


def _roots(statement: ast.stmt) -> set[str]:
    """Names whose objects a statement changes: ``X`` of ``X["key"] = value`` or ``X.append(1)``."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AugAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        targets = [statement.value.func]
    roots = set()
    for target in targets:
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            roots.add(target.id)
    return roots


# -------------------------------------------------------------------------------- finding modules


@cache
def spec_of(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages above it.

    ``importlib.util.find_spec`` would import them, and torch with them.
    """
    package = name.rpartition(".")[0]
    try:
        if not package:
            return importlib.util.find_spec(name)
        above = spec_of(package)
        if above is None or above.submodule_search_locations is None:
            return None
        return PathFinder.find_spec(name, above.submodule_search_locations)
    except ValueError:  # a module that was made by hand has no spec
        return None


_read: dict[str, Module | None] = {}
"""Modules that were read, by name."""

_stamps: dict[str, tuple[Path, Stamp]] = {}
"""Files of users' modules among them, as they were when they were read."""


def load(name: str) -> Module | None:
    """The text of a module; None where there is none."""
    if name not in _read:
        _read[name] = _parsed(name)
    return _read[name]


def _parsed(name: str) -> Module | None:
    spec = spec_of(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    package = name if spec.submodule_search_locations else name.rpartition(".")[0]
    path = Path(spec.origin)
    top = name.partition(".")[0]
    if top not in OURS and is_loose(top):
        _stamps[name] = path, _stamp(path)
    return Module.parse(name, package, ast.parse(path.read_bytes()))


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def forget() -> None:
    """Read every module again: for whoever changes files while a process runs."""
    _read.clear()
    _stamps.clear()
    _forget_places()


def forget_edited() -> bool:
    """Read users' modules again that were edited, as in a long session; say if any were.

    Workers import those anew. Modules of this package stay as the process has imported them.
    """
    edited = [name for name, (path, before) in _stamps.items() if _stamp(path) != before]
    for name in edited:
        del _read[name], _stamps[name]
    if edited:
        _forget_places()
    return bool(edited)


def _forget_places() -> None:
    for cached in (spec_of, is_loose, statements):
        cached.cache_clear()


@cache
def is_loose(top: str) -> bool:
    """Whether a top-level module is the user's own file: neither installed nor Python's."""
    spec = spec_of(top)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return False
    origin = Path(spec.origin)
    # sysconfig does not list the site-packages of a user or of a parent environment.
    if {"site-packages", "dist-packages"} & {*origin.parts}:
        return False
    installed = {
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    return not any(map(origin.is_relative_to, installed))


def is_followed(name: str, package: str) -> bool:
    """Whether a module is followed: ours, those of the plugin's own package, and loose files.

    Args:
        package: the top-level package of the entry that is followed.
    """
    top = name.partition(".")[0]
    return (top in (*OURS, package) or is_loose(top)) and spec_of(name) is not None


# -------------------------------------------------------------------------------- resolving names


def resolve(module: Module, reference: Reference, package: str) -> Resolved:
    """Resolve a reference in a module."""
    if reference.imported is not None:
        return _imported(reference.imported, reference.attributes, package)
    if reference.name in module.definitions:
        return Place(module.name, reference.name)
    if reference.name in module.imports:
        return _imported(module.imports[reference.name], reference.attributes, package)
    return None


def place_of(name: str) -> Place | None:
    """Where ``package.module:name`` is defined; None if it is not found, or in installed packages.

    These are not followed: their release is known.
    """
    module, _, attribute = name.partition(":")
    resolved = _imported(Import(module, attribute), (), "")
    return resolved if isinstance(resolved, Place) else None


def _imported(target: Import, attributes: tuple[str, ...], package: str) -> Resolved:
    full = target.module if target.attribute is None else f"{target.module}.{target.attribute}"
    if not is_followed(target.module, package):
        return External(".".join([full, *attributes[:1]]) if target.attribute is None else full)
    if target.attribute is not None:
        owner = load(target.module)
        if owner is not None and target.attribute in owner.definitions:
            return Place(owner.name, target.attribute)
        if owner is not None and target.attribute in owner.imports:
            return _imported(owner.imports[target.attribute], attributes, package)
        if spec_of(full) is None:
            return External(full)
    if not attributes:
        return External(full)
    return _of_module(full, attributes, package)


def _of_module(full: str, attributes: tuple[str, ...], package: str) -> Resolved:
    """Resolve the first of the attributes that are read from a module."""
    inner = load(full)
    if inner is None:
        return External(".".join([full, attributes[0]]))
    if attributes[0] in inner.definitions:
        return Place(full, attributes[0])
    if attributes[0] in inner.imports:
        return _imported(inner.imports[attributes[0]], attributes[1:], package)
    return _imported(Import(f"{full}.{attributes[0]}"), attributes[1:], package)


def dotted(expression: ast.expr) -> Reference | None:
    """An expression like ``a.b.c`` as a reference; None for any other expression."""
    attributes: list[str] = []
    while isinstance(expression, ast.Subscript):  # Generic[T]
        expression = expression.value
    while isinstance(expression, ast.Attribute):
        attributes.insert(0, expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return None
    return Reference(expression.id, tuple(attributes))


def bases(place: Place, package: str) -> list[Place]:
    """The classes that a class derives from, as far as they are followed, nearest first."""
    module = load(place.module)
    node = module and module.classes.get(place.name)
    found: list[Place] = []
    if module is None or node is None:
        return found
    assert isinstance(node, ast.ClassDef)
    for base in node.bases:
        reference = dotted(base)
        resolved = reference and resolve(module, reference, package)
        if isinstance(resolved, Place):
            found += [resolved, *bases(resolved, package)]
    return list(dict.fromkeys(found))


def is_config(module: Module, node: ast.ClassDef, package: str) -> bool:
    """Whether a class is a pydantic model or a typed dict, whose annotations are code."""
    assert isinstance(node, ast.ClassDef)
    for base in node.bases:
        reference = dotted(base)
        if reference is None:
            continue
        last = [reference.name, *reference.attributes][-1]
        if last.endswith("Config") or last in ("BaseModel", "RootModel", "TypedDict"):
            return True
        resolved = resolve(module, reference, package)
        if isinstance(resolved, Place) and (owner := load(resolved.module)):
            above = owner.classes.get(resolved.name)
            if above is not None and is_config(owner, above, package):
                return True
    return False


@cache
def statements(place: Place, package: str) -> list[ast.stmt]:
    """The statements of a definition that can change a result; empty if it has no text."""
    module = load(place.module)
    if module is None:
        return []
    name, _, member = place.name.partition(".")
    if not member:

        def is_model(node: ast.ClassDef) -> bool:
            return is_config(module, node, package)

        return [essence(each, is_model) for each in module.definitions.get(name, [])]
    whole = statements(Place(place.module, name), package)
    node = next((each for each in whole if isinstance(each, ast.ClassDef)), None)
    return [each for each in node.body if bound_name(each) == member] if node else []
