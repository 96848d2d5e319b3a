"""The contract of every registered dataset."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from harness.data import acquire, inventory
from harness.data.base import SplitFacts
from harness.data.sampler import sample
from harness.errors import DataError
from harness.registry import datasets
from harness.rng import Rng

REDUCED = {"cifar-fs": {"train_images": 150}, "fc100": {"images": 150}}
"""The data root has no more of CIFAR-FS's training classes."""
ELSEWHERE = {
    "beside": "it is made of others: tests/protocols/test_out_of_distribution.py",
    "some-classes": "it is part of another: tests/protocols/test_out_of_distribution.py",
    "image-folder": "it has no images of its own: test_image_folder.py",
    "npz": "it has no images of its own: test_npz.py",
    "features": "it has no embeddings of its own: test_features.py",
    **dict.fromkeys(
        ("cifar-10", "cifar-100", "svhn", "emnist", "stl10"), "no copy here: test_published.py"
    ),
    "mini-imagenet": "it cannot be had here",
}
CASES = [
    *((name, REDUCED.get(name, {})) for name in datasets),
    ("omniglot", {"rotations": True}),
    ("mini-imagenet-25", {"size": 32}),
]
IDS = ["-".join([name, *switches]) for name, switches in CASES]


@pytest.fixture(params=CASES, ids=IDS)
def dataset(request, make):
    name, switches = request.param
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    return make(name, **switches)


@pytest.fixture
def loaded(dataset, shared_cache):
    return acquire.load(dataset, shared_cache)[0]


def test_is_what_its_facts_say(dataset, loaded):
    facts = dataset.facts()
    assert loaded.pixels.dtype == np.uint8 and loaded.pixels.shape[1:] == facts.image_shape
    assert {s: set(splits) for s, splits in facts.splittings.items()} == {
        s: set(x) for s, x in loaded.splittings.items()
    }
    for splitting, splits in facts.splittings.items():
        for split, known in splits.items():
            assert SplitFacts.measure(loaded.labels[loaded.splittings[splitting][split]]) == known


def test_labels_are_dense_and_named(loaded):
    assert loaded.labels.dtype == np.int64
    assert np.array_equal(np.unique(loaded.labels), np.arange(len(loaded.class_names)))
    assert len(set(loaded.class_names)) == len(loaded.class_names)
    assert loaded.groups is None or len(loaded.groups) == len(loaded.class_names)


def test_no_image_is_in_two_splits(loaded):
    for splits in loaded.splittings.values():
        rows = np.concatenate(list(splits.values()))
        assert len(np.unique(rows)) == len(rows)
        assert all((np.diff(part) > 0).all() for part in splits.values())


def test_class_disjoint_splittings_share_no_class_as_sampled(dataset, loaded):
    if dataset.kind == "mnist-subset":
        pytest.skip("one task, no classes to transfer to")
    if dataset.kind == "natural-patches":
        pytest.skip("its classes are photographs, and each of them is in both splits")
    assert dataset.facts().class_disjoint, "every other dataset here supports class transfer"
    for splitting in dataset.facts().class_disjoint:
        seen: dict[int, str] = {}
        for split in loaded.splittings[splitting]:
            images = loaded.split(splitting, split)
            rows = sample(images, ways=5, shots=1, queries=5, episodes=2_000, rng=Rng(0)).rows()
            for label in np.unique(loaded.labels[images.index[rows]]):
                assert seen.setdefault(int(label), split) == split


def test_no_identical_images_in_two_splits(dataset, loaded):
    if dataset.kind == "omniglot" and dataset.config.rotations:
        pytest.skip("a turned symmetric character is another one's image by design")
    # CIFAR-100 itself has some photographs twice, under different classes: one in train and test,
    # two with one of them in val.
    known = {"cifar-fs": 3}.get(dataset.kind, 0)
    for splits in loaded.splittings.values():
        images = [{image.tobytes() for image in loaded.pixels[rows]} for rows in splits.values()]
        assert sum(len(one & other) for one, other in itertools.combinations(images, 2)) == known


def test_content_hash_is_the_pinned_one(dataset, shared_cache):
    assert acquire.content_hash(dataset, shared_cache) == dataset.pinned_hash


def test_description_is_complete():
    for name in datasets:
        row = inventory.describe(name, None)
        if name in ("image-folder", "npz", "features"):
            assert (row["classes"], row["images"], row["present"]) == (0, 0, False)
            continue
        assert json.dumps(row) and all(
            row[key] for key in ("description", "licence", "citation", "how_to_get")
        )
        assert row["present"] == (row["origin"] == "embedded")
        fewest = {"mnist-subset": 3, "some-classes": 5}.get(name, 10)
        assert row["classes"] >= fewest and row["images"] >= 1000


@pytest.mark.parametrize("name", [n for n in datasets if datasets[n].origin == "data root"])
@pytest.mark.parametrize("rooted", [False, True])
def test_missing_data_say_how_to_get_them(name, rooted, tmp_path, shared_cache):
    dataset = datasets[name](datasets[name].Config(), tmp_path if rooted else None)
    with pytest.raises(DataError) as caught:
        acquire.load(dataset, shared_cache)
    assert re.search(r"harness data import [a-z]", str(caught.value))
    assert (str(tmp_path) if rooted else "HARNESS_DATA") in str(caught.value)


def test_listing_datasets_imports_nothing_heavy():
    heavy = ["torch", "sklearn", "matplotlib", "pandas", "scipy", "PIL"]
    code = (
        "import sys; from harness.registry import datasets; from harness.data import inventory;"
        "[inventory.describe(n, None) for n in datasets];"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "[]"
    )


def test_glyphs_are_drawn_the_same_in_another_process(make, shared_cache):
    code = (
        "from harness.registry import datasets; g = datasets['glyphs'];"
        "print(g(g.Config()).build().content_hash())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}
    )
    assert run.stdout.strip() == acquire.content_hash(make("glyphs"), shared_cache)


def test_standard_splits_keep_the_proportions_of_classes(make, shared_cache):
    data, _ = acquire.load(make("digits"), shared_cache)
    whole = np.bincount(data.labels) / len(data.labels)
    for rows in data.splittings["standard"].values():
        assert np.abs(np.bincount(data.labels[rows]) - whole * len(rows)).max() <= 2
