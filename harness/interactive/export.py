"""``harness.export``: results in the formats of other benchmarks and trackers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.execute.session import RunOptions
from harness.publish import reading
from harness.publish.exports import (
    dataset_folder,
    eval_results,
    every_eval_ever,
    mlflow_runs,
    wandb_runs,
)
from harness.publish.reading import Readable

FORMATS: dict[str, Callable[..., list[Path]]] = {
    "every-eval-ever": every_eval_ever.write,
    "eval-results": eval_results.write,
    "dataset": dataset_folder.write,
    "mlflow": mlflow_runs.write,
    "wandb": wandb_runs.write,
}
"""Format -> what writes results in it."""

_OF_A_SUITE = ("store", "data_root", "device")


def export(
    source: Readable, form: str, folder: str | Path, *, sets: Sequence[str] = (), **words: Any
) -> list[Path]:
    """Write results in the format of others. Nothing is uploaded.

    Args:
        source: As for ``harness.table``.
        form: As ``harness export`` lists them: ``"dataset"``, ``"mlflow"``, ...
        folder: Where the files go.
        sets: Overrides of a suite, ``key.key=value``.
        words: What only you know, named like the options of ``harness export``, such as
            ``developer="mylab"``; and ``store``, ``data_root`` and ``device`` of a suite.

    Returns:
        The files written; of trackers, the folder of each run.

    Raises:
        HarnessError: Unknown format, nothing to write, or a library that is not installed.
    """
    if form not in FORMATS:
        raise HarnessError(f"unknown format {form!r}", hint=did_you_mean(form, FORMATS))
    options = {key: words.pop(key) for key in _OF_A_SUITE if key in words}
    found = reading.results(source, RunOptions(**options), sets=sets)
    return FORMATS[form](found, Path(folder), **words)
