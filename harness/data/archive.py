"""Reading files by name from a folder, a zip or a tar. Members are read in place, never unpacked.

An archive is checked before any member is read. It is refused as a whole if it has links, devices,
names that lead out of it, or far more content than is reasonable (a bomb).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from harness.errors import DataError

MEMBERS = 500_000
"""Most files in an archive."""
TOTAL = 32 << 30
"""Most bytes of all files together."""
RATIO = 200
"""Most bytes of all files for each byte of the archive."""
MEMBER = 64 << 20
"""Most bytes of a file, unless its reader allows more; images are far smaller."""
ARCHIVE_MAGIC = (b"PK", b"\x1f\x8b", b"BZh", b"\xfd7z")
"""First bytes of zips and of compressed tars."""
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
)
"""Errors of zipfile and tarfile on damaged bytes; decompressors add zlib.error and LZMAError."""


class _Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: its path in the archive.
        size: its size in bytes, as the archive states it.
        fault: the reason why it is refused; "" if there is none.
    """

    name: str
    size: int
    fault: str


class Archive:
    """A folder, a zip or a tar (.gz, .bz2, .xz), open for reading; a context manager.

    Args:
        path: the folder or archive; its content tells its kind, not its name.
        files: of a folder, the files to read by name; None: every file below it.

    Attributes:
        sizes: bytes of each file, by its path in the archive. The order is that of the paths for a
            folder, and that of the archive otherwise.

    Raises:
        DataError: If it cannot be read or is refused.
    """

    def __init__(self, path: Path, files: Mapping[str, str | Path] | None = None) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self._files: Mapping[str, str | Path] = files or {}
        self._zip: zipfile.ZipFile | None = None
        self._tar: tarfile.TarFile | None = None
        self._held: dict[str, bytes] = {}
        try:
            self._open(listed=files is not None)
        except DataError:
            self.close()
            raise
        except DAMAGED as error:
            raise self.fault(
                f"cannot be read: {_reason(error)}", "fetch it again, or make it readable"
            ) from error
        except Exception as error:  # zlib.error, LZMAError and others on damaged bytes
            raise self.fault(f"cannot be read: {_reason(error)}", "fetch it again") from error

    def _open(self, *, listed: bool) -> None:
        if self.path.is_dir():
            if not listed:
                self._files = files_below(self.path)
            self.sizes = {name: os.stat(path).st_size for name, path in self._files.items()}
        elif not self.path.stat().st_size:
            raise self.fault("the file is empty", "fetch it again")
        elif zipfile.is_zipfile(self.path):
            self._zip = zipfile.ZipFile(self.path)
            self.sizes = self._check(_zip_members(self._zip))
        elif is_tar(self.path):
            self._tar = tarfile.open(self.path)  # noqa: SIM115 - closed by `close`
            self.sizes = self._check(_tar_members(self._tar))
        elif _begins(self.path, ARCHIVE_MAGIC):
            raise self.fault(
                "cannot be read: an archive that is cut off or damaged", "fetch it again"
            )
        else:
            raise self.fault("neither a folder nor a zip nor a tar archive", "fetch it again")

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive's file."""
        if self._zip:
            self._zip.close()
        if self._tar:
            self._tar.close()

    def hold(self, names: Iterable[str], most: int = MEMBER) -> None:
        """Read files of a tar ahead, in its order: going back would unpack it from the start.

        Of a folder and a zip nothing is held. Afterwards several threads may read these files.

        Args:
            names: paths in the archive.
            most: bytes that each may have.

        Raises:
            DataError: If one is larger or damaged.
        """
        if self._tar:
            wanted = set(names)
            self._held = {name: self.read(name, most) for name in self.sizes if name in wanted}

    def read(self, name: str, most: int = MEMBER) -> bytes:
        """Read one file. Several threads may read from a folder or a zip at once, or what is held.

        Args:
            name: its path in the archive.
            most: bytes that it may have.

        Raises:
            DataError: If it is larger or damaged.
        """
        if name in self._held:
            return self._held[name]
        size = self.sizes[name]
        if size > most:
            raise self.fault(
                f"{name} has {size} bytes, more than the {most} that it could need",
                "fetch it again",
            )
        try:
            if self._zip:
                return self._zip.read(name)
            if self._tar:
                member = self._tar.extractfile(name)
                return member.read() if member else b""
            return Path(self._files[name]).read_bytes()
        except Exception as error:  # archives and decompressors raise many kinds on damaged bytes
            raise self.fault(
                f"{name} cannot be read: {_reason(error)}", "fetch it again"
            ) from error

    def head(self, name: str, size: int) -> bytes:
        """Read the first bytes of a file of a zip.

        Raises:
            DataError: If it is damaged.
        """
        assert self._zip
        try:
            with self._zip.open(name) as file:
                return file.read(size)
        except Exception as error:  # as in ``read``
            raise self.fault(
                f"{name} cannot be read: {_reason(error)}", "fetch it again"
            ) from error

    def fault(self, message: str, hint: str) -> DataError:
        """Create an error that names this archive."""
        return DataError(message, where=str(self.path), hint=hint)

    def _check(self, members: Iterable[_Member]) -> dict[str, int]:
        """Check all members before any is read, and return their sizes."""
        packed_size = self.path.stat().st_size
        most = min(TOTAL, RATIO * packed_size)
        hint = "it is not opened; fetch it from the source that the dataset names"
        sizes: dict[str, int] = {}
        total = 0
        for name, size, member_fault in members:
            total += size
            fault = member_fault or _name_fault(name)
            if not fault and name in sizes:
                fault = "has a duplicate name"
            if fault:
                raise self.fault(f"a member is refused: {name[:200]!r} {fault}", hint)
            if total > most or len(sizes) >= MEMBERS:
                raise self.fault(
                    f"more is packed into it than is reasonable: over {len(sizes)} files, "
                    f"{total} bytes, in an archive of {packed_size}",
                    hint,
                )
            sizes[name] = size
        return sizes


def names_below(folder: Path) -> list[str]:
    """Find every file below a folder.

    Files and folders whose names begin with a dot are left out. Links are followed, but not in
    circles.

    Returns:
        Relative paths with forward slashes, sorted.

    Raises:
        DataError: If a folder cannot be read, or has too many files.
    """
    names: list[str] = []
    # Folders to look into: prefix of the names, path, and the real folders that lead to it. A link
    # back to one of these is a circle.
    waiting: list[tuple[str, str, tuple[str, ...]]]
    waiting = [("", str(folder), (os.path.realpath(folder),))]
    while waiting:
        prefix, place, way = waiting.pop()
        for entry in _entries(place):
            if entry.name.startswith("."):
                continue
            if entry.is_file():
                names.append(prefix + entry.name)
            elif entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else None
                real = real or os.path.join(way[-1], entry.name)
                if real not in way:
                    waiting.append((f"{prefix}{entry.name}/", entry.path, (*way, real)))
        if len(names) > MEMBERS:
            raise DataError(
                f"more than {MEMBERS} files", where=str(folder), hint="name a folder with fewer"
            )
    return sorted(names)


def _entries(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"cannot be read: {_reason(error)}", where=place, hint="make it readable"
        ) from error


def files_below(folder: Path) -> dict[str, Path]:
    """Find every file below a folder by its relative path; see ``names_below``."""
    return {name: folder / name for name in names_below(folder)}


def listed_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Find files of a folder by their names; those that do not exist are left out.

    A name may be in another Unicode form than the file's: zips made on a Mac have decomposed names.
    """
    files = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            path = _in_any_form(folder, name)
        if path.is_file():
            files[name] = path
    return files


def _in_any_form(folder: Path, name: str) -> Path:
    """A path below a folder whose parts may be composed (NFC) or decomposed (NFD)."""
    path = folder
    for part in name.split("/"):
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        path = next((path / form for form in forms if (path / form).exists()), path / part)
    return path


@contextlib.contextmanager
def packed(archive: Archive, names: Mapping[str, str]) -> Iterator[Path]:
    """Pack files of an archive into a temporary zip; the same files give the same bytes.

    Args:
        archive: holds the files.
        names: path in ``archive`` by path in the zip.

    Yields:
        The zip; it is deleted after the block.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "packed.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
            for name, member in names.items():
                # A bare ZipInfo has a constant date.
                target.writestr(zipfile.ZipInfo(name), archive.read(member))
        yield path


def is_tar(path: Path) -> bool:
    """Tell whether a file is a tar, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except Exception:  # the decompressors on damaged bytes
        return False


def is_archive(path: Path) -> bool:
    """Tell whether a path is a zip or a tar."""
    return path.is_file() and (zipfile.is_zipfile(path) or is_tar(path))


def _begins(path: Path, magic: tuple[bytes, ...]) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(magic)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        fault = ""
        if stat.S_ISLNK(mode):
            fault = "is a link"
        elif entry.flag_bits & 1:
            fault = "is encrypted"
        # Harmless folders are not listed.
        if not entry.is_dir() or fault or _name_fault(entry.filename):
            yield _Member(entry.filename, entry.file_size, fault)


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    """Members one by one: the file is read no further than needed, so a bomb is noticed early."""
    for entry in archive:
        fault = ""
        if entry.issym() or entry.islnk():
            fault = "is a link"
        elif not entry.isfile() and not entry.isdir():
            fault = "is not a file"
        if not entry.isdir() or _name_fault(entry.name):
            yield _Member(entry.name, entry.size, fault)


def _name_fault(name: str) -> str:
    """The reason why a member's name is refused; "" if there is none."""
    is_absolute = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    if is_absolute or ".." in re.split(r"[/\\]", name):
        return "leads out of the archive"
    if not name or "\0" in name:
        return "has no proper name"
    return ""


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
