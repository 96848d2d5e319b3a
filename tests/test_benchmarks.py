"""Benchmarks are run by hand, so a fast test checks that they still fit the code."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.storage.store import WEIGHTS, CellResult, Store
from harness.suite.load import load

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = sorted((ROOT / "tests" / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_everything_that_a_benchmark_imports_exists(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module.partition(".")[0] not in ("harness", "baselines"):
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            if not hasattr(module, alias.name):
                importlib.import_module(f"{node.module}.{alias.name}")


def loaded(name: str, monkeypatch):
    """The module of a benchmark."""
    path = ROOT / "tests" / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_planted_regressions_match_the_code(monkeypatch):
    gate = loaded("gate", monkeypatch)
    for file, text, replacement in gate.PLANTED.values():
        source = (ROOT / file).read_text()
        assert source.count(text) == 1, (file, text)
        ast.parse(source.replace(text, replacement))


COSTS = """
name: costs
seeds: [0]
learners:
  small: {kind: mlp, hidden: 10}
  large: {kind: mlp, hidden: 1000}
  fronted: {kind: mlp, hidden: 10, front: pixel-sigmoid}
  drtp: {kind: drtp, hidden: 900}
  conv: {kind: drtp, channels: [4], hidden: []}
  absent: {kind: fly}
protocols:
  clean: {kind: classification, dataset: digits}
"""


def test_a_training_is_compared_with_the_backprop_whose_size_is_nearest(tmp_path, monkeypatch):
    cost = loaded("families_cost", monkeypatch)
    (tmp_path / "suite.yaml").write_text(COSTS)
    entries = cost.load(tmp_path / "suite.yaml").learners
    seconds = {"small": 1.0, "large": 10.0, "fronted": 2.0, "drtp": 30.0, "conv": 50.0}
    trainings = []
    for entry in entries:
        if entry.name in seconds:
            known = {"kind": entry.cls.kind, "config": entry.settled}
            known["config"].pop("kernel", None)  # as before the learner had this key
            result = cost.CellResult({"role": "train", "learner": known})
            result.log, result.wall_s = {"images_seen": 1000}, seconds[entry.name]
            trainings.append(result)
    lines = [line.split("\t") for line in cost.table(cost.costs(entries, trainings)).split("\n")]
    assert [line[0] for line in lines[1:]] == ["small", "fronted", "large", "drtp", "conv"]
    rows = {line[0]: line for line in lines}
    assert rows["drtp"][2:] == ["30", "30000", "3.00", "large", "1.11 x"]
    assert rows["fronted"][4:] == ["2.00", "small", "1.00 x"]
    assert rows["conv"][4:] == ["-", "-", "-"]


def test_a_gpu_round_runs_what_fits_and_names_what_is_left(monkeypatch):
    rounds = loaded("gpu_round", monkeypatch)
    now = [0.0]

    def run(step, most_s):
        took = min(100.0, most_s)
        now[0] += took
        return f"{took:.0f} of {most_s:.0f}"

    def followed(seconds):
        now[0] = 0.0
        return [ended for _, ended in rounds.follow(made, run, seconds, clock=lambda: now[0])]

    made = [rounds.Step(name, needs, 150, []) for needs, name in ((90, "a"), (160, "b"), (50, "c"))]
    spare = rounds.PACKING_S
    assert followed(270 + spare) == ["100 of 150", "100 of 150", "70 of 70"]
    assert followed(200 + spare) == ["100 of 150", "left: needs about 160 s of 100 s", "100 of 100"]


@pytest.mark.parametrize("tiny", [False, True])
def test_every_suite_of_a_gpu_round_is_valid_and_measures_one_learner(tiny, monkeypatch):
    rounds = loaded("gpu_round", monkeypatch)
    _, *trainings = rounds.steps("cuda", tiny=tiny)
    monkeypatch.chdir(ROOT)
    measured = []
    for step in trainings:
        protocols = load(step.command[3], sets=step.command[5::2]).protocols
        measured.append({learner.name for entry in protocols for learner in entry.learners})
    assert measured == [{"softhebb"}, {"resnet8"}, {"resnet8-adv"}, {"resnet12"}]


TRAINING = {
    "seed": 0,
    "role": "train",
    "learner": {"kind": "mlp", "config": {}, "code": "0"},
    "device": "cuda",
    "dataset": {"kind": "digits", "config": {}, "content": "0"},
    "splitting": "standard",
    "labelled": True,
    "snapshots": False,
}


def test_cells_of_a_gpu_round_come_back_in_parts(tmp_path, monkeypatch, capsys):
    rounds = loaded("gpu_round", monkeypatch)
    away, home = Store(tmp_path / "away"), Store(tmp_path / "home")
    for store, keys in ((away, "ab"), (home, "b")):
        store.prepare()
        for key in keys:
            store.write(key * 24, CellResult(TRAINING), {WEIGHTS: {"w": np.arange(2000.0)}})
    parts = rounds.split(tmp_path / "away", tmp_path / "parts", megabytes=0.02)
    assert len(parts) > 1 and max(part.stat().st_size for part in parts) == 20_000
    rounds.main(["fetch", str(tmp_path / "parts"), str(tmp_path / "home")])
    assert "1 cells imported" in capsys.readouterr().out
    assert sorted(home.finished()) == ["a" * 24, "b" * 24]
    assert (home.arrays("a" * 24, WEIGHTS)["w"] == np.arange(2000.0)).all()
    parts[0].unlink()
    with pytest.raises(SystemExit, match="1 parts are missing"):
        rounds.main(["fetch", str(tmp_path / "parts"), str(tmp_path / "home")])


def test_data_of_a_gpu_round_is_unpacked_when_its_last_part_has_come(tmp_path, monkeypatch, capsys):
    rounds = loaded("gpu_round", monkeypatch)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.bin").write_bytes(bytes(range(256)) * 200)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set").symlink_to(tmp_path / "images")  # links are followed
    place, there = str(tmp_path / "parts"), tmp_path / "there"
    rounds.main(["split", str(tmp_path / "data"), place, "--megabytes", "0.03"])
    folders = sorted((tmp_path / "parts").iterdir())
    for folder in folders:
        assert not (there / "set").exists()
        rounds.main(["join", str(folder), str(there)])
    assert (there / "set" / "a.bin").read_bytes() == bytes(range(256)) * 200
    assert [path.name for path in there.iterdir()] == ["set"]
    assert capsys.readouterr().out.split("\n")[len(folders)] == f"{len(folders) - 1} parts to come"
