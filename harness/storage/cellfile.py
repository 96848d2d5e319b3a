"""The format of ``cell.json``: one JSON object that begins with its format, its length and its own sha256.

``{"format":2,"bytes":N,"sha256":"...","files":{...},"result":{...}}``: the hash is of the format and of the N bytes behind the
head, so that whatever changes is noticed before anything is made of it; every later format begins so. ``files`` holds the length
and sha256 of each file beside it.

Format 1 had no such head, ``files`` without lengths, and a hash of the result alone; it is read as ever and never rewritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

CELL = "cell.json"
FORMAT = 2
_HEAD = re.compile(rb'\{"format":(\d{1,9}),"bytes":(\d{1,15}),"sha256":"([0-9a-f]{64})",')


class Damage(Exception):
    """A file is not what was written: truncated, changed, missing ..."""


class UnknownFormat(Exception):
    """A file of a newer release."""


@dataclass(frozen=True)
class Member:
    """A file beside a cell's ``cell.json``: its sha256, and its length (None: format 1 did not say)."""

    sha256: str
    bytes: int | None

    def check(self, data: bytes) -> None:
        """Hold a content against it.

        Raises:
            Damage: it is another.
        """
        if self.bytes is not None and len(data) != self.bytes:
            raise Damage(
                f"truncated: {len(data)} of {self.bytes} bytes"
                if len(data) < self.bytes
                else "longer than written"
            )
        if digest(data) != self.sha256:
            raise Damage("changed: not the sha256 that it was written with")


@dataclass(frozen=True)
class CellFile:
    """What a sound ``cell.json`` says: its result, and the files beside it."""

    result: dict[str, Any]
    files: dict[str, Member]


def encode(result: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """``cell.json`` of a result and the files that lie beside it."""
    members = {name: {"bytes": len(data), "sha256": digest(data)} for name, data in files.items()}
    rest = json.dumps({"files": members, "result": result}, separators=(",", ":"))[1:].encode()
    return (
        b'{"format":%d,"bytes":%d,"sha256":"%s",'
        % (FORMAT, len(rest), _digest_of(FORMAT, rest).encode())
        + rest
    )


def decode(data: bytes) -> CellFile:
    """Read ``cell.json``, of this format or an older one.

    Raises:
        Damage: it is not what was written.
        UnknownFormat: a newer release wrote it.
    """
    head = _HEAD.match(data)
    if head is None:
        return _decode_1(data)
    rest, found = data[head.end() :], int(head[1])
    if len(rest) < int(head[2]):
        raise Damage(f"truncated: {len(data)} of {head.end() + int(head[2])} bytes")
    if len(rest) > int(head[2]) or _digest_of(found, rest) != head[3].decode():
        raise Damage("changed: not the sha256 that it was written with")
    if found != FORMAT:
        raise UnknownFormat(f"format {found}; this release reads up to {FORMAT}")
    content = json.loads("{" + rest.decode())
    return CellFile(
        content["result"], {name: Member(**member) for name, member in content["files"].items()}
    )


def _decode_1(data: bytes) -> CellFile:
    try:
        content = json.loads(data)
        if not isinstance(content, dict) or "format" in content:
            raise Damage("changed: its head is not one that was written")
        canonical = json.dumps(content["result"], sort_keys=True, separators=(",", ":")).encode()
        Member(content["sha256"], None).check(canonical)
        return CellFile(
            content["result"],
            {name: Member(sha256, None) for name, sha256 in content["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        ended = not data.rstrip().endswith(b"}")
        raise Damage(
            "truncated"
            if ended
            else f"changed: {type(error).__name__}: {str(error).splitlines()[0][:80]}"
        ) from None


def _digest_of(number: int, rest: bytes) -> str:
    found = hashlib.sha256(b"%d\n" % number)
    found.update(rest)
    return found.hexdigest()


def digest(data: bytes) -> str:
    """The sha256 of a content."""
    return hashlib.sha256(data).hexdigest()


def cell_key(identity: dict[str, Any]) -> str:
    """The key of a cell: a hash of all that can change its result."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
