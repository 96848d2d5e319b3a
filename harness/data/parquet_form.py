"""Images in Parquet files, as Hugging Face passes sets on."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.data.archive import Archive
from harness.data.forms import LARGEST, Form, Part, Parts, part_of
from harness.data.photographs import decode, exactly, stacked
from harness.errors import DataError

UNPACKED = 1 << 30
"""Most bytes of the columns of a file."""
_SHARD = re.compile(r"(?P<split>train|test)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


@dataclass(frozen=True)
class ParquetShards(Form):
    """Files ``train-00000-of-00001.parquet`` with a column of image files and one of labels.

    Attributes:
        label: name of the column of labels.
        n_classes: number of classes.
        shape: (C, H, W) of an image.
    """

    label: str
    n_classes: int
    shape: tuple[int, int, int]

    def choose(self, names: Collection[str]) -> list[str]:
        """Return the files of the first folder that has all of both splits."""
        folders: dict[str, list[str]] = {}
        for name in sorted(names):
            folder, _, last = name.rpartition("/")
            if _SHARD.fullmatch(last):
                folders.setdefault(folder, []).append(name)
        whole = (files for _, files in sorted(folders.items()) if _is_whole(files))
        return next(whole, [])

    def knows(self, filename: str) -> bool:
        """Tell whether it is a file of a split."""
        return _SHARD.fullmatch(filename) is not None

    def read(self, archive: Archive, names: Sequence[str]) -> Parts:
        """Read all files of each split."""
        parts: dict[str, list[Part]] = {"train": [], "test": []}
        for name in names:
            match = _shard(name)
            parts[match["split"]].append(self._batch(archive, name))
        return {
            split: Part(
                np.concatenate([part.pixels for part in each]),
                np.concatenate([part.labels for part in each]),
            )
            for split, each in parts.items()
        }

    def _batch(self, archive: Archive, name: str) -> Part:
        where = f"{archive.path}: {name}"
        columns = _columns(archive.read(name, LARGEST), where)
        image = next((key for key in ("img", "image") if key in columns), None)
        if image is None or self.label not in columns:
            raise DataError(
                f"its columns are {', '.join(columns)}, not img and {self.label}",
                where=where,
                hint="it may belong to another dataset; fetch the right one",
            )
        readers = [
            partial(self._decoded, cell, f"{where}: row {row}")
            for row, cell in enumerate(columns[image])
        ]
        return part_of(stacked(readers, self.shape), columns[self.label], self.n_classes, where)

    def _decoded(self, cell: Any, where: str) -> np.ndarray:
        """Decode the image file in a cell, uint8 (C, H, W)."""
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        try:
            if not isinstance(content, bytes):
                raise ValueError("it holds no image file")
            image = exactly(decode(content, self.shape[0]), self.shape[1])
        except ValueError as error:
            raise DataError(str(error), where=where, hint="fetch it again") from error
        return np.asarray(image).transpose(2, 0, 1)


def _shard(name: str) -> re.Match[str]:
    match = _SHARD.fullmatch(name.rpartition("/")[2])
    assert match is not None
    return match


def _is_whole(names: Sequence[str]) -> bool:
    """Whether no file of either split is missing."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for match in map(_shard, names):
        numbers.setdefault((match["split"], int(match["count"])), set()).add(int(match["number"]))
    whole = {split for (split, count), seen in numbers.items() if seen == {*range(count)}}
    return whole == {"train", "test"} and len(numbers) == len(whole)


def _columns(content: bytes, where: str) -> dict[str, list[Any]]:
    """Read all columns of a Parquet file.

    Raises:
        DataError: If pyarrow is not installed, or the file is damaged or too large.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            "reading Parquet needs pyarrow, which is not installed",
            where=where,
            hint="pip install 'bioharness[parquet]'",
        ) from None
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        about = file.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        if size > UNPACKED:
            raise ValueError(f"its columns take {size >> 20} MiB; the limit is {UNPACKED >> 20}")
        return dict(file.read().to_pydict())
    except (ArrowException, OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"cannot be read: {first}", where=where, hint="fetch it again") from error
