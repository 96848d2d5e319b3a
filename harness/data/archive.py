"""Files in a folder, a zip or a tar, by name. Nothing is ever unpacked: members are read where they are, one at a time.

An archive is looked through before anything in it is read: one with links, devices, names that lead out of it, or more
than is reasonable in it (a bomb) is refused as a whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from harness.errors import DataError

MEMBERS, TOTAL, RATIO = 500_000, 32 << 30, 200
"""The most that an archive may hold: files, bytes, and bytes for each byte of the archive itself."""
MEMBER = 64 << 20
"""The largest file that is read, where its reader does not say otherwise; images are far smaller."""
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
)
"""What zipfile, tarfile and the decompressors raise on damaged bytes (zlib.error and LZMAError are met below)."""


class Archive:
    """A folder, a zip or a tar (.gz, .bz2, .xz), open for reading; a context manager.

    Args:
        path: what kind of thing it is is seen from its bytes, not its name.

    Attributes:
        sizes: bytes of each file, by its path in the archive; in order of the paths for a folder, else in the archive's.

    Raises:
        DataError: it cannot be read, or is refused.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._open()
        except DAMAGED as error:
            raise self.fault(
                f"cannot be read: {_words(error)}", "fetch it again, or make it readable"
            ) from error
        except DataError:
            self.close()
            raise
        except Exception as error:  # zlib.error, LZMAError and what other damage brings up
            raise self.fault(f"cannot be read: {_words(error)}", "fetch it again") from error

    def _open(self) -> None:
        self._archive: zipfile.ZipFile | tarfile.TarFile | None = None
        if self.path.is_dir():
            self._files = files_below(self.path)
            self.sizes = {name: path.stat().st_size for name, path in self._files.items()}
        elif not self.path.stat().st_size:
            raise self.fault("the file is empty", "fetch it again")
        elif zipfile.is_zipfile(self.path):
            self._archive = zipfile.ZipFile(self.path)
            self.sizes = self._looked_through(_zip_entries(self._archive))
        elif is_tar(self.path):
            self._archive = tarfile.open(self.path)
            self.sizes = self._looked_through(_tar_entries(self._archive))
        elif self._begins(b"PK", b"\x1f\x8b", b"BZh", b"\xfd7z"):
            raise self.fault(
                "cannot be read: an archive that is cut off or damaged", "fetch it again"
            )
        else:
            raise self.fault("neither a folder nor a zip nor a tar archive", "fetch it again")

    def _begins(self, *magic: bytes) -> bool:
        with self.path.open("rb") as file:
            return file.read(4).startswith(magic)

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive's file."""
        if self._archive:
            self._archive.close()

    def read(self, name: str, most: int = MEMBER) -> bytes:
        """The bytes of one file. Threads may read from a folder or a zip at the same time.

        Raises:
            DataError: it is larger than ``most`` bytes, or damaged.
        """
        if self.sizes[name] > most:
            raise self.fault(
                f"{name} has {self.sizes[name]} bytes, more than the {most} that it could need",
                "fetch it again",
            )
        try:
            if self._archive is None:
                return self._files[name].read_bytes()
            if isinstance(self._archive, zipfile.ZipFile):
                return self._archive.read(name)
            return self._archive.extractfile(name).read()
        except (
            Exception
        ) as error:  # zipfile, tarfile and their decompressors raise many kinds on damaged bytes
            raise self.fault(f"{name} cannot be read: {_words(error)}", "fetch it again") from error

    def fault(self, message: str, hint: str) -> DataError:
        """An error that names this archive."""
        return DataError(message, where=str(self.path), hint=hint)

    def _looked_through(self, entries: Iterator[tuple[str, int, str]]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        total, most = 0, min(TOTAL, RATIO * self.path.stat().st_size)
        refused = "it is not opened; fetch it from the source that the dataset names"
        for name, size, fault in entries:
            total += size
            if fault := fault or _unsafe(name) or ("stands twice" if name in sizes else ""):
                raise self.fault(f"a member is refused: {name[:200]!r} {fault}", refused)
            if total > most or len(sizes) >= MEMBERS:
                raise self.fault(
                    f"more is packed into it than is reasonable: over {len(sizes)} files, {total} bytes, in an "
                    f"archive of {self.path.stat().st_size}",
                    refused,
                )
            sizes[name] = size
        return sizes


def files_below(folder: Path) -> dict[str, Path]:
    """Every file at or below a folder, by its path there, in order; those whose names begin with a dot left out.

    Raises:
        DataError: a folder cannot be read (``rglob`` would pass over it without a word).
    """
    found = {}

    def fail(error: OSError) -> None:
        raise DataError(
            f"cannot be read: {_words(error)}", where=str(error.filename), hint="make it readable"
        ) from error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place, name)
            if not name.startswith(".") and path.is_file():
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


@contextlib.contextmanager
def packed(archive: Archive, names: Mapping[str, str]) -> Iterator[Path]:
    """Some files of an archive as one zip, for as long as the block lasts; the same files give the same bytes.

    Args:
        names: path in the zip -> path in ``archive``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "packed.zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packing:
            for name, member in names.items():
                packing.writestr(zipfile.ZipInfo(name), archive.read(member))
        yield path


def is_tar(path: Path) -> bool:
    """Whether it is a tar, compressed or not."""
    try:
        return tarfile.is_tarfile(path)
    except Exception:  # the decompressors on damaged bytes
        return False


def is_archive(path: Path) -> bool:
    """Whether it is a zip or a tar."""
    return path.is_file() and (zipfile.is_zipfile(path) or is_tar(path))


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, str]]:
    """(name, size, fault) of each file."""
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        fault = "is a link" if stat.S_ISLNK(mode) else "is encrypted" if entry.flag_bits & 1 else ""
        if not entry.is_dir() or fault or _unsafe(entry.filename):
            yield entry.filename, entry.file_size, fault


def _tar_entries(archive: tarfile.TarFile) -> Iterator[tuple[str, int, str]]:
    """(name, size, fault) of each file; the archive is read no further than it is asked for."""
    for entry in archive:
        fault = (
            "is a link"
            if entry.issym() or entry.islnk()
            else ""
            if entry.isfile() or entry.isdir()
            else "is no file"
        )
        if not entry.isdir() or _unsafe(entry.name):
            yield entry.name, entry.size, fault


def _unsafe(name: str) -> str:
    """What is wrong with a member's name, if anything."""
    parts = re.split(r"[/\\]", name)
    leads_out = ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return (
        "leads out of the archive"
        if leads_out
        else "has no proper name"
        if not name or "\0" in name
        else ""
    )


def _words(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
