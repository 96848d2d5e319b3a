"""Estimates of time and spread from the cells in a store."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import api
from harness.cells import estimate, learned
from harness.cells.cell import Cell
from harness.cells.cost import cost, gradients
from harness.cells.learned import Rate
from harness.registry import learners
from harness.storage.store import VERDICTS, CellResult, Store

SUITE = """
name: tiny
learners:
  one: {kind: nearest-mean}
  two: {kind: nearest-mean, head: cosine}
  three: {kind: nearest-mean, head: ridge}
protocols:
  few: {kind: few_shot, dataset: digits, ways: 3, shots: [1, 2], queries: 5, episodes: 40}
"""


def test_the_spread_of_differences_is_the_median_over_pairs(write_suite, tmp_path):
    path, store = write_suite(SUITE), Store(tmp_path / "store")
    cells = [cell for cell in api.plan(path).unique if cell.role == "measure"]
    assert estimate.spread(cells, store) is None
    api.run(path, store=tmp_path / "store", workers=1)
    by_setting: dict[str, list[np.ndarray]] = {}
    for cell in cells:
        by_setting.setdefault(cell.label, []).append(store.arrays(cell.key, VERDICTS)["accuracy"])
    pairs = [
        (a, b) for arrays in by_setting.values() for i, a in enumerate(arrays) for b in arrays[:i]
    ]
    assert len(pairs) == 6
    assert estimate.spread(cells, store) == pytest.approx(
        np.median([np.std(a - b, ddof=1) for a, b in pairs])
    )
    assert estimate.spread(cells[:1], store) is None


def training(kind: str, dataset: str = "mnist", **keys) -> dict:
    config = learners[kind].Config.model_validate(keys).model_dump(mode="json")
    return {
        "role": "train",
        "learner": {"kind": kind, "config": config},
        "dataset": {"kind": dataset, "config": {}, "content": "0"},
        "splitting": "standard",
        "labelled": True,
        "budget": None,
        "device": "cpu",
        "seed": 0,
    }


def attacked(attack: dict, **keys) -> dict:
    identity = training("mlp", "mnist5k", hidden=100)
    setting = {"attack": attack["attack"], "config": attack, "images": 100, **keys}
    protocol = {"kind": "attack_sweep"}
    return {**identity, "role": "measure", "protocol": protocol, "setting": setting}


def cell(identity: dict, key: str = "k") -> Cell:
    return Cell(key, identity["role"], identity, None, "rule", "", "")


def store_of(folder, *finished: tuple[dict, float]) -> Store:
    """A store of finished cells with their seconds."""
    store = Store(folder)
    store.prepare()
    for number, (identity, seconds) in enumerate(finished):
        store.write(f"k{number}", CellResult(identity, wall_s=seconds), {})
    return store


def expected(identity: dict, store: Store) -> estimate.Expected:
    return estimate.expectations([cell(identity)], store)["k"]


@pytest.fixture
def times(tmp_path, monkeypatch):
    """A file of learned times of its own, on a machine of speed 1."""
    file = tmp_path / "cache" / "times.json"
    monkeypatch.setenv("HARNESS_TIMES", str(file))
    monkeypatch.setattr(learned, "measured_speed", lambda: 1.0)
    return file


@pytest.mark.parametrize(
    ("first", "second", "factor"),
    [
        (training("mlp", epochs=5), training("mlp", epochs=20), 4.0),
        (training("mlp", epochs=5), {**training("mlp", epochs=5), "budget": 60_000}, 0.2),
        (training("mlp", "mnist5k", epochs=5), training("mlp", epochs=5), 60_000 / 3500),
        (training("mlp", hidden=500), training("mlp", hidden=2000), 4.0),
    ],
    ids=["epochs", "budget", "images", "width"],
)
def test_the_work_of_a_training_scales_with(first, second, factor):
    assert cost(second) / cost(first) == pytest.approx(factor, rel=0.3)


def test_an_autoattack_costs_a_hundred_times_an_fgsm():
    fgsm = {"attack": "fgsm", "eps": [0.1], "loss": ["ce"]}
    auto = {"attack": "autoattack", "eps": [0.1], "steps": 100, "queries": 5000}
    assert gradients(auto) / gradients(fgsm) > 100
    assert cost(attacked(auto)) / cost(attacked(fgsm)) > 10
    more = attacked(auto, images=1000)
    assert cost(more) / cost(attacked(auto)) == pytest.approx(10, rel=0.3)


MEASURED_S = {
    # 4,000 images of mnist5k at the defaults of suites/families/mnist.yaml, on one busy core
    "mlp": (0.55, {"hidden": 1000, "epochs": 10, "batch_size": 100}),
    "hebbian-conv": (7.7, {}),
    "lif": (3.5, {"hidden": 1000, "steps": 10, "epochs": 20, "batch_size": 100}),
    "predictive-coding": (0.86, {"inference_steps": 8, "epochs": 25, "batch_size": 128}),
    "equilibrium-propagation": (3.06, {"hidden": 512, "epochs": 30}),
    "bcpnn": (9.87, {"hidden": 3000, "hypercolumns": 30}),
    "lca": (22.6, {"hidden": 1000, "epochs": 3}),
    "stdp": (27.9, {}),
    "pepita": (0.66, {"epochs": 60}),
}


@pytest.mark.parametrize("kind", MEASURED_S)
def test_a_guess_is_right_within_a_factor_of_three(kind):
    seconds, keys = MEASURED_S[kind]
    guess = cost({**training(kind, "mnist5k", **keys), "budget": 4000})
    assert 1 / 3 < seconds / guess < 3


def test_a_store_without_like_cells_gives_a_guess_and_says_so(tmp_path):
    one = expected(training("mlp"), store_of(tmp_path))
    assert (one.basis, one.seconds) == ("guess", cost(training("mlp")))


def test_like_cells_tell_the_time_scaled_by_the_work(tmp_path):
    store = store_of(tmp_path, *((training("mlp", epochs=5), s) for s in (2.0, 4.0, 60.0)))
    same = expected(training("mlp", epochs=5), store)
    longer = expected(training("mlp", epochs=20), store)
    assert same.basis == longer.basis == "store"
    assert same.seconds == pytest.approx(4.0)
    assert longer.seconds == pytest.approx(16.0, rel=0.1)


def test_less_alike_cells_leave_more_doubt(tmp_path):
    store = store_of(tmp_path, (training("mlp"), 60.0))
    same, elsewhere = expected(training("mlp"), store), expected(training("mlp", "digits"), store)
    assert same.doubt < elsewhere.doubt < estimate.DOUBTS["guess"][0]
    assert expected(training("cnn"), store).basis == "guess"


def test_cells_of_a_thousandth_of_the_work_say_little(tmp_path):
    """A second of overhead in a tiny training is not a thousand in a large one."""
    large = training("mlp", "mnist", epochs=50)
    tiny = {**training("mlp", "digits", epochs=1), "budget": 200}
    known = expected(large, store_of(tmp_path, (tiny, 1.0)))
    assert cost(large) < known.seconds < 2 * cost(large)
    assert known.doubt > 2 * estimate.DOUBTS["store"][1]


def test_a_training_of_no_epochs_costs_a_fraction_of_one():
    assert cost(training("lca", epochs=0)) < 0.2 * cost(training("lca", epochs=1))


def test_a_match_takes_the_time_of_its_trainings(tmp_path):
    store = store_of(tmp_path, (training("mlp"), 60.0))
    search = {**training("mlp"), "role": "match"}
    assert expected(search, store).seconds == pytest.approx(6 * 60.0, rel=0.1)


def test_a_new_store_knows_what_earlier_runs_learned(times, tmp_path):
    before = store_of(tmp_path / "old", (training("mlp", epochs=5), 40.0))
    learned.learn(estimate.observed(before, before.finished()))
    assert times.is_file()
    now = expected(training("mlp", epochs=10), store_of(tmp_path / "new"))
    assert now.basis == "learned"
    assert now.seconds == pytest.approx(80.0, rel=0.1)


def test_learned_times_hold_on_a_machine_of_another_speed(times, tmp_path, monkeypatch):
    before = store_of(tmp_path / "old", (training("mlp"), 40.0))
    learned.learn(estimate.observed(before, before.finished()))
    monkeypatch.setattr(learned.platform, "node", lambda: "another")
    monkeypatch.setattr(learned, "measured_speed", lambda: 4.0)
    now = expected(training("mlp"), store_of(tmp_path / "new"))
    assert now.seconds == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"rates": {"x": 1}, "speeds": {}}', "é"])
def test_a_damaged_file_of_times_is_as_none(times, tmp_path, content):
    times.parent.mkdir(parents=True)
    times.write_text(content, encoding="latin-1")
    assert expected(training("mlp"), store_of(tmp_path / "new")).basis == "guess"
    learned.learn({("train", "mlp"): [Rate(2.0, 5.0)]})
    assert learned.learned_rates() == {("train", "mlp"): Rate(2.0, pytest.approx(5.0))}


def test_times_that_cannot_be_kept_are_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (str(tmp_path / "file" / "times.json"), ""):
        monkeypatch.setenv("HARNESS_TIMES", place)
        learned.learn({("train", "mlp"): [Rate(2.0, 5.0)]})
        assert learned.learned_rates() == {}


def test_a_learned_rate_moves_towards_new_cells(times):
    for _ in range(30):
        learned.learn({("a",): [Rate(1.0, 1.0)]})
    for _ in range(30):
        learned.learn({("a",): [Rate(4.0, 1.0)]})
    assert 2.5 < learned.learned_rates()[("a",)].value < 4.0


def test_the_speed_of_a_machine_is_measured_in_well_under_a_second():
    first, second = learned.measured_speed(), learned.measured_speed()
    assert abs(math.log(first / second)) < 0.7


def test_cells_of_strangers_import_nothing_and_stop_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    odd = training("mlp")
    plugin = {**odd, "learner": {"kind": "evil:Learner", "config": {"epochs": "many"}}}
    data = {**odd, "dataset": {"kind": "evil:Data", "config": {}, "content": "0"}}
    absent = {**odd, "learner": {"kind": "no such learner", "config": {}}}
    huge = {**odd, "learner": {"kind": "mlp", "config": {"epochs": 10**400}}}
    store = store_of(tmp_path / "store", *((each, 2.0) for each in (plugin, data, absent, huge)))
    assert expected(training("cnn"), store).basis == "guess"
    assert all(0 < cost(each) < math.inf for each in (plugin, data, absent, huge))
