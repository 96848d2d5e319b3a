"""Runs of MLflow and of Weights & Biases, read back; skipped without these libraries."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.publish.exports import mlflow_runs, wandb_runs
from harness.publish.exports.numbers import by_learner
from harness.publish.exports.tracking import series_of, values_of


@pytest.fixture(scope="module")
def two(quickstart):
    """Two learners' attack sweeps."""
    records = [
        record
        for record in quickstart.records
        if record.learner in ("bio", "backprop") and record.protocol == "robust"
    ]
    return replace(quickstart, records=records, learners=["bio", "backprop"])


def test_a_metric_runs_along_its_budgets(two):
    series = {each.name: each for each in series_of(by_learner(two)["bio"])}
    worst = series["robust/worst/accuracy"]
    assert worst.axis == "eps"
    assert [budget for budget, _ in worst.points] == [0, 0.05, 0.1, 0.2]
    (_, first), *_ = values_of(worst)
    number = worst.points[0][1]
    assert first == {
        "robust/worst/accuracy": number.value,
        "robust/worst/accuracy.low": number.low,
        "robust/worst/accuracy.high": number.high,
        "robust/worst/accuracy.n": number.first.n,
        "robust/worst/eps": 0,
    }


@pytest.mark.parametrize(("library", "write"), [("mlflow", mlflow_runs), ("wandb", wandb_runs)])
def test_a_missing_library_is_one_clear_error(two, tmp_path, monkeypatch, library, write):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(HarnessError, match=f"need {library}, which is not installed"):
        write.write(two, tmp_path)


def test_mlflow_reads_back_what_was_measured(two, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny")
    written = mlflow_runs.write(two, tmp_path / "mlruns")
    assert all(path.is_dir() for path in written)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("quickstart")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"bio", "backprop"}
    for learner, numbers in by_learner(two).items():
        run = runs[learner]
        assert run.data.params["kind"] == two.kinds[learner]
        assert run.data.tags["suite"] == "quickstart" and run.data.tags["suite_hash"]
        commits = {record.git_commit for number in numbers for record in number.records}
        assert set(run.data.tags["git_commit"].split(", ")) == commits
        for series in series_of(numbers):
            history = client.get_metric_history(run.info.run_id, series.name)
            assert [(point.step, point.value) for point in history] == [
                (step, number.value) for step, (_, number) in enumerate(series.points)
            ]


def test_mlflow_is_only_told_to_use_a_folder_while_it_does(two, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs mlflow-skinny")
    monkeypatch.delenv(mlflow_runs.ALLOWED, raising=False)
    mlflow_runs.write(two, tmp_path)
    assert mlflow_runs.ALLOWED not in mlflow_runs.os.environ


def offline_records(path):
    """The protobuf records in a ``.wandb`` file, whose framing is that of LevelDB's logs."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    at, part = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record


def test_wandb_keeps_what_was_measured_and_nothing_of_this_machine(two, tmp_path):
    import json
    import socket

    pytest.importorskip("wandb", reason="needs wandb")
    written = wandb_runs.write(two, tmp_path)
    for path, (learner, numbers) in zip(written, by_learner(two).items(), strict=True):
        (file,) = path.glob("*.wandb")
        assert socket.gethostname().encode() not in file.read_bytes()
        steps = []
        for record in offline_records(file):
            if record.HasField("run"):
                assert (record.run.project, record.run.display_name) == ("quickstart", learner)
            if record.HasField("history"):
                items = record.history.item
                steps.append({i.key or "/".join(i.nested_key): i.value_json for i in items})
        for series in series_of(numbers):
            logged = [float(json.loads(step[series.name])) for step in steps if series.name in step]
            assert logged == [number.value for _, number in series.points]
