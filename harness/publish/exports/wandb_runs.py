"""Weights & Biases, offline: a run for each learner in a local folder, for ``wandb sync``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.publish.exports.numbers import by_learner, config_of, origin_of, slug
from harness.publish.exports.tracking import series_of, tags_of, values_of

_QUIET: dict[str, Any] = {
    "silent": True,
    "host": "",
    "username": "",
    "console": "off",
    "disable_git": True,
    "save_code": False,
    # Nothing of this machine, which need not be the one that measured.
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


def write(results: Results, folder: Path) -> list[Path]:
    """Write an offline run for each learner; nothing is sent.

    The config of a run has the learner's and where its numbers come from; values are logged as for
    MLflow, along the budgets of a metric.

    Args:
        results: What was measured.
        folder: Where the folder ``wandb`` with the runs goes.

    Returns:
        The folder of each run.

    Raises:
        HarnessError: There is nothing to write, or wandb is not installed.
    """
    numbers = by_learner(results)
    wandb = _library(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for learner, own in numbers.items():
        steps: dict[int, dict[str, float]] = defaultdict(dict)
        for series in series_of(own):
            for step, values in values_of(series):
                steps[step] |= values
        run = wandb.init(
            project=slug(results.suite),
            name=learner,
            dir=folder,
            mode="offline",
            config={"learner": config_of(results, learner), **tags_of(results, origin_of(own))},
            settings=wandb.Settings(**_QUIET),
            reinit="finish_previous",
        )
        for step, values in sorted(steps.items()):
            run.log(values, step=step)
        written.append(Path(run.dir).parent)
        run.finish()
    return written


def _library(folder: Path) -> Any:
    """The module ``wandb``.

    Raises:
        HarnessError: It is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise HarnessError(
            "runs of Weights & Biases need wandb, which is not installed",
            where=str(folder),
            hint="pip install 'bioharness[wandb]'",
        ) from None
    return wandb
