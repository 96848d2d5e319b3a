"""YAML that remembers the place of every value, so that later errors name file, line and column.

The dialect is YAML with the scalars of the 1.2 core schema: ``1e-4`` is a number, ``no`` and ``on``
are words. Duplicate keys are errors.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SuiteError

Path_ = tuple[str | int, ...]

LARGEST = 10**15
"""Largest integer."""

MAX_BYTES = 4 * 2**20
"""Largest file."""

MAX_NODES = 100_000
"""Most values of a file: aliases of aliases can expand a small file to gigabytes."""


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def folder(self) -> Path:
        """The folder of the file; the working directory for what comes from the command line."""
        return Path(self.file).parent if self.line else Path()


@dataclass
class Source:
    """Plain values with their places.

    Attributes:
        value: The values, nested dicts and lists.
        values: Path -> mark of the value.
        keys: Path -> mark of the key.
    """

    value: Any = None
    values: dict[Path_, Mark] = field(default_factory=dict)
    keys: dict[Path_, Mark] = field(default_factory=dict)

    def where(self, path: Path_, *, key: bool = False) -> Mark:
        """Find the mark of a value, or of the nearest value above it that has one.

        Args:
            path: of the value.
            key: prefer the mark of its key.
        """
        if key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, Mark("suite", 0, 0))

    def get(self, path: Path_) -> Any:
        """The value at ``path``; None if there is none."""
        value = self.value
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def sub(self, path: Path_) -> Source:
        """The part at ``path``, as a source of its own."""
        return Source(self.get(path), _below(self.values, path), _below(self.keys, path))


def _below(marks: dict[Path_, Mark], path: Path_) -> dict[Path_, Mark]:
    """The marks at and below ``path``, by the rest of their paths."""
    cut = len(path)
    return {place[cut:]: mark for place, mark in marks.items() if place[:cut] == path}


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
]:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def _scalar(node: yaml.ScalarNode, mark: Mark) -> Any:
    """A word, number, truth value or None."""
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return _integer(text, mark)
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise SuiteError(f"cannot read {text[:40]!r} as a {kind}", where=str(mark)) from error
    raise _tag_error(node, mark)


def plain_scalar(text: str, mark: Mark) -> Any:
    """Read a text as a scalar without quotes: a word, number, truth value or None.

    >>> plain_scalar("5", Mark("suite", 1, 1)), plain_scalar("no", Mark("suite", 1, 1))
    (5, 'no')
    """
    tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))
    return _scalar(yaml.ScalarNode(tag, text), mark)


def _integer(text: str, mark: Mark) -> int:
    has_prefix = text[:2] in ("0o", "0x")
    number = int(text, 0) if has_prefix else int(text)
    if abs(number) > LARGEST:
        raise SuiteError("a number too large", where=str(mark), hint=f"at most {LARGEST:,}")
    return number


def _tag_error(node: yaml.Node, mark: Mark) -> SuiteError:
    hint = "a suite holds plain values only"
    return SuiteError(f"tag {node.tag!r} is not allowed", where=str(mark), hint=hint)


class _Reader:
    """Turns a node tree into plain values while noting marks."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.source = Source()
        self.count = 0
        self.open: set[int] = set()  # ids of the nodes that are being read

    def read(self, node: yaml.Node, path: Path_) -> Any:
        mark = self._mark(node)
        self.source.values[path] = mark
        self.count += 1
        if self.count > MAX_NODES:
            raise SuiteError(
                f"over {MAX_NODES:,} values", where=str(mark), hint="aliases multiply; write fewer"
            )
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, mark)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            raise _tag_error(node, mark)
        if id(node) in self.open:
            raise SuiteError(
                "an alias that contains itself", where=str(mark), hint="write the value out"
            )
        self.open.add(id(node))
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        else:
            value = self._mapping(node, path)
        self.open.discard(id(node))
        return value

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _mapping(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            mark = self._mark(key_node)
            key = _scalar(key_node, mark) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise SuiteError(
                    "a key must be a word",
                    where=str(mark),
                    hint="quote it if it looks like a number; decimals have a point, no comma",
                )
            if key == "<<":
                raise SuiteError(
                    "merge keys (<<) are not supported",
                    where=str(mark),
                    hint="write shared keys once under `defaults`, or repeat them",
                )
            if key in result:
                raise SuiteError(f"duplicate key {key!r}", where=str(mark), hint="keep one of them")
            self.source.keys[(*path, key)] = mark
            result[key] = self.read(child, (*path, key))
        return result


def parse(text: str, file: str) -> Source:
    """Read one YAML document.

    Raises:
        SuiteError: invalid YAML or a value that is not plain, with file:line:column.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file, 1, 1)
        context = f" {error.context}" if error.context else ""
        raise SuiteError(
            f"not YAML: {error.problem}{context}", where=str(where), hint=_advice(text, error)
        ) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        character = f"#x{ord(text[error.position]):04x}"
        raise SuiteError(
            f"not YAML: character {character} is not allowed", where=str(where)
        ) from None
    except RecursionError:
        raise SuiteError(
            "not YAML that can be read: nested too deeply", where=f"{file}:1:1"
        ) from None
    if node is None:
        raise SuiteError(
            "the file is empty",
            where=f"{file}:1:1",
            hint="a suite needs at least name, learners and protocols",
        )
    reader = _Reader(file)
    try:
        reader.source.value = reader.read(node, ())
    except RecursionError:
        raise SuiteError("nested too deeply", where=f"{file}:1:1") from None
    return reader.source


def _advice(text: str, error: yaml.MarkedYAMLError) -> str | None:
    """What to do about frequent mistakes."""
    problem = str(error.problem)
    mark = error.problem_mark
    line = (text.splitlines() or [""])[mark.line : mark.line + 1] if mark else []
    if "\\t" in problem:
        return "indent with spaces, not with tabs"
    if "another document" in problem:
        return "write one suite to a file"
    if line and "${" in line[0]:
        return 'quote what has braces, e.g. "${NAME}/images"'
    return None


def _closest_file(path: Path) -> str | None:
    """Ask whether a suite of a similar name, in the same folder, was meant."""
    suites = [file.name for file in path.parent.glob("*.y*ml")]
    closest = difflib.get_close_matches(path.name, suites, n=1, cutoff=0.75)
    return f"did you mean {path.with_name(closest[0])}?" if closest else None


def read(path: Path) -> Source:
    """Read one YAML file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SuiteError(
            f"cannot read it: {error.strerror}",
            where=str(path),
            hint=(isinstance(error, FileNotFoundError) and _closest_file(path))
            or "give the path of a suite file, or a name that `harness list suites` shows",
        ) from None
    if len(raw) > MAX_BYTES:
        raise SuiteError(
            f"larger than {MAX_BYTES >> 20} MiB",
            where=str(path),
            hint="give the path of a suite file",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        where = Mark(str(path), before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise SuiteError(
            "not UTF-8 text", where=str(where), hint="save the file as UTF-8"
        ) from None
    return parse(text, str(path))


def merge(under: Source, over: Source) -> Source:
    """Lay ``over`` over ``under``: mappings merge key by key, everything else is replaced."""
    laying = _Laying()
    value = laying.lay(under.value, over.value, ())
    values = laying.kept(under.values) | over.values
    keys = laying.kept(under.keys) | over.keys
    for path in laying.merged:
        values[path] = over.where(path)
    for path in laying.named:
        keys[path] = over.where(path, key=True)
    return Source(value, values, keys)


class _Laying:
    """One merge: which mappings were merged, which keys were named, and what was replaced."""

    def __init__(self) -> None:
        self.merged: list[Path_] = []
        self.named: list[Path_] = []
        self.replaced: set[Path_] = set()

    def lay(self, under: Any, over: Any, path: Path_) -> Any:
        """The value at ``path``."""
        if not (isinstance(under, dict) and isinstance(over, dict)):
            self.replaced.add(path)
            return over
        self.merged.append(path)
        result = dict(under)
        for key, value in over.items():
            below = (*path, key)
            self.named.append(below)
            result[key] = self.lay(under.get(key), value, below)
        return result

    def kept(self, marks: dict[Path_, Mark]) -> dict[Path_, Mark]:
        """The marks of ``under`` that are not inside a replaced value."""
        return {path: mark for path, mark in marks.items() if not self._is_inside(path)}

    def _is_inside(self, path: Path_) -> bool:
        return any(path[:cut] in self.replaced for cut in range(len(path)))
