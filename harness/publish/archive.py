"""Zip files of named members: written reproducibly, and read without trusting them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from harness.commits import File
from harness.errors import HarnessError
from harness.files import write_atomically

MOST_BYTES = 2**26
"""Largest unpacked size that is accepted; a suite of thousands of cells stays far below."""
MOST_RATIO = 100
"""Largest ratio of unpacked to packed size; that of measurements is about 10."""
SMALL = 2**20
"""Unpacked size below which the ratio does not matter."""
MOST_FILES = 100_000
"""Largest number of members that is accepted."""
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compressions of which ``zipfile`` unpacks no more than it is asked for."""
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # a compression that zipfile does not know
)


def write(path: Path, files: dict[str, bytes]) -> None:
    """Write a zip file. The same files in the same order give the same bytes.

    Args:
        path: the file to write; replaced whole or not at all.
        files: member name -> content.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)  # dated 1980: no wall clock in the file
            member.external_attr = 0o644 << 16
            packed.writestr(member, data, zipfile.ZIP_DEFLATED, 9)
    write_atomically(path, out.getvalue())


def read(path: File, allowed: Callable[[str], bool]) -> dict[str, bytes]:
    """Read all members of a zip file into memory. Nothing is unpacked to disk.

    Args:
        path: a file on disk or in a commit.
        allowed: whether a member may have this name.

    Returns:
        Member name -> content.

    Raises:
        HarnessError: not a zip file, damaged, too large, or with a member that is not allowed.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            packed_size = file.seek(0, io.SEEK_END)
            _check(members, allowed, packed_size)
            return {member.filename: _unpacked(packed, member) for member in members}
    except OSError as error:
        raise HarnessError(f"cannot read it: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise HarnessError(f"damaged, or not a zip file: {error}") from None


def _check(
    members: list[zipfile.ZipInfo], allowed: Callable[[str], bool], packed_size: int
) -> None:
    """Check every declared name, compression and size before anything is unpacked."""
    for member in members:
        if not allowed(member.filename):
            raise HarnessError(f"unexpected file in it: {member.filename[:80]!r}")
        if member.compress_type not in BOUNDED:
            raise HarnessError(f"{member.filename} is neither stored nor deflated")
    names = {member.filename for member in members}
    if len(names) < len(members):
        raise HarnessError("it holds a file twice")
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES or len(members) > MOST_FILES:
        raise HarnessError(
            f"it would unpack to {size / 2**20:.0f} MiB in {len(members)} files; "
            f"the limits are {MOST_BYTES / 2**20:.0f} MiB and {MOST_FILES} files"
        )
    if size > max(SMALL, MOST_RATIO * packed_size):
        raise HarnessError(
            f"it would unpack to {size / packed_size:.0f} times its size; "
            f"the limit is {MOST_RATIO} times"
        )


def _unpacked(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # Asked for a number of bytes, zipfile unpacks no more than that; read() without one unpacks
    # everything first and only then cuts it to the declared size.
    with packed.open(member) as file:
        return file.read(member.file_size)
