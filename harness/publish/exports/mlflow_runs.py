"""MLflow: a run for each learner in a local folder of runs.

Parameters are the learner's config, tags say where numbers come from, and each metric runs along
its budgets: step 0 is the smallest, and ``.../eps`` has the budget of each step.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.publish.exports.numbers import by_learner, config_of, origin_of
from harness.publish.exports.tracking import Series, series_of, tags_of, values_of

ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
MOST_AT_ONCE = 100
"""Parameters, tags or metrics that MLflow takes in one call."""
LONGEST = 6000
"""Characters of a parameter's value that MLflow keeps."""


def write(results: Results, folder: Path) -> list[Path]:
    """Add a run for each learner to the experiment that is called like the suite.

    Args:
        results: What was measured.
        folder: The folder of runs, as of ``mlflow ui --backend-store-uri``.

    Returns:
        The folder of each run.

    Raises:
        HarnessError: There is nothing to write, or mlflow is not installed.
    """
    numbers = by_learner(results)
    with _folders_allowed():
        client = _client(folder)
        client.search_experiments()  # opens the folder
    known = client.get_experiment_by_name(results.suite)
    experiment = known.experiment_id if known else client.create_experiment(results.suite)
    written = []
    for learner, own in numbers.items():
        origin = origin_of(own)
        start = int(origin.seconds * 1000)
        tags = tags_of(results, origin)
        run = client.create_run(experiment, start_time=start, run_name=learner, tags=tags)
        config = {key: str(value)[:LONGEST] for key, value in config_of(results, learner).items()}
        _log(client, run.info.run_id, config, series_of(own), start)
        client.set_terminated(run.info.run_id, end_time=start)
        written.append(folder / experiment / run.info.run_id)
    return written


@contextlib.contextmanager
def _folders_allowed() -> Iterator[None]:
    """Lets MLflow open a folder of runs, which since 3.7 it only does if told to."""
    before = os.environ.get(ALLOWED)
    os.environ[ALLOWED] = "true"
    try:
        yield
    finally:
        del os.environ[ALLOWED]
        if before is not None:
            os.environ[ALLOWED] = before


def _client(folder: Path) -> Any:
    """A client that writes into a local folder.

    Raises:
        HarnessError: mlflow is not installed.
    """
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise HarnessError(
            "MLflow runs need mlflow, which is not installed",
            where=str(folder),
            hint="pip install mlflow-skinny",
        ) from None
    return MlflowClient(tracking_uri=folder.resolve().as_uri())


def _log(
    client: Any, run: str, config: dict[str, str], series: Sequence[Series], moment: int
) -> None:
    from mlflow.entities import Metric, Param

    logged = {
        (name, step): value
        for each in series
        for step, values in values_of(each)
        for name, value in values.items()
    }
    metrics = [Metric(name, value, moment, step) for (name, step), value in logged.items()]
    params = [Param(key, value) for key, value in config.items()]
    for i in range(0, len(params), MOST_AT_ONCE):
        client.log_batch(run, params=params[i : i + MOST_AT_ONCE])
    for i in range(0, len(metrics), MOST_AT_ONCE):
        client.log_batch(run, metrics=metrics[i : i + MOST_AT_ONCE])
