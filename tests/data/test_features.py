"""Embeddings of a user: every form they come in, what is refused, and what is measured."""

from __future__ import annotations

import re

import numpy as np
import pytest

from harness.cells.plan import make
from harness.cli.data import show
from harness.data.features import Features
from harness.errors import DataError, HarnessError, SuiteError
from harness.execute import session
from harness.execute.session import RunOptions
from harness.suite.load import load

SPLITS = np.array(["train"] * 40 + ["test"] * 20)


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    """60 embeddings of 5 values, some negative, and the names of their 4 classes."""
    labels = np.arange(60) % 4
    noise = np.random.default_rng(0).normal(0, 0.4, (60, 5))
    features = np.eye(5)[labels] * 3 - 1 + noise
    return features.astype(np.float32), np.array(["ant", "bee", "cat", "dog"])[labels]


def dataset(path, **keys) -> Features:
    return Features(Features.Config.model_validate({"file": str(path), **keys}))


def saved(form: str, tmp_path, features, labels):
    """The same table in a file of some form."""
    path = tmp_path / f"x{form.partition(' ')[2]}"
    if form == "one .npz":
        np.savez(path, features=features, labels=labels, split=SPLITS)
    elif form == "splits .npz":
        parts = {}
        for split in ("train", "test"):
            parts[f"{split}_features"] = features[split == SPLITS]
            parts[f"{split}_labels"] = labels[split == SPLITS]
        np.savez(path, **parts)
    elif form == "lists .parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = {"label": list(labels), "split": list(SPLITS), "embedding": features.tolist()}
        parquet.write_table(pyarrow.table(columns), path)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = {f"f{i}": features[:, i] for i in range(5)}
        parquet.write_table(
            pyarrow.table({"label": list(labels), "split": list(SPLITS), **columns}), path
        )
    return path


@pytest.mark.parametrize("form", ["one .npz", "splits .npz", "lists .parquet", "columns .parquet"])
def test_every_form_gives_the_same_vectors(form, tmp_path, table):
    features, labels = table
    made = dataset(saved(form, tmp_path, features, labels))
    data = made.build()
    assert data.class_names == ("ant", "bee", "cat", "dog")
    train = data.split("standard", "train")
    scale = np.abs(features[:40]).max()
    np.testing.assert_allclose(train.tensor().flatten(1).numpy(), features[:40] / scale, atol=1e-6)
    assert [data.class_names[i] for i in train.labels] == labels[:40].tolist()
    facts = made.facts()
    assert facts.image_shape == (5, 1, 1) and facts.splittings["standard"]["test"].images == 20


def test_reading_vectors_twice_gives_the_same(tmp_path, table):
    """Learners divide in place what they have converted, never what is shared."""
    train = dataset(saved("one .npz", tmp_path, *table)).build().split("standard", "train")
    first = train.tensor().clone()
    assert (train.tensor() == first).all()


def test_an_array_and_its_labels_are_split_as_asked(tmp_path, table):
    np.save(tmp_path / "x.npy", table[0])
    np.save(tmp_path / "y.npy", table[1])
    made = dataset(tmp_path / "x.npy", labels=str(tmp_path / "y.npy"), carve={"test": 0.25})
    splits = made.facts().splittings["standard"]
    assert (splits["train"].images, splits["test"].images) == (45, 15)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"embeddings": np.ones((4, 2))}, "no features and labels, only embeddings"),
        ({"features": np.ones(4), "labels": np.arange(4)}, r"of the shape \(4,\)"),
        ({"features": np.ones((4, 2)), "labels": np.arange(3)}, r"4 vectors, \(3,\) labels"),
        ({"features": np.full((4, 2), np.nan), "labels": np.arange(4)}, "vector 0 is not finite"),
        ({"features": np.ones((4, 2)), "labels": np.ones(4)}, "labels of float64"),
        ({"features": np.array([["a"]]), "labels": np.arange(1)}, "features of <U1"),
        ({"features": np.array([object()]), "labels": np.arange(1)}, "objects are not read"),
        ({"train_features": np.ones((4, 2))}, "train_features has no train_labels"),
        (
            {"features": np.ones((2, 2)), "labels": np.arange(2), "split": np.array(["a", "b"])},
            "unknown split 'a'",
        ),
    ],
)
def test_wrong_tables_get_one_line(arrays, says, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError) as raised:
        dataset(tmp_path / "x.npz").facts()
    assert "\n" not in raised.value.message
    assert re.search(says, str(raised.value))


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.parquet", "x.csv"])
def test_damaged_files_get_one_line(name, tmp_path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"no array")
    with pytest.raises(DataError) as raised:
        dataset(tmp_path / name, labels=str(tmp_path / name)).facts()
    assert "\n" not in raised.value.message


SUITE = """
name: own
learners:
  ridge: {kind: head}
  means: {kind: nearest-mean}
  mlp: {kind: mlp, hidden: 8, epochs: 2}
protocols:
  clean: {kind: classification, dataset: {kind: features, file: x.npz}}
"""


def test_heads_and_networks_are_measured_on_them(tmp_path, table, write_suite):
    path = write_suite(SUITE)
    saved("one .npz", path.parent, *table)
    ran = session.run(path, RunOptions(store=str(tmp_path / "store"), workers=1))
    assert not ran.outcome.failed
    records = ran.results.records
    found = {each.learner: each.value for each in records if each.metric == "accuracy"}
    assert found["ridge"] > 0.9 and found["means"] > 0.9 and "mlp" in found


def test_the_content_is_in_the_key(table, write_suite):
    path = write_suite(SUITE)
    keys = []
    for shift in (0, 0, 1):
        saved("one .npz", path.parent, table[0] + shift, table[1])
        keys.append([cell.key for cell in make(load(path)).cells])
    assert keys[0] == keys[1] and not set(keys[0]) & set(keys[2])


def test_attacks_refuse_them(table, write_suite):
    data = "{kind: features, file: x.npz}"
    attack = f"  hit: {{kind: attack_sweep, dataset: {data}, attacks: [{{attack: fgsm, eps: 1}}]}}"
    path = write_suite(SUITE + attack)
    saved("one .npz", path.parent, *table)
    with pytest.raises(SuiteError, match="attack_sweep is for images, and features has embed"):
        load(path)


def test_a_contact_sheet_of_them_is_refused_in_one_line():
    with pytest.raises(HarnessError, match="features has embeddings, and a contact sheet"):
        show("features")
