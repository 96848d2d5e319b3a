"""Every learner's adversarial images against every other: cells, verdicts, and the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.attacks.engine.crafting import craft
from harness.attacks.pgd import PGD
from harness.cells import plan
from harness.cells.collect import collect
from harness.cells.run import Conditions, run
from harness.learning.learner import silent
from harness.records import NO_ATTACK
from harness.report.heat_map import transfer_heat_map
from harness.rng import Rng
from harness.storage.store import Store
from harness.suite.load import load

SUITE = """
name: matrix
learners:
  backprop: {kind: mlp, hidden: 20, epochs: 1}
  pixels: {kind: nearest-mean}
protocols:
  matrix:
    kind: transfer_matrix
    dataset: digits
    images: 40
    attack: {attack: pgd, eps: 0.2, steps: 5}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "suite.yaml"
    path.write_text(SUITE)
    return load(path)


@pytest.fixture(scope="module")
def finished(suite, tmp_path_factory):
    """The plan, its results, and their store."""
    store = Store(tmp_path_factory.mktemp("store"))
    made = plan.make(suite)
    for cell in made.cells:
        if not store.done(cell.key):
            run(cell, Conditions(store), silent)
    return made, collect(made, store), store


def test_each_pair_is_a_cell_that_needs_the_images_and_a_training(suite):
    cells = plan.make(suite).cells
    measured = {cell.learner: cell for cell in cells if cell.role == "measure"}
    judged = [cell for cell in cells if cell.role == "judge"]
    pairs = {(cell.learner, cell.setting.source) for cell in judged}
    assert pairs == {(a, b) for a in measured for b in measured} and len(judged) == 4
    for cell in judged:
        assert cell.needs == measured[cell.setting.source].key
        assert cell.training == measured[cell.learner].training
        order = [cell.role for cell in cells]
        assert order.index("judge") > len(order) - 1 - order[::-1].index("measure")


def test_a_further_learner_reruns_no_attack(suite, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("  pixels:", "  other: {kind: mlp, hidden: 10}\n  pixels:"))
    before, after = ({cell.key for cell in plan.make(each).cells} for each in (suite, load(path)))
    assert before < after


def test_verdicts_are_those_of_the_stored_images_on_the_other_network(finished):
    made, results, store = finished
    accuracy = {
        (record.learner, record.setting["source"]): record.value
        for record in results.records
        if record.metric == "accuracy"
    }
    assert set(accuracy) == {
        (a, b) for a in ("backprop", "pixels") for b in (NO_ATTACK, "backprop", "pixels")
    }
    for name in ("backprop", "pixels"):
        cell = next(c for c in made.cells if c.role == "measure" and c.learner == name)
        own = store.arrays(cell.key)
        assert own["adversarial"].shape == (40, 1, 8, 8) and own["adversarial"].dtype == np.float32
        # A fresh copy of the network gives the verdict that was found while attacking.
        assert accuracy[name, name] == pytest.approx(own["withstood"].mean())
        assert accuracy[name, name] <= accuracy[name, NO_ATTACK]


def test_transferred_counts_images_that_both_had_right_and_that_broke_the_source(finished):
    made, results, store = finished
    arrays = {}
    for cell in made.cells:
        if cell.role in ("measure", "judge"):
            source = cell.setting.source
            arrays[cell.learner, source] = store.arrays(cell.key)
    for record in results.records:
        if record.metric == "transferred":
            source = record.setting["source"]
            made_for = arrays[source, ""]
            compared = (
                (made_for["correct"] == 1)
                & (made_for["withstood"] == 0)
                & (arrays[record.learner, ""]["correct"] == 1)
            )
            broken = arrays[record.learner, source]["correct"][compared] == 0
            assert record.n == compared.sum() and record.value == pytest.approx(broken.mean())
            assert record.learner != source or record.value == 1


def test_reports_carry_no_images(finished):
    from harness.publish.shown import shown_arrays

    names = set().union(*shown_arrays(finished[1]).values())
    assert "adversarial" not in names and "correct" in names


def test_the_picture_has_a_square_for_each_pair(finished):
    figure = transfer_heat_map(finished[1], "matrix")
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_xticklabels()] == [NO_ATTACK, "backprop", "pixels"]
    assert axis.images[0].get_array().shape == (2, 3)
    assert len(axis.texts) == 6


def test_crafted_images_are_inside_the_budget_and_go_past_the_first_mistake():
    """On a linear network the strongest perturbation is known: eps times the sign of the slope."""
    weights = torch.tensor([[3.0, -1, 2, 0.5]])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False)).eval()
    model[1].weight.data = torch.cat([weights, -weights])
    images = torch.full((3, 1, 2, 2), 0.5)
    labels = torch.tensor([0, 0, 1])
    attack = PGD.of(eps=[0.1], steps=10, iterate="last")
    found = craft(model, images, labels, np.arange(3), attack, Rng(0))
    sign = torch.sign(weights).reshape(1, 1, 2, 2) * torch.tensor([-1.0, -1, 1]).view(3, 1, 1, 1)
    assert torch.allclose(found, images + 0.1 * sign, atol=1e-6)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("{attack: pgd, eps: [0.1, 0.2], steps: 5}", "a matrix is at one eps above 0"),
        ("{attack: fmn, eps: 0.1}", "fmn looks for no fixed budget"),
        ("{attack: transfer, eps: 0.1, steps: 5}", "transfer attacks a network of its own"),
    ],
)
def test_attacks_without_one_budget_of_their_own_are_refused(tmp_path, attack, message):
    from harness.errors import HarnessError

    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("{attack: pgd, eps: 0.2, steps: 5}", attack))
    with pytest.raises(HarnessError, match=message):
        load(path)
