"""Versions of code: one hash over every definition that can change a result.

A cell has entries: the class of its learner, the ``measure`` of its protocol, and so on. From them
every definition that can be reached by name is followed: functions, classes with their bases and
methods, and constants, in any file. Each is hashed without the parts that only people read
(``harness.cells.syntax``), and the version is a hash of the sorted hashes. Names of files and
modules are left out, so moving a definition changes nothing.

Attribute calls on objects that are passed in (``data.split()``) are not followed: the text does not
say of which class the object is. The classes that every cell passes around are therefore entries of
their own (``CARRIERS``), and classes that a config names are found in the registry. The rest is
covered by the exact check of ``suites/ci.yaml`` in CI.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from harness.cells import modules
from harness.cells.modules import External, Place, bases, load, resolve, statements
from harness.cells.syntax import Reference, dump, references
from harness.errors import HarnessError

CARRIERS = (
    "harness.data.base:Images",
    "harness.data.base:Loaded",
    "harness.learning.learner:TrainingLog",
    "harness.rng:Rng",
)
"""Classes whose objects every cell passes around; their methods are only reached by attribute."""

NEUTRAL = (
    "harness.cells.cell",
    "harness.cells.code",
    "harness.cells.entries",
    "harness.cells.plan",
    "harness.data.acquire",
    "harness.data.cache",
    "harness.data.download",
    "harness.environment",
    "harness.errors",
    "harness.execute",
    "harness.files",
    "harness.imports",
    "harness.lazy",
    "harness.records",
    "harness.registry",
    "harness.storage",
)
"""Modules and rooms that find, name, carry or store things.

A cell's key covers what they return by other means (the content of data, the identity of a cell),
so their code is left out."""

Versions = dict[str, str]
"""``module:name`` of a definition -> hash of it."""


@cache
def version(entries: tuple[str, ...]) -> str:
    """One hash over all definitions that are reached from some entries, each ``module:name``."""
    hashes = sorted(set(definitions(entries).values()))
    return _digest("\n".join(hashes))


@cache
def definitions(entries: tuple[str, ...]) -> Versions:
    """Every definition that is reached from some entries, with its hash, in order of name.

    Args:
        entries: ``module:name``, or ``module:Class.member`` for one member of a class together with
            the members of the class and its bases that it uses.
    """
    found: Versions = {}
    for entry in entries:
        found |= _reached(entry)
    return dict(sorted(found.items()))


@cache
def _reached(entry: str) -> Versions:
    module, _, name = entry.partition(":")
    package = module.partition(".")[0]
    owner, _, member = name.partition(".")
    waiting = [Place(module, name)]
    if member:
        waiting = _members(Place(module, owner), member, package)
    if not any(statements(place, package) for place in waiting):
        raise HarnessError(
            f"cannot tell the version of the code of {entry}: its source is not found",
            hint="define it in a module file, at the top level",
        )
    found: dict[Place, str] = {}
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        definition = _definition(place, package)
        found[place] = definition.hash
        waiting += [other for other in definition.places if not _is_neutral(other.module)]
        if "." in place.name:
            for used in definition.own_members:
                waiting += _members(Place(module, owner), used, package)
    return {str(place): digest for place, digest in found.items()}


def _members(owner: Place, member: str, package: str) -> list[Place]:
    """A member in a class and in every class that it derives from: any of them may be called."""
    lines = [owner, *bases(owner, package)]
    places = [Place(each.module, f"{each.name}.{member}") for each in lines]
    return [place for place in places if statements(place, package)]


def _is_neutral(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in NEUTRAL)


@dataclass(frozen=True)
class _Parsed:
    """A definition as text: its syntax trees without imports, and the free names in them."""

    text: str
    references: tuple[Reference, ...]


@cache
def _parsed(place: Place, package: str) -> _Parsed:
    module = load(place.module)
    if module is None:
        return _Parsed("", ())
    # What a module runs on import counts for everything that is taken from it.
    every = [*statements(place, package), *module.effects]
    names: list[Reference] = []
    for statement in every:
        names += references(statement, module.package)
    return _Parsed("\n".join(map(dump, every)), tuple(dict.fromkeys(names)))


@dataclass(frozen=True)
class _Definition:
    """A definition, its names resolved.

    Attributes:
        hash: of its own text and of what each of its names stands for.
        places: definitions that it refers to.
        own_members: names that it looks up on ``self``, ``cls`` or ``super()``.
    """

    hash: str
    places: tuple[Place, ...]
    own_members: tuple[str, ...]


@cache
def _definition(place: Place, package: str) -> _Definition:
    module = load(place.module)
    parsed = _parsed(place, package)
    places: list[Place] = []
    own_members: list[str] = []
    meanings: set[str] = set()
    for reference in parsed.references:
        if reference.name in ("self", "cls", "super"):
            own_members += reference.attributes[:1]
            continue
        resolved = None if module is None else resolve(module, reference, package)
        if isinstance(resolved, Place):
            places.append(resolved)
            meanings.add(f"{reference.name}={_own_hash(resolved, package)}")
        elif isinstance(resolved, External):
            meanings.add(f"{reference.name}={_external_name(resolved)}")
    text = "\n".join([parsed.text, *sorted(meanings)])
    return _Definition(_digest(text), tuple(places), tuple(dict.fromkeys(own_members)))


def _own_hash(place: Place, package: str) -> str:
    """Hash of a definition's text alone: distinguishes two definitions of the same name."""
    if _is_neutral(place.module):
        return place.name
    return _digest(_parsed(place, package).text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _external_name(external: External) -> str:
    """Its name without our own modules' paths, which say only where something is."""
    top, _, rest = external.name.partition(".")
    return external.name.rpartition(".")[2] if top in ("harness", "baselines") else f"{top}.{rest}"


def changed(before: Versions, after: Versions) -> list[str]:
    """The definitions that one set has and the other has not, in words; moves are no changes.

    >>> changed({"a:f": "1", "a:g": "2"}, {"b:f": "1", "a:g": "3", "a:h": "4"})
    ['a:g changed', 'a:h new']
    """
    lost = {name for name, digest in before.items() if digest not in after.values()}
    new = {name for name, digest in after.items() if digest not in before.values()}
    words = [f"{name} changed" for name in sorted(lost & new)]
    words += [f"{name} new" for name in sorted(new - lost)]
    words += [f"{name} gone" for name in sorted(lost - new)]
    return words


def entry_of(cls: type) -> str:
    """A class as an entry."""
    return f"{cls.__module__}:{cls.__qualname__}"


def forget() -> None:
    """Read all code again: for tests that edit files while the process runs."""
    modules.forget()
    _forget_versions()


def forget_edited() -> None:
    """Read the code of users again that they have edited since it was read."""
    if modules.forget_edited():
        _forget_versions()


def _forget_versions() -> None:
    for cached in (version, definitions, _reached, _definition, _parsed):
        cached.cache_clear()
