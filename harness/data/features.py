"""The user's own embeddings: vectors of numbers with a class, and perhaps a split, for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.carve import SPLITS, rows_of_splits
from harness.data.own_splits import DISJOINT, Carve, carved, splittings_of
from harness.errors import DataError
from harness.paths import Place
from harness.registry import datasets

FILE = "features.npz"

FEATURES = "features"
LABELS = "labels"
SPLIT = "split"
"""Arrays of a .npz file, where splits are not in arrays of their own."""

PAIRS = [("{}_features", "{}_labels"), ("x_{}", "y_{}"), ("{}_x", "{}_y")]
"""Names of the arrays of a split, in the layouts that are read."""

COLUMNS = {LABELS: ("label", "labels", "class", "y"), SPLIT: ("split",)}
"""Names that the columns of a Parquet file may have."""

WHITE = 255
"""What a value of one is stored as: learners divide by it, as they do for images."""


class _Table(NamedTuple):
    """What a file holds.

    Attributes:
        features: float64 (N, D).
        labels: (N,), integers or strings.
        splits: str (N,), the split of each vector, or "".
    """

    features: np.ndarray
    labels: np.ndarray
    splits: np.ndarray


@datasets.register("features")
class Features(Dataset):
    """Your own embeddings with labels: .npz, .npy and a .npy of labels, or Parquet.

    Any learner takes them as images of D channels and one pixel; `head` is a head alone.
    Values are divided by the largest absolute value of the training split. They are no pixels:
    protocols that attack or corrupt images refuse them.
    """

    class Config(Dataset.Config):
        """Where the embeddings are, and how they are split."""

        file: Place | None = Field(
            None,
            description="a .npz with features, labels and perhaps split (train, val, test), or "
            "with train_features, train_labels and so on; a .npy of features; a .parquet with "
            "the columns label and perhaps split, and numbers or lists of numbers; "
            f"features/{FILE} below the data root if left out",
        )
        labels: Place | None = Field(
            None, description="a .npy of labels, beside a .npy of features"
        )
        carve: Carve | None = Field(
            None, description="splits to draw, e.g. {val: 0.1, test: 0.2, seed: 0}"
        )
        classes: Literal["disjoint", "shared"] | None = Field(
            None,
            description=(
                "disjoint: no class may be in two splits; shared: every split has every class; "
                "whichever the splits are if left out"
            ),
        )

    config: Config
    are_pixels = False
    origin = "data root"
    licence = "that of the embeddings"
    citation = "the user's own embeddings"
    how_to_get = (
        "name a file: {kind: features, file: embeddings.npz}, with arrays features (N, D), labels "
        "(N,) and perhaps split (N,); `harness data import features FILE.npz` makes it the default"
    )

    @property
    def _file(self) -> Path:
        return self.config.file.below(self.root) if self.config.file else self.place / FILE

    @classmethod
    def found_in(cls, path: Path) -> Iterator[tuple[str, Path]]:
        """Take one .npz file."""
        if path.is_file():
            yield FILE, path

    def sources(self) -> list[Path]:
        """The files of features and of labels."""
        paths = [self._file]
        if self.config.labels is not None:
            paths.append(self.config.labels.below(self.root))
        for path in paths:
            if not path.is_file():
                raise DataError("there is no such file", where=str(path), hint=self.how_to_get)
        return paths

    def facts(self) -> Facts:
        """Return shape and splits, from the files."""
        table, labels, _ = self._content
        splits = {
            split: SplitFacts.measure(labels[rows]) for split, rows in self._rows(table).items()
        }
        splittings = self._splittings
        disjoint = frozenset(splittings) & {DISJOINT}
        shape = (table.features.shape[1], 1, 1)
        return Facts(shape, dict.fromkeys(splittings, splits), disjoint)

    def build(self) -> Loaded:
        """The vectors as images of one pixel, split by split, each in the order of the file."""
        table, labels, names = self._content
        rows = self._rows(table)
        # Nothing of the test vectors may leak into what is trained on.
        scale = np.abs(table.features[rows.get("train", slice(None))]).max() or 1.0
        # float64: learners convert to float32 by a copy, so that the shared array stays as it is.
        pixels = table.features * (WHITE / scale)
        return Loaded(
            pixels=pixels[:, :, None, None],
            labels=labels,
            class_names=names,
            groups=None,
            splittings=dict.fromkeys(self._splittings, rows),
        )

    @cached_property
    def _content(self) -> tuple[_Table, np.ndarray, tuple[str, ...]]:
        """The table in order of splits, the number of each vector's class, and their names."""
        table = _checked(_read(self.sources()), str(self._file))
        classes, labels = np.unique(table.labels, return_inverse=True)
        splits = np.where(table.splits == "", "" if self.config.carve else "test", table.splits)
        if self.config.carve:
            splits = carved(splits, labels, self.config.carve, str(self._file))
        order = np.argsort([SPLITS.index(split) for split in splits], kind="stable")
        ordered = _Table(table.features[order], table.labels[order], splits[order])
        return ordered, labels.astype(np.int64)[order], tuple(map(str, classes.tolist()))

    @staticmethod
    def _rows(table: _Table) -> dict[str, np.ndarray]:
        return rows_of_splits(table.splits, list(dict.fromkeys(table.splits.tolist())))

    @property
    def _splittings(self) -> list[str]:
        table = self._content[0]
        pairs = sorted(
            set(zip(map(str, table.labels.tolist()), table.splits.tolist(), strict=True))
        )
        return splittings_of(pairs, self.config.classes, str(self._file))


# ---------------------------------------------------------------------------------------- reading


def _read(paths: list[Path]) -> _Table:
    """Read the table of a file, or of a .npy and its labels."""
    path, *labels = paths
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix == ".npy":
        if not labels:
            raise DataError(
                "a .npy holds features alone",
                where=str(path),
                hint="name their labels too: {kind: features, file: x.npy, labels: y.npy}",
            )
        features = _arrays(path)[FEATURES]
        return _Table(features, _arrays(labels[0])[FEATURES], np.full(len(features), ""))
    if path.suffix == ".npz":
        return _table(_arrays(path), str(path))
    raise DataError(
        f"a file of features is a .npz, .npy or .parquet, not {path.suffix or 'without a suffix'}",
        where=str(path),
    )


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a .npz; that of a .npy is called ``features``. Nothing is unpickled."""
    try:
        read = np.load(path, allow_pickle=False)
        if isinstance(read, np.ndarray):
            return {FEATURES: read}
        with read:
            return {name: read[name] for name in read.files}
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
        reason = f"{type(error).__name__}: {error}".partition("\n")[0][:120]
        raise DataError(
            f"cannot read arrays: {reason}",
            where=str(path),
            hint="save plain arrays of numbers and strings with np.savez; objects are not read",
        ) from None


def _table(arrays: Mapping[str, np.ndarray], where: str) -> _Table:
    """One table from the arrays of a .npz."""
    if FEATURES in arrays and LABELS in arrays:
        features = arrays[FEATURES]
        splits = arrays.get(SPLIT, np.full(len(features), ""))
        return _Table(features, arrays[LABELS], splits.astype(str))
    for x, y in PAIRS:
        there = [split for split in SPLITS if x.format(split) in arrays]
        if not there:
            continue
        if any(y.format(split) not in arrays for split in there):
            raise DataError(f"{x.format(there[0])} has no {y.format(there[0])}", where=where)
        parts = [arrays[x.format(split)] for split in there]
        labels = [arrays[y.format(split)] for split in there]
        try:
            return _Table(
                np.concatenate(parts),
                np.concatenate(labels),
                np.repeat(there, [len(each) for each in parts]),
            )
        except ValueError as error:
            raise DataError(f"its splits do not fit together: {error}", where=where) from None
    raise DataError(
        f"it has no features and labels, only {', '.join(list(arrays)[:8]) or 'nothing'}",
        where=where,
        hint=Features.how_to_get,
    )


def _parquet(path: Path) -> _Table:
    """A table from the columns of a Parquet file."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            "reading Parquet needs pyarrow, which is not installed",
            where=str(path),
            hint="pip install 'bioharness[parquet]'",
        ) from None
    try:
        columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except (ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise DataError(f"cannot read it as Parquet: {reason}", where=str(path)) from None
    named = {
        role: next((columns.pop(name) for name in names if name in columns), [])
        for role, names in COLUMNS.items()
    }
    if not named[LABELS] or not columns:
        raise DataError(
            f"it has the columns {', '.join([*columns][:8])}",
            where=str(path),
            hint="it needs a column label, and columns of numbers or one of lists of numbers",
        )
    count = len(named[LABELS])
    try:
        parts = [np.asarray(values, np.float64).reshape(count, -1) for values in columns.values()]
    except (TypeError, ValueError):
        raise DataError(
            f"columns that are no numbers are among {', '.join([*columns][:8])}",
            where=str(path),
            hint="beside label and split, every column is numbers, or lists of equal length",
        ) from None
    splits = np.array(named[SPLIT] or [""] * count, dtype=str)
    return _Table(np.concatenate(parts, axis=1), np.array(named[LABELS]), splits)


def _checked(table: _Table, where: str) -> _Table:
    """The table, if every vector is finite and has a class and a known split."""
    features, labels, splits = table
    faults = {
        f"features of the shape {features.shape}, not (N, D)": features.ndim != 2,
        f"features of {features.dtype}, not numbers": features.dtype.kind not in "fiub",
        f"{len(features)} vectors, {labels.shape} labels and {splits.shape} splits": not (
            labels.shape == splits.shape == (len(features),)
        ),
        f"labels of {labels.dtype}, not integers or strings": labels.dtype.kind not in "iuUS",
        "no vectors": features.size == 0,
    }
    for message, is_fault in faults.items():
        if is_fault:
            raise DataError(message, where=where, hint=Features.how_to_get)
    wide = features.astype(np.float64)
    if not np.isfinite(wide).all():
        row = int(np.flatnonzero(~np.isfinite(wide).all(1))[0])
        raise DataError(f"vector {row} is not finite", where=where, hint="leave it out")
    unknown = sorted(set(splits.tolist()) - {*SPLITS, ""})
    if unknown:
        raise DataError(
            f"unknown split {unknown[0]!r}", where=where, hint=f"allowed: {', '.join(SPLITS)}"
        )
    return _Table(wide, labels.astype(str) if labels.dtype.kind == "S" else labels, splits)
