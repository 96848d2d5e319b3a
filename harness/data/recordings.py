"""Recordings from brains: stimuli, and how dissimilar brains, people and models find them.

A folder of recordings has ``stimuli/*.png`` (S images, in the order of their names), ``rdms.npy``
(float (rows, S (S - 1) / 2), the pairs of each row in the order of ``numpy.triu_indices(S, 1)``)
and ``rdms.csv``, which says of each row its ``name``, ``kind`` (brain, behaviour or model),
``subject`` and ``session``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.photographs import decode
from harness.errors import DataError

DEFAULT = "brain-92"
"""Folder below the data root: 92 photographs of objects (Kriegeskorte et al. 2008)."""

SOURCE = (
    "92 objects: monkey IT, 674 neurons, and human IT, fMRI (Kriegeskorte et al. 2008); judgements "
    "of 16 people (Mur et al. 2013)"
)

MATRICES = "rdms.npy"
ROWS = "rdms.csv"
STIMULI = "stimuli"


@dataclass(frozen=True)
class Recordings:
    """Dissimilarities of S stimuli.

    Attributes:
        targets: name -> (subjects, pairs), each the mean over a subject's sessions.
        models: name -> (pairs,), of models that come with the recordings.
    """

    targets: dict[str, np.ndarray]
    models: dict[str, np.ndarray]


def files_of(folder: Path) -> list[Path]:
    """The matrices, what their rows are, then the stimuli in order.

    Raises:
        DataError: A file is missing.
    """
    stimuli = sorted((folder / STIMULI).glob("*.png"))
    for path in (folder / MATRICES, folder / ROWS):
        if not path.is_file():
            raise DataError(
                f"no {path.name}", where=str(folder), hint="name a folder of recordings"
            )
    if len(stimuli) < 4:
        raise DataError(f"{len(stimuli)} stimuli/*.png; four are the least", where=str(folder))
    return [folder / MATRICES, folder / ROWS, *stimuli]


def read(matrices: Path, rows: Path, stimuli: int) -> Recordings:
    """Read dissimilarities.

    Args:
        matrices: ``rdms.npy``.
        rows: ``rdms.csv``.
        stimuli: Number S of stimuli.

    Raises:
        DataError: The files do not fit together, or a dissimilarity is not finite.
    """
    try:
        values = np.load(matrices, allow_pickle=False).astype(np.float64)
        table = list(csv.DictReader(io.StringIO(rows.read_text(encoding="utf-8"))))
        names = [(line["name"], line["kind"], line["subject"], line["session"]) for line in table]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot be read: {error!r}", where=str(matrices.parent)) from None
    pairs = stimuli * (stimuli - 1) // 2
    if values.shape != (len(names), pairs) or not np.isfinite(values).all():
        raise DataError(
            f"{MATRICES} has shape {values.shape} or values that are not finite; {len(names)} rows "
            f"of {pairs} pairs are needed",
            where=str(matrices),
        )
    targets: dict[str, dict[str, list[np.ndarray]]] = {}
    models = {}
    for (name, kind, subject, session), row in zip(names, values, strict=True):
        if kind == "model":
            models[name] = row
        elif not name.endswith("-mean"):  # a mean over subjects who have rows of their own
            group = _group(name, subject, session)
            targets.setdefault(group, {}).setdefault(subject, []).append(row)
    means = {
        name: np.stack([np.mean(sessions, axis=0) for sessions in subjects.values()])
        for name, subjects in targets.items()
    }
    return Recordings(means, models)


def _group(name: str, subject: str, session: str) -> str:
    """The name of a target, without subject and session.

    >>> _group("human-IT-s1-2", "s1", "2"), _group("judgement-07", "7", ""), _group("IT", "", "")
    ('human-IT', 'judgement', 'IT')
    """
    if not subject:
        return name
    name = name.removesuffix(f"-{session}") if session else name
    base, _, last = name.rpartition("-")
    return base if last.lstrip("0") == subject.lstrip("0") else name


def images(stimuli: Sequence[Path], shape: tuple[int, int, int]) -> np.ndarray:
    """The stimuli at the size of a learner's images, averaged over areas.

    Args:
        stimuli: PNG files.
        shape: (C, H, W); with one channel, luminance.

    Returns:
        uint8 (S, C, H, W).

    Raises:
        DataError: An image cannot be read.
    """
    from PIL import Image

    channels, height, width = shape
    made = []
    for path in stimuli:
        try:
            image = decode(path.read_bytes(), 1 if channels == 1 else 3)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read: {error}", where=str(path)) from None
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX))
        made.append(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))
    return np.stack(made)
