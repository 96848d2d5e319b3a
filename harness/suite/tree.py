"""A suite file as one tree, with what it extends, its overrides and its defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel

from harness.errors import SuiteError, did_you_mean
from harness.registry import Registry, learners, protocols
from harness.suite import marked_yaml, override, shipped, variables
from harness.suite.from_python import source_of
from harness.suite.marked_yaml import Source

SECTIONS: dict[str, Registry] = {"learners": learners, "protocols": protocols}
"""Keys of a suite that hold named entries, and the registry of their kinds."""

DEEPEST = 20
"""Most files between a suite and the last that it extends."""

MOST_MERGES = 100
"""Most names in all lists of ``extends`` together."""


def resolved(
    suite: Path | Mapping[str, Any], sets: Sequence[str] = (), *, environment: bool = True
) -> Source:
    """A suite with everything it extends, its overrides and its defaults; not yet checked.

    Args:
        suite: the YAML file, or a mapping.
        sets: overrides, ``key.key=value``.
        environment: whether ``${NAME}`` is replaced; never in a suite of others, which could read
            secrets that way.

    Raises:
        SuiteError: a file that cannot be read, or a faulty ``extends``, override or ``defaults``.
    """
    tree = read_tree(suite)
    for assignment in sets:
        tree = override.apply(tree, assignment)
    if environment:
        tree = variables.replaced(tree)
    return apply_defaults(tree)


# ---------------------------------------------------------------------------------------- extends


def read_tree(suite: Path | Mapping[str, Any]) -> Source:
    """A suite laid over the files that it extends.

    Args:
        suite: the file, or the name of a shipped suite; or a mapping, which names files relative to
            the current folder.
    """
    if isinstance(suite, Mapping):
        return _Reading().extended(source_of(suite), Path(), ())
    return _Reading().tree(shipped.locate(suite), ())


class _Reading:
    """Reads a suite and the files that it extends, each of them once however often it is named."""

    def __init__(self) -> None:
        self._trees: dict[Path, Source] = {}
        self._merges = 0

    def tree(self, path: Path, above: tuple[Path, ...]) -> Source:
        """A file laid over the files that it extends.

        Args:
            path: of the file.
            above: the files that lead to this one.
        """
        file = path.resolve()
        if file not in self._trees:
            tree = marked_yaml.read(path)
            self._trees[file] = self.extended(tree, path.parent, (*above, file))
        return self._trees[file]

    def extended(self, tree: Source, folder: Path, here: tuple[Path, ...]) -> Source:
        """A suite laid over the files that it extends.

        Args:
            tree: the suite.
            folder: which those files are relative to.
            here: the files that lead to it, and its own.
        """
        if not isinstance(tree.value, dict):
            raise SuiteError(
                "a suite is a mapping of keys to values",
                where=str(tree.where(())),
                hint="start with `name: my-suite`",
            )
        if "extends" not in tree.value:
            return tree
        where = str(tree.where(("extends",)))
        under = Source({})
        for base in _bases(tree.value.pop("extends"), where):
            target = _base_file(folder, base, where)
            if target.resolve() in here:
                raise SuiteError(f"{base!r} extends itself", where=where, hint="remove the cycle")
            self._merges += 1
            if len(here) > DEEPEST or self._merges > MOST_MERGES:
                raise SuiteError(
                    "too many files extend one another",
                    where=where,
                    hint=f"at most {DEEPEST} one above the other, and {MOST_MERGES} in all",
                )
            under = marked_yaml.merge(under, self.tree(target, here))
        return marked_yaml.merge(under, tree)


def _bases(value: Any, where: str) -> list[str]:
    bases = [value] if isinstance(value, str) else value
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise SuiteError(
            "`extends` takes a path or a list of paths", where=where, hint="e.g. extends: base.yaml"
        )
    return bases


def _base_file(folder: Path, base: str, where: str) -> Path:
    target = folder / base
    if not _is_file(target):
        raise SuiteError(
            f"there is no file {base[:60]!r} to extend",
            where=where,
            hint=f"paths are relative to {folder}/",
        )
    return target


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL in it
        return False


# --------------------------------------------------------------------------------------- defaults


def apply_defaults(tree: Source) -> Source:
    """Lay entries over the ``defaults`` of their kinds, e.g. ``{learners: {mlp: {epochs: 9}}}``."""
    if not isinstance(tree.value, dict) or "defaults" not in tree.value:
        return tree
    defaults = tree.value["defaults"]
    where = ("defaults",)
    if not isinstance(defaults, dict):
        raise SuiteError(
            "`defaults` is a mapping",
            where=str(tree.where(where)),
            hint="e.g. defaults: {learners: {mlp: {hidden: 400}}}",
        )
    for section, registry in SECTIONS.items():
        kinds = defaults.get(section, {})
        if not isinstance(kinds, dict):
            place = str(tree.where((*where, section)))
            raise SuiteError(f"`defaults.{section}` maps kinds to keys", where=place)
        for kind in kinds:
            _check_default(tree, (*where, section, kind), kind, registry)
        _lay_under(tree, section, kinds)
    for key in defaults.keys() - SECTIONS.keys():
        raise SuiteError(
            f"unknown key {key!r}",
            where=str(tree.where((*where, key), key=True)),
            hint=did_you_mean(key, SECTIONS),
        )
    del tree.value["defaults"]
    return tree


def _check_default(
    tree: Source, path: tuple[str | int, ...], kind: str, registry: Registry
) -> None:
    if kind not in registry:
        raise SuiteError(
            f"unknown {registry.what} {kind!r}",
            where=str(tree.where(path, key=True)),
            hint=did_you_mean(kind, registry),
        )
    keys = tree.get(path)
    if not isinstance(keys, dict):
        raise SuiteError(f"defaults of {kind!r} are a mapping", where=str(tree.where(path)))
    allowed = registry[kind].Config.model_fields
    for key in keys:
        if key not in allowed and key not in _older_names(registry[kind].Config):
            raise SuiteError(
                f"unknown key {key!r}",
                where=str(tree.where((*path, key), key=True)),
                hint=did_you_mean(key, allowed),
            )


def _older_names(model: type[BaseModel]) -> Iterator[object]:
    """Names under which a config model still takes some of its keys."""
    for info in model.model_fields.values():
        if isinstance(info.validation_alias, AliasChoices):
            yield from info.validation_alias.choices


def _lay_under(tree: Source, section: str, kinds: dict[str, Any]) -> None:
    """Lay the defaults of some kinds under the entries of a section, in place."""
    entries = tree.value.get(section)
    if not isinstance(entries, dict):
        return
    for name, entry in list(entries.items()):
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            continue
        under = tree.sub(("defaults", section, kind))
        merged = marked_yaml.merge(under, tree.sub((section, name)))
        tree.value[section][name] = merged.value
        for path, mark in merged.values.items():
            tree.values[section, name, *path] = mark
        for path, mark in merged.keys.items():
            tree.keys[section, name, *path] = mark
