"""Matching: the chosen value is near its target or reported not to be; no test image is used."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness import api
from harness.cells import matching
from harness.cells import plan as planning
from harness.cells import run as cells
from harness.cells.cell import Cell
from harness.cells.matching import ROUNDING, Match, search
from harness.cells.run import Conditions
from harness.cli import app
from harness.data import acquire
from harness.errors import SuiteError
from harness.execute.session import RunOptions
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.biology import Biology, BiologySetting
from harness.publish import leaderboard, submission
from harness.registry import learners
from harness.report import claims, claims_text, compare
from harness.report.tables import build_all
from harness.rng import Rng
from harness.storage.store import CellResult, Store
from harness.suite import load as suite
from harness.suite.specs.claims import ClaimSpec
from harness.suite.specs.match import MatchConfig, Search, search_for

SUITE = """
name: matched
seeds: [0, 1]
defaults: {learners: {mlp: {hidden: 32, epochs: 4, lr: 0.01}}}
learners:
  bio: {kind: ech, hidden: 40, epochs: 3, readout_steps: 50}
  l1: {kind: mlp, match: {density: 0.5}}
  pruned: {kind: mlp, match: {density: bio, vary: density}}
  far: {kind: mlp, match: {clean_accuracy: 0.05, vary: {l1: [1.0e-5, 1.0e-4]}}}
protocols:
  plain: {kind: classification, dataset: digits}
"""
CHAINED = SUITE.replace(
    "protocols:", "  chain: {kind: mlp, match: {density: pruned, vary: density}}\nprotocols:"
)


# --------------------------------------------------------------------------------------- the search


def task(**changed) -> Search:
    return Search(
        **{
            "measure": "density",
            "target": 0.5,
            "key": "l1",
            "low": 1e-6,
            "high": 1e-1,
            "scale": "log",
            "whole": False,
            "tolerance": 0.01,
            "trainings": 40,
            **changed,
        }
    )


class Counted:
    """A number that falls (or rises) with the logarithm of a value, with noise; counts calls."""

    def __init__(self, middle: float, width: float, noise: float = 0.0, rising: bool = False):
        self.middle, self.width, self.noise, self.sign = middle, width, noise, -1 if rising else 1
        self.asked: list[float] = []

    def __call__(self, value: float) -> float:
        self.asked.append(value)
        wobble = self.noise * math.sin(1e6 * math.log(value))
        return (
            1 / (1 + math.exp(self.sign * (math.log10(value) - self.middle) / self.width)) + wobble
        )


@settings(deadline=None)
@given(
    middle=st.floats(-4.5, -2.5),
    width=st.floats(0.05, 0.4),
    wanted=st.floats(0.1, 0.9),
    noise=st.floats(0, 0.004),
    rising=st.booleans(),
)
def test_a_number_within_reach_is_reached(middle, width, wanted, noise, rising):
    number = Counted(middle, width, noise, rising)
    match = search(number, wanted, task())
    assert match.near and abs(match.reached - wanted) <= 0.01
    assert len(number.asked) == len(set(number.asked)) == len(match.tried) <= 20
    assert number(match.value) == match.reached and match.value == float(f"{match.value:.3g}")


@settings(deadline=None)
@given(
    values=st.lists(st.floats(0, 1), min_size=3, max_size=30),
    wanted=st.floats(0.01, 1),
    trainings=st.integers(2, 12),
)
def test_whatever_the_number_does_the_nearest_that_was_tried_is_chosen(values, wanted, trainings):
    asked = []

    def number(value: float) -> float:
        asked.append(value)
        return values[len(asked) % len(values)]

    match = search(number, wanted, task(trainings=trainings))
    assert (
        asked == [value for value, _ in match.tried] and len(set(asked)) == len(asked) <= trainings
    )
    assert all(1e-6 <= value <= 1e-1 for value in asked)
    gaps = [abs(found - wanted) for _, found in match.tried]
    assert abs(match.reached - wanted) == min(gaps)
    assert match.near == (min(gaps) <= 0.01 + ROUNDING)


@settings(deadline=None)
@given(
    middle=st.floats(-4, -2),
    width=st.floats(0.1, 0.3),
    wanted=st.floats(0.3, 0.96),
    rising=st.booleans(),
)
def test_of_all_values_that_keep_an_accuracy_the_strongest_is_taken(middle, width, wanted, rising):
    number = Counted(middle, width, rising=rising)

    def accuracy(value: float) -> float:
        return 0.1 + 0.83 * number(value)

    match = search(accuracy, wanted, task(measure="clean_accuracy"))
    plateau = max(accuracy(1e-6), accuracy(1e-1))
    assert len(match.tried) <= 9 and (wanted <= plateau + 0.011 or not match.near)
    if match.near:
        # It is at the edge, not on the flat part of the curve: a little stronger is too much.
        step = 1.01 * 10 ** (5 * matching.EDGE)
        assert match.reached >= wanted - 0.01 - 1e-9
        assert accuracy(match.value / step if rising else match.value * step) < wanted - 0.01
    elif wanted > plateau:
        assert match.reached == max(found for _, found in match.tried)


def test_an_accuracy_that_nothing_spoils_is_kept_by_the_strongest_of_all():
    match = search(lambda _: 0.92, 0.92, task(measure="clean_accuracy"))
    assert (match.value, match.near, len(match.tried)) == (1e-1, True, 2)
    match = search(lambda value: 0.99 - value, 0.5, task(measure="clean_accuracy"))
    assert (match.value, match.near, len(match.tried)) == (1e-1, False, 2)


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_out_of_reach_takes_three_trainings_at_most_and_is_said(level):
    match = search(lambda value: level - value, 0.5, task())
    assert not match.near and len(match.tried) == (3 if level < 0.5 else 2)
    assert match.value == (1e-6 if level < 0.5 else 1e-1)


def test_a_hump_between_ends_that_are_both_too_low_is_found():
    for measure in ("density", "clean_accuracy"):
        assert search(
            lambda value: 0.6 - 0.2 * (math.log10(value) + 3.5) ** 2, 0.5, task(measure=measure)
        ).near


def test_an_end_that_is_near_enough_ends_the_search():
    assert search(lambda value: 0.505, 0.5, task()).tried == [[1e-6, 0.505]]


def test_ends_of_many_digits_are_ends():
    match = search(
        lambda value: 0.95 - value,
        0.9,
        task(measure="clean_accuracy", low=1.23456e-3, high=0.12345, scale="log"),
    )
    assert match.near and 0.055 <= match.value <= 0.06


def test_whole_numbers_stay_whole():
    match = search(lambda value: value / 40, 0.43, task(key="epochs", low=1, high=40, whole=True))
    assert (
        match.value == 17 and match.near and all(isinstance(value, int) for value, _ in match.tried)
    )


def test_a_linear_scale_finds_a_straight_line_at_once():
    match = search(
        lambda value: value,
        0.283,
        task(key="density", low=0.01, high=1.0, scale="linear", tolerance=1e-6),
    )
    assert match.value == 0.283 and len(match.tried) == 3


# ---------------------------------------------------------------------------------------- the suite


@pytest.mark.parametrize(
    ("learner", "line", "words"),
    [
        ("{kind: mlp, match: {density: boi}}", 6, "unknown learner 'boi'"),
        ("{kind: mlp, match: {clean_accuracy: own}}", 6, "waits for itself: own -> own"),
        (
            "{kind: mlp, match: {density: other}}\n  other: {kind: mlp, match: {density: own}}",
            6,
            "waits for itself: own -> other -> own",
        ),
        (
            "{kind: mlp, match: {density: 0.3, clean_accuracy: 0.9}}",
            6,
            "one of `density` and `clean_accuracy`",
        ),
        ("{kind: mlp, match: {}}", 6, "one of `density` and `clean_accuracy`"),
        ("{kind: mlp, match: {density: 1.5}}", 6, "density"),
        ("{kind: mlp, match: {denisty: 0.3}}", 6, "did you mean 'density'"),
        ("{kind: mlp, match: 0.3}", 6, "match is a mapping"),
        ("{kind: mlp, macth: {density: 0.3}}", 6, "did you mean 'match'"),
        ("{kind: mlp, match: {density: 0.3, vary: l2}}", 6, "no key 'l2' to vary"),
        ("{kind: mlp, match: {density: 0.3, vary: {l2: [1, 2]}}}", 6, "no key 'l2' to vary"),
        ("{kind: mlp, match: {density: 0.3, vary: lr}}", 6, "gives no range for 'lr'"),
        ("{kind: mlp, match: {density: 0.3, vary: {optimiser: [0, 1]}}}", 6, "is not a number"),
        ("{kind: mlp, match: {density: 0.3, vary: {non_negative: [0, 1]}}}", 6, "is not a number"),
        (
            "{kind: mlp, match: {density: 0.3, vary: {l1: [1.0e-2, 1.0e-5]}}}",
            6,
            "smaller end comes first",
        ),
        ("{kind: mlp, match: {density: 0.3, vary: {l1: [0, 1.0e-2]}}}", 6, "begins above 0"),
        ("{kind: mlp, match: {density: 0.3, vary: {l1: [-1, 1.0e-2], lr: [1, 2]}}}", 6, "one key"),
        (
            "{kind: mlp, match: {density: 0.3, scale: linear, vary: {l1: [-1, 1.0e-2]}}}",
            6,
            "greater than or equal to 0",
        ),
        (
            "{kind: mlp, match: {density: 0.3, vary: {density: [0.1, 2]}}}",
            6,
            "less than or equal to 1",
        ),
        ("{kind: mlp, match: {density: 0.3, vary: {hidden: [10.5, 20]}}}", 6, "whole numbers"),
        ("{kind: mlp, match: {density: 0.3, trainings: 1}}", 6, "trainings"),
        ("{kind: mlp, match: {density: 0.3, tolerance: 0}}", 6, "tolerance"),
        ("{kind: mlp, l1: 0.1, match: {density: 0.3}}", 6, "`match` chooses 'l1'"),
        ("{kind: nearest-mean, match: {density: 0.3}}", 6, "does not say which key"),
        ("{kind: mlp, match: {density: pixels}}\nbudget: {images: 0}", 7, "images"),
    ],
)
def test_faults_are_named_where_they_stand(write_suite, learner, line, words):
    path = write_suite(f"""
name: faulty
learners:
  bio: {{kind: ech}}
  pixels: {{kind: nearest-mean}}
  own: {learner}
protocols:
  plain: {{kind: classification, dataset: digits}}
""")
    with pytest.raises(SuiteError) as error:
        suite.load(path)
    assert words in str(error.value) and str(error.value).startswith(f"{path}:{line}:")


@pytest.mark.parametrize(
    ("protocol", "measure", "why"),
    [
        (
            "{kind: few_shot, dataset: glyphs, regime: from_scratch}",
            "density",
            "this protocol trains none",
        ),
        (
            "{kind: low_data, dataset: digits, per_class: [1]}",
            "density",
            "this protocol trains none",
        ),
        (
            "{kind: few_shot, dataset: glyphs, regime: class_transfer}",
            "clean_accuracy",
            "no validation images of the classes",
        ),
    ],
)
def test_what_cannot_be_matched_is_left_out_and_refused_where_it_is_named(
    write_suite, protocol, measure, why
):
    text = f"""
name: faulty
learners:
  bio: {{kind: random-features}}
  own: {{kind: mlp, match: {{{measure}: 0.5}}}}
protocols:
  few: {protocol}
"""
    (entry,) = suite.load(write_suite(text)).protocols
    assert [one.name for one in entry.learners] == ["bio"] and why in entry.skipped["own"]
    with pytest.raises(SuiteError, match="cannot measure 'own'"):
        suite.load(write_suite(text.replace(protocol, protocol[:-1] + ", learners: [own]}")))


@pytest.mark.parametrize("kind", [kind for kind in learners if learners[kind].tunable])
def test_one_line_is_enough_for_learners_that_declare_a_key(kind):
    for one in learners[kind].tunable:
        found = search_for(MatchConfig(density=0.3, vary=one.key), learners[kind])
        assert (found.key, found.low, found.high, found.scale) == (
            one.key,
            one.low,
            one.high,
            one.scale,
        )
    assert search_for(MatchConfig(density=0.3), learners[kind]).key == learners[kind].tunable[0].key


# ----------------------------------------------------------------------------------------- the plan


def outcome(value: float, training: str = "") -> CellResult:
    return CellResult(
        {},
        log={
            "match": Match("density", "l1", value, 0.5, 0.5, 0.01, True, [[value, 0.5]]).to_dict(),
            "training": training,
        },
    )


def test_what_stands_behind_a_match_waits_and_then_is_that_of_the_plain_config(write_suite):
    text = CHAINED.replace("seeds: [0, 1]", "seeds: [3]", 1)
    loaded = suite.load(write_suite(text))
    blind = planning.make(loaded, content_hash=lambda _: "hash")
    assert {cell.learner for cell in blind.unique if cell.role == "measure"} == {"bio"}
    assert {cell.learner for cell in blind.waiting} == {"l1", "pruned", "far", "chain"}
    assert [cell.learner for cell in blind.waiting if cell.role == "match"] == ["chain"]
    keys = [cell.key for cell in [*blind.unique, *blind.waiting]]
    assert len(set(keys)) == len(keys)
    seen = planning.make(loaded, content_hash=lambda _: "hash", lookup=lambda key: outcome(0.003))
    assert not seen.waiting
    plain = planning.make(
        suite.load(write_suite(text.replace("match: {density: 0.5}", "l1: 0.003"), "plain.yaml")),
        content_hash=lambda _: "hash",
        lookup=lambda key: outcome(0.003),
    )
    own = [
        {cell.key for cell in layout.cells if cell.learner == "l1" and cell.role != "match"}
        for layout in (seen, plain)
    ]
    assert own[0] == own[1] and len(own[0]) == 2  # the training and the measurement


def test_what_is_to_be_reached_belongs_to_the_key_of_a_match(write_suite):
    def match_of(text: str, learner: str) -> str:
        layout = planning.make(suite.load(write_suite(text)), content_hash=lambda _: "hash")
        return next(
            cell.key
            for cell in layout.unique
            if (cell.learner, cell.role, cell.seed) == (learner, "match", 0)
        )

    for old, new in [
        ("density: 0.5", "density: 0.51"),
        ("density: 0.5", "density: 0.5, tolerance: 0.02"),
        ("density: 0.5", "density: 0.5, vary: density"),
    ]:
        assert match_of(SUITE, "l1") != match_of(SUITE.replace(old, new), "l1")
    assert match_of(SUITE, "pruned") != match_of(
        SUITE.replace("hidden: 40", "hidden: 41"), "pruned"
    )
    renamed = SUITE.replace("bio: {kind", "rule: {kind").replace("density: bio", "density: rule")
    assert match_of(SUITE, "pruned") == match_of(renamed, "pruned")


# ------------------------------------------------------------------------------------------ running


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(suite file, store folder, run) of a run with two workers."""
    folder = tmp_path_factory.mktemp("matched")
    path = folder / "matched.yaml"
    path.write_text(SUITE)
    return path, folder / "store", api.run(path, store=folder / "store", workers=2)


def trained(store: Path) -> dict[str, str]:
    """Every training in a store, and when it was made."""
    held = Store(store)
    return {
        key: held.read(key).created
        for key in held.finished()
        if held.read(key).identity["role"] == "train"
    }


def test_a_run_matches_once_a_seed_and_measures_what_was_chosen(ran):
    _, _, run = ran
    assert not run.outcome.failed and not run.plan.waiting
    found = run.results.matches["plain"]
    assert [(one.seed, one.match.near) for one in found["l1"]] == [(0, True), (1, True)]
    assert set(found) == {"l1", "pruned", "far"}
    assert {record.learner for record in run.results.records if record.protocol == "plain"} == {
        "bio",
        *found,
    }


def test_the_density_that_is_matched_is_that_of_the_biology_audit(ran):
    _, store, run = ran
    data = acquire.load(run.plan.suite.protocols[0].dataset)[0]
    first = {name: found[0].match for name, found in run.results.matches["plain"].items()}

    def live_share(learner: str) -> float:
        cell = next(
            cell
            for cell in run.plan.unique
            if (cell.role, cell.learner, cell.seed) == ("measure", learner, 0)
        )
        setting = BiologySetting("standard", "val", 20, over_time=False, label_effect=False)
        conditions = Conditions(Store(store))
        training = conditions.store.read(cell.training)
        trained = cells._trained(cell, cell.training, training, conditions)
        values = Biology.measure(trained, data, setting, Context(Rng(0), "cpu", 64, silent))
        return next(value.value for value in values.values if value.metric == "live_share")

    assert live_share("l1") == first["l1"].reached and abs(first["l1"].reached - 0.5) <= 0.01
    assert (
        live_share("bio") == first["pruned"].wanted
        and live_share("pruned") == first["pruned"].reached
    )


def test_a_target_out_of_reach_is_said_under_every_table(ran):
    results = ran[2].results
    assert not any(one.match.near for one in results.matches["plain"]["far"])
    (table,) = [table for table in build_all(results, []) if table.name == "plain"]
    notes = "\n".join(table.notes)
    assert (
        "Not matched: far, seed 0, 1: no tried l1 reaches" in notes
        and "Not matched: l1" not in notes
    )
    assert (
        "Matched: pruned to density of bio within 0.01 (digits/standard): seed 0: density = "
        in notes
    )


def test_a_claim_against_a_matched_control_says_what_was_chosen(ran):
    spec = ClaimSpec.model_validate(
        {
            "name": "better",
            "claim": "it is",
            "learner": "bio",
            "controls": ["far"],
            "measures": [{"protocol": "plain", "above_controls_by": 0}],
        }
    )
    notes = "\n".join(claims_text.notes(claims.decide(ran[2].results, [spec]), [spec]))
    assert "Matched: far to clean accuracy 0.05" in notes and "Not matched: far, seed 0, 1" in notes
    assert "l1 to density" not in notes


def test_another_run_finds_everything_done(ran):
    path, store, run = ran
    before = trained(store)
    again = api.run(path, store=store, workers=1)
    assert again.outcome.done == [] and trained(store) == before
    assert [r.value for r in again.results.records] == [r.value for r in run.results.records]


def test_the_chosen_config_written_out_is_the_same_work(ran, write_suite):
    _, store, run = ran
    value = run.results.matches["plain"]["l1"][0].match.value
    text = SUITE.replace("seeds: [0, 1]", "seeds: [0]", 1).replace(
        "match: {density: 0.5}", f"l1: {value!r}"
    )
    plain = api.plan(write_suite(text), store=store)
    assert all(Store(store).done(cell.key) for cell in plain.unique if cell.learner == "l1")


def test_comparisons_know_the_value_that_was_chosen(ran, write_suite):
    path, store, run = ran
    configs = api.measured(path, store=store).learners
    found = {
        f"digits/standard, seed {one.seed}": one.match.value
        for one in run.results.matches["plain"]["l1"]
    }
    chosen = configs["l1"]["config"]["l1"]
    assert chosen == (found if len(set(found.values())) > 1 else next(iter(found.values())))
    assert compare.learners(api.measured(path, store=store), "bio", "l1")


def test_a_submission_carries_what_was_chosen_and_a_board_shows_it(ran, tmp_path):
    path, store, run = ran
    submission.pack(run.plan, Store(store), submission.suite_text(path), tmp_path / "matched.zip")
    read = submission.read(tmp_path / "matched.zip")
    assert (
        read.results.matches == run.results.matches and read.results.configs == run.results.configs
    )
    board = leaderboard.gather([path, tmp_path / "matched.zip"], RunOptions(store=store))
    assert not board.refused and board.divisions[0].results.matches == run.results.matches


def test_a_submission_cannot_pass_off_another_config_as_the_chosen_one(ran, tmp_path):
    path, store, run = ran
    outlined = replace(
        run.plan,
        suite=replace(
            run.plan.suite,
            learners=[
                replace(entry, match=replace(entry.match, key="weight_decay"))
                if entry.name == "l1"
                else entry
                for entry in run.plan.suite.learners
            ],
        ),
    )
    submission.pack(outlined, Store(store), "", tmp_path / "other.zip")
    with pytest.raises(
        submission.HarnessError, match="not of the learner that it is named after, 'l1'"
    ):
        submission.read(tmp_path / "other.zip")


def test_a_plan_says_what_is_not_yet_resolved(write_suite, tmp_path):
    words = ["plan", str(write_suite(CHAINED)), "--store", str(tmp_path)]
    assert "not yet resolved" in CliRunner().invoke(app, words).output
    rows = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["cells"]
    waiting = [row for row in rows if row["key"] is None]
    assert {row["learner"] for row in waiting} == {"l1", "pruned", "far", "chain"} and not any(
        row["done"] for row in rows
    )
    matches = [row for row in rows if row["what"] == "match"]
    trainings = [row for row in rows if row["what"] == "train"]
    at_most = max(row["seconds"] for row in trainings)  # rounded
    assert all(row["seconds"] >= at_most for row in matches)
    assert sum(row["seconds"] for row in matches) > at_most


# ---------------------------------------------------------------------------------------- one match


def first_match(path: Path, store: Path, learner: str) -> tuple[Cell, Conditions]:
    Store(store).prepare()
    layout = api.plan(path, store=store)
    for cell in layout.unique:
        if cell.role == "train" and cell.seed == 0:
            cells.run(cell, Conditions(Store(store)), silent)
    return next(
        cell
        for cell in layout.unique
        if (cell.role, cell.learner, cell.seed) == ("match", learner, 0)
    ), Conditions(Store(store))


def test_no_test_image_is_within_reach_of_a_choice(write_suite, tmp_path, monkeypatch):
    text = SUITE.replace("match: {density: bio, vary: density}", "match: {clean_accuracy: bio}")
    cell, conditions = first_match(write_suite(text), tmp_path / "store", "pruned")
    whole = cells._dataset(cell, None)
    part = {key: rows for key, rows in whole.splittings["standard"].items() if key != "test"}
    monkeypatch.setattr(cells, "_dataset", lambda *_: replace(whole, splittings={"standard": part}))
    cells.run(cell, conditions, silent)
    log = conditions.store.read(cell.key).log["match"]
    images = whole.split("standard", "val")
    training = conditions.store.read(cell.training)
    learner = cells._trained(cell, cell.training, training, conditions)
    assert (
        log["wanted"] == matching.clean_accuracy(learner, images, 64)
        and round(log["wanted"] * len(images)) > 0
    )


def test_what_was_trained_before_a_match_was_cut_off_is_kept(write_suite, tmp_path):
    cell, conditions = first_match(write_suite(SUITE), tmp_path / "store", "l1")
    before = trained(tmp_path / "store")

    def cut(fraction: float, note: str) -> None:
        if note.startswith("training 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells.run(cell, conditions, cut)
    kept = {key: when for key, when in trained(tmp_path / "store").items() if key not in before}
    assert len(kept) == 2 and not conditions.store.done(cell.key)
    notes = []
    cells.run(cell, conditions, lambda fraction, note: notes.append((fraction, note)))
    after = trained(tmp_path / "store")
    assert {key: after[key] for key in kept} == kept
    assert (
        not any(note.startswith(("training 1", "training 2")) for _, note in notes)
        and max(f for f, _ in notes) <= 1
    )
    whole, _ = first_match(write_suite(SUITE), tmp_path / "other", "l1")
    cells.run(whole, Conditions(Store(tmp_path / "other")), silent)
    assert Store(tmp_path / "other").read(cell.key).log == conditions.store.read(cell.key).log


def test_a_damaged_training_is_made_again(write_suite, tmp_path):
    cell, conditions = first_match(write_suite(SUITE), tmp_path / "store", "l1")
    cells.run(cell, conditions, silent)
    store = tmp_path / "store" / "cells"
    first = conditions.store.read(cell.key).log
    (store / first["training"] / "weights.safetensors").write_bytes(b"x")
    for path in (store / cell.key).iterdir():
        path.unlink()
    (store / cell.key).rmdir()
    cells.run(cell, conditions, silent)
    assert (
        conditions.store.read(cell.key).log == first
        and conditions.store.read(first["training"]) is not None
    )


def test_a_match_that_fails_is_told_with_the_numbers_that_it_leaves_out(write_suite, tmp_path):
    run = api.run(
        write_suite("""
name: failing
learners:
  pixels: {kind: nearest-mean}
  l1: {kind: mlp, hidden: 8, epochs: 1, match: {density: pixels}}
protocols:
  plain: {kind: classification, dataset: digits}
"""),
        store=tmp_path / "store",
        workers=1,
    )
    assert [(r.learner, r.value > 0) for r in run.results.records] == [("pixels", True)]
    why = (
        "not measured: its match failed "
        "(ValueError: 'nearest-mean' has no synapses whose density could be matched)"
    )
    assert run.results.failures == [("l1", "plain", 0, why)]


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_match_goes_on_where_it_was(write_suite, tmp_path):
    path = write_suite(
        SUITE.replace("epochs: 4", "epochs: 60").replace("seeds: [0, 1]", "seeds: [0]", 1)
    )
    words = [
        sys.executable,
        "-m",
        "harness",
        "run",
        str(path),
        "--store",
        str(tmp_path / "store"),
        "--workers",
        "2",
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while len(trained(tmp_path / "store")) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    kept = trained(tmp_path / "store")
    assert len(kept) >= 4
    run = api.run(path, store=tmp_path / "store", workers=2)
    after = trained(tmp_path / "store")
    assert not run.outcome.failed and {key: after[key] for key in kept} == kept
    whole = api.run(path, store=tmp_path / "whole", workers=1)
    assert [(r.learner, r.metric, r.value) for r in run.results.records] == [
        (r.learner, r.metric, r.value) for r in whole.results.records
    ]
    assert (
        set(trained(tmp_path / "whole")) == set(after)
        and np.isfinite([r.value for r in run.results.records]).all()
    )
