"""YAML that remembers where every value stood, so that an error anywhere later can name file, line and column.

The dialect is YAML with the 1.2 core scalars: ``1e-4`` is a number, ``no`` and ``on`` are words, a key may stand once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SuiteError

Path_ = tuple[str | int, ...]

LARGEST = 10**15
MAX_BYTES = 4 * 2**20
MAX_NODES = 100_000  # aliases of aliases can make a small file mean gigabytes


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
    """Plain values, and the mark of every value and of every key, by path."""

    value: Any = None
    values: dict[Path_, Mark] = field(default_factory=dict)
    keys: dict[Path_, Mark] = field(default_factory=dict)

    def where(self, path: Path_, *, key: bool = False) -> Mark:
        """Mark of the value at ``path`` (of its key, if asked), or of the nearest thing above it that has one."""
        if key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, Mark("suite", 0, 0))

    def get(self, path: Path_) -> Any:
        """The value at ``path``, None where there is none."""
        value = self.value
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def sub(self, path: Path_) -> Source:
        """What stands at ``path``, as a source of its own."""
        cut = len(path)

        def below(marks: dict[Path_, Mark]) -> dict[Path_, Mark]:
            return {key[cut:]: mark for key, mark in marks.items() if key[:cut] == path}

        return Source(self.get(path), below(self.values), below(self.keys))


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict = {}


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
    kind, text = node.tag.rpartition(":")[2], node.value
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if abs(number) > LARGEST:
                raise SuiteError("a number too large", where=str(mark), hint=f"at most {LARGEST:,}")
            return number
        if kind == "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise SuiteError(f"cannot read {text[:40]!r} as a {kind}", where=str(mark)) from error
    raise SuiteError(
        f"tag {node.tag!r} is not allowed", where=str(mark), hint="a suite holds plain values only"
    )


class _Reader:
    """Turns a node tree into plain values while noting marks."""

    def __init__(self, file: str):
        self.file, self.source, self.count, self.open = file, Source(), 0, set()

    def read(self, node: yaml.Node, path: Path_) -> Any:
        mark = Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
        self.source.values[path] = mark
        self.count += 1
        if self.count > MAX_NODES:
            raise SuiteError(
                f"over {MAX_NODES:,} values", where=str(mark), hint="aliases multiply; write fewer"
            )
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, mark)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            raise SuiteError(
                f"tag {node.tag!r} is not allowed",
                where=str(mark),
                hint="a suite holds plain values only",
            )
        if id(node) in self.open:
            raise SuiteError(
                "an alias that contains itself", where=str(mark), hint="write the value out"
            )
        self.open.add(id(node))
        value = (
            self.sequence(node, path)
            if isinstance(node, yaml.SequenceNode)
            else self.mapping(node, path)
        )
        self.open.discard(id(node))
        return value

    def sequence(self, node: yaml.SequenceNode, path: Path_) -> list:
        return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            mark = Mark(self.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = _scalar(key_node, mark) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise SuiteError(
                    "a key must be a word",
                    where=str(mark),
                    hint="quote it if it looks like a number",
                )
            if key in result:
                raise SuiteError(
                    f"key {key!r} stands twice", where=str(mark), hint="keep one of the two"
                )
            self.source.keys[(*path, key)] = mark
            result[key] = self.read(child, (*path, key))
        return result


def parse(text: str, file: str) -> Source:
    """Read one YAML document.

    Raises:
        SuiteError: with file:line:column, whatever is wrong with it.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Mark(file, mark.line + 1, mark.column + 1) if mark else Mark(file, 1, 1)
        context = f" {error.context}" if error.context else ""
        raise SuiteError(f"not YAML: {error.problem}{context}", where=str(where)) from None
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


def read(path: Path) -> Source:
    """Read one YAML file."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SuiteError(
            f"cannot read it: {error.strerror}",
            where=str(path),
            hint="give the path of a suite file, or a name that `harness list suites` shows",
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
    """``over`` on top of ``under``: mappings merge key by key, everything else is replaced."""
    merged = Source(None, dict(under.values), dict(under.keys))
    merged.value = _merge(under.value, over.value, (), merged, over)
    return merged


def _merge(under: Any, over: Any, path: Path_, merged: Source, source: Source) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        result = dict(under)
        for key, value in over.items():
            below = (*path, key)
            merged.keys[below] = source.keys.get(below, source.where(below))
            laid = (
                _merge(under[key], value, below, merged, source)
                if key in under
                else _take(value, below, merged, source)
            )
            result[key] = laid
        merged.values[path] = source.where(path)
        return result
    return _take(over, path, merged, source)


def _take(value: Any, path: Path_, merged: Source, source: Source) -> Any:
    cut = len(path)
    for marks, new in ((merged.values, source.values), (merged.keys, source.keys)):
        for old in [key for key in marks if key[:cut] == path and len(key) > cut]:
            del marks[old]
        marks.update(
            {
                key: mark
                for key, mark in new.items()
                if key[:cut] == path and (len(key) > cut or marks is merged.values)
            }
        )
    return value
