"""No learner is trained on a class that it is measured on."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.cells import plan as planning
from harness.cells import run as cells
from harness.protocols import episode_verdicts
from harness.protocols.base import Context
from harness.registry import learners
from harness.storage.store import Store
from harness.suite import load as suite

SUITE = """
name: leaks
learners:
  it: {{kind: {kind}}}
protocols:
  few: {{kind: few_shot, dataset: glyphs, ways: 5, shots: 1, queries: 5, episodes: 20_000}}
"""


class Seen(Exception):
    """Carries the training images that a learner received."""


@pytest.mark.parametrize("kind", sorted({*learners} - {"network"}))  # it is not trained
def test_training_classes_are_not_those_of_twenty_thousand_test_episodes(
    kind, write_suite, tmp_path, monkeypatch
):
    layout = planning.make(
        suite.load(write_suite(SUITE.format(kind=kind).replace("20_000", "20000")))
    )
    measuring = next(cell for cell in layout.cells if cell.role != "train")
    data = cells._dataset(measuring, None)
    conditions = cells.Conditions(Store(tmp_path / "store"))
    context = Context(cells.measuring(0), "cpu", 256, lambda *_: None)
    images, episodes = episode_verdicts.drawn(data, measuring.setting, context)
    tested = np.unique(data.labels[images.index[episodes.rows()]])
    assert len(episodes) == 20_000 and len(tested) > 50
    trainings = [cell for cell in layout.cells if cell.role == "train"]
    assert len(trainings) == (measuring.needs is not None)

    def spy(self, train, **_):
        raise Seen(train)

    monkeypatch.setattr(learners[kind], "fit", spy)
    for cell in trainings:
        with pytest.raises(Seen) as caught:
            cells.run(cell, conditions, lambda fraction, note: None)
        given = caught.value.args[0].index
        assert len(given) and not np.isin(data.labels[given], tested).any()


def imported_packages(node: ast.AST) -> set[str]:
    """Top-level names of the packages that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def used_of_learn2learn(node: ast.AST) -> set[str]:
    """``{"x"}`` for ``import_learn2learn().x``."""
    match node:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="import_learn2learn"))):
            return {node.attr}
    return set()


def test_only_algorithms_of_learn2learn_are_used():
    """Its task sets draw classes without regard to splits, so no code here may use them."""
    used = set()
    root = Path(harness.__file__).parent.parent
    for path in [*root.glob("harness/**/*.py"), *root.glob("baselines/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            used |= used_of_learn2learn(node)
            assert "learn2learn" not in imported_packages(node), path
    assert used == {"algorithms"}
