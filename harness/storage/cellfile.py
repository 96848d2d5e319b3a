"""The format of ``cell.json``: one JSON object that begins with its format, length and sha256.

``{"format":2,"bytes":N,"sha256":"...","files":{...},"result":{...}}``

The hash covers the format and the N bytes after the head, so any change is noticed before the
content is parsed. All later formats begin the same way. ``files`` holds the length and sha256 of
each file beside ``cell.json``.

Format 1 had no such head, no lengths in ``files``, and a hash of the result alone. It is still
read, and never rewritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from harness.storage import schema

CELL = "cell.json"
FORMAT = 2
_HEAD = re.compile(rb'\{"format":(\d{1,9}),"bytes":(\d{1,15}),"sha256":"([0-9a-f]{64})",')
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
CHANGED = "changed: its sha256 is not the recorded one"


_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _MemberShape(TypedDict):
    sha256: _Sha256
    bytes: Annotated[int, Field(ge=0)]


_FILES_1 = TypeAdapter(dict[str, _Sha256])
_FILES_2 = TypeAdapter(dict[str, _MemberShape])


class Damage(Exception):
    """A file is not what was written: truncated, changed or missing."""


class UnknownFormat(Exception):
    """A file was written by a newer release."""


@dataclass(frozen=True)
class Member:
    """What ``cell.json`` records of a file beside it.

    Attributes:
        sha256: of its content.
        length: in bytes; None in format 1, which did not record it.
    """

    sha256: str
    length: int | None

    def check(self, data: bytes) -> None:
        """Compare a content with what was recorded.

        Raises:
            Damage: it differs.
        """
        if self.length is not None:
            if len(data) < self.length:
                raise Damage(f"truncated: {len(data)} of {self.length} bytes")
            if len(data) > self.length:
                raise Damage("longer than written")
        if digest(data) != self.sha256:
            raise Damage(CHANGED)


@dataclass(frozen=True)
class CellFile:
    """The content of a valid ``cell.json``: a result and records of the files beside it."""

    result: dict[str, Any]
    files: dict[str, Member]


def is_safe_name(name: object) -> bool:
    """Report whether a key or file name from a store is safe to use in a path.

    >>> is_safe_name("weights.safetensors"), is_safe_name("../outside"), is_safe_name("..")
    (True, False, False)
    """
    return isinstance(name, str) and _FILE_NAME.fullmatch(name) is not None


def encode(result: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """Write ``cell.json``.

    Args:
        result: JSON-able.
        files: name -> content of each file beside it.
    """
    members = {name: {"bytes": len(data), "sha256": digest(data)} for name, data in files.items()}
    content = json.dumps({"files": members, "result": result}, separators=(",", ":"))
    body = content[1:].encode()  # its opening brace is the head's
    sha256 = _body_digest(FORMAT, body).encode()
    head = b'{"format":%d,"bytes":%d,"sha256":"%s",' % (FORMAT, len(body), sha256)
    return head + body


def decode(data: bytes) -> CellFile:
    """Read ``cell.json`` of this format or an older one.

    Raises:
        Damage: it is not what was written.
        UnknownFormat: it was written by a newer release.
    """
    head = _HEAD.match(data)
    if head is None:
        return _decode_format_1(data)
    number = int(head[1])
    length = int(head[2])
    body = data[head.end() :]
    if len(body) < length:
        raise Damage(f"truncated: {len(data)} of {head.end() + length} bytes")
    if len(body) > length or _body_digest(number, body) != head[3].decode():
        raise Damage(CHANGED)
    if number != FORMAT:
        raise UnknownFormat(f"format {number}; this release reads up to {FORMAT}")
    content = _parsed(b"{" + body)
    recorded = _members(content, _FILES_2)
    members = {name: Member(each["sha256"], each["bytes"]) for name, each in recorded.items()}
    return _cell_file(content, members)


def _decode_format_1(data: bytes) -> CellFile:
    if not data.rstrip().endswith(b"}"):
        raise Damage("truncated")
    content = _parsed(data)
    if not isinstance(content, dict) or "format" in content or "result" not in content:
        raise Damage("changed: its head is not valid")
    canonical = json.dumps(content["result"], sort_keys=True, separators=(",", ":"))
    if digest(canonical.encode()) != content.get("sha256"):
        raise Damage(CHANGED)
    hashes = _members(content, _FILES_1)
    return _cell_file(content, {name: Member(sha256, None) for name, sha256 in hashes.items()})


def _parsed(data: bytes) -> Any:
    try:
        return schema.parse(data)
    except schema.Odd as error:
        raise Damage(str(error)) from None


def _members(content: Any, shape: TypeAdapter) -> dict[str, Any]:
    """Return what is recorded of the files beside ``cell.json``.

    Names that would lead out of the cell's folder are refused: a store may come from anywhere.
    """
    if not isinstance(content, dict):
        raise Damage("not a JSON object")
    files = content.get("files")
    for name in files if isinstance(files, dict) else ():
        if not is_safe_name(name):
            raise Damage(f"it names a file {name!r}")
    try:
        members: dict[str, Any] = shape.validate_python(files, strict=True)
    except ValidationError:
        raise Damage("its list of files is malformed") from None
    return members


def _cell_file(content: dict[str, Any], members: dict[str, Member]) -> CellFile:
    try:
        return CellFile(schema.checked(content.get("result")), members)
    except schema.Odd as error:
        raise Damage(f"its result is malformed: {error}") from None


def _body_digest(number: int, body: bytes) -> str:
    sha256 = hashlib.sha256(b"%d\n" % number)
    sha256.update(body)
    return sha256.hexdigest()


def digest(data: bytes) -> str:
    """Return the sha256 of a content, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def cell_key(identity: dict[str, Any]) -> str:
    """Return the key of a cell: a hash of everything that can change its result.

    >>> cell_key({"role": "train", "seed": 0}) == cell_key({"seed": 0, "role": "train"})
    True
    """
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
