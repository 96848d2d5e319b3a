"""One rule for paths: relative to the file that names them, for every key that takes a path."""

from __future__ import annotations

import os
import typing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import cells
from harness.cells import plan
from harness.cells.run import Conditions
from harness.data import acquire
from harness.data.beside import Beside, beside
from harness.data.image_folder import ImageFolder
from harness.learning.files import File
from harness.paths import Place
from harness.protocols.base import SuiteFile
from harness.registry import attacks, datasets, learners, protocols
from harness.storage.store import Store
from harness.suite import load as suites


def path_keys():
    """Every key of every entry that takes a path: (registry, entry, key)."""
    for registry in (attacks, datasets, learners, protocols):
        for name in registry:
            fields = typing.get_type_hints(registry[name].Config, include_extras=True)
            for key, annotation in fields.items():
                types = {annotation, *typing.get_args(annotation)}
                if types & {Place, File, SuiteFile}:
                    yield registry, name, key


NEEDED = {
    "network-weights": {"module": "torch.nn:Identity"},
    "head-weights": {"body": "conv4"},
    "corruption_benchmark-files": {"corruption_set": "mnist-c"},
}
"""Further keys that an entry needs."""
KEYS = [pytest.param(*found, id=f"{found[1]}-{found[2]}") for found in path_keys()]


def test_no_key_that_takes_a_path_is_missed():
    assert {found.id for found in KEYS} >= {
        "image-folder-folder",
        "image-folder-csv",
        "npz-file",
        "cifar-10-folder",
        "network-weights",
        "network-file",
        "few_shot-episodes_from",
    }


@pytest.mark.parametrize("registry, name, key", KEYS)
def test_a_path_is_relative_to_the_file_that_names_it(registry, name, key, tmp_path, monkeypatch):
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    needed = dict(NEEDED.get(f"{name}-{key}", {}))
    needed |= {"dataset": "digits"} if registry is protocols else {}
    if name in ("attacked_episodes", "support_attack"):
        needed["attacks"] = [{"attack": "fgsm", "eps": [0.1]}]
    in_a_suite = {"folder": lambda key: tmp_path / "suites"}
    config = registry[name].Config.model_validate({**needed, key: "mine"}, context=in_a_suite)
    value = getattr(config, key)
    path = value if isinstance(value, str) else value.path
    assert Path(path) == tmp_path / "suites" / "mine"


@pytest.fixture
def images(tmp_path):
    """A folder of images beside a suite, and another folder to be in."""
    for number in range(12):
        split = "train" if number < 8 else "test"
        place = tmp_path / "study" / "images" / split / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (8, 8))
        Image.fromarray(noise.astype(np.uint8)).save(place / f"{number}.png")
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "study" / "images"


SUITE = """
name: mine
learners: {pixels: {kind: nearest-mean}}
protocols:
  clean:
    kind: classification
    dataset: {kind: image-folder, folder: images, size: 8, colour: false}
"""


def place_of(suite):
    return suite.protocols[0].dataset.place


def test_a_suite_finds_images_beside_it_from_any_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = images.parent / "suite.yaml"
    path.write_text(SUITE)
    assert place_of(suites.load(path)) == images
    extending = tmp_path / "elsewhere" / "more.yaml"
    extending.write_text("extends: ../study/suite.yaml\nname: more\n")
    assert place_of(suites.load(extending)) == images


def test_an_override_is_relative_to_the_working_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    path = tmp_path / "elsewhere" / "suite.yaml"
    path.write_text(SUITE)
    override = ['protocols.clean.dataset.folder="../images"']
    assert place_of(suites.load(path, sets=override)) == images


def test_what_is_not_beside_the_suite_is_looked_for_below_the_data_root(images, tmp_path):
    path = tmp_path / "elsewhere" / "suite.yaml"
    path.write_text(SUITE)
    suite = suites.load(path, data_root=images.parent)
    assert os.path.samefile(place_of(suite), images)


def test_moving_images_changes_no_key(images, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    path = images.parent / "suite.yaml"
    path.write_text(SUITE)
    before = plan.make(suites.load(path))
    images.rename(tmp_path / "moved")
    path.write_text(SUITE.replace("folder: images", "folder: ../moved"))
    after = plan.make(suites.load(path))
    assert [cell.key for cell in after.cells] == [cell.key for cell in before.cells]
    assert list(after.places.values()) == [{"folder": str(tmp_path / "moved")}]
    image = next((tmp_path / "moved" / "train" / "a").iterdir())
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(image)
    changed = plan.make(suites.load(path))
    assert not {cell.key for cell in changed.cells} & {cell.key for cell in before.cells}


@pytest.mark.parametrize(
    "keys",
    [
        "",
        ", class_order: [b, a]",
        ", carve: {val: 0.25}",
    ],
)
def test_cells_find_images_beside_the_suite(keys, images, tmp_path, monkeypatch):
    """The identity of a cell does not name the folder: a worker is told where it is."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    path = images.parent / "suite.yaml"
    path.write_text(SUITE.replace(", size: 8", f", size: 8{keys}"))
    layout = plan.make(suites.load(path))
    cells.run._load.cache_clear()
    store = Store(tmp_path / "store")
    store.prepare()
    conditions = Conditions(store, places=layout.places)
    for cell in layout.cells:
        cells.run.run(cell, conditions, lambda fraction, note="": None)
    measured = store.read(layout.cells[-1].key)
    assert measured.values and "images" not in str(measured.identity["dataset"])


def test_a_dataset_with_others_beside_it_is_found_too(images, tmp_path):
    config = ImageFolder.Config(folder=str(images), size=8, colour=False)
    both = beside(ImageFolder(config), ["digits"])
    written = both.config.model_dump(mode="json")
    assert str(images) not in str(written)
    with acquire.placed(both.config.places()):
        data, _ = acquire.load(Beside(Beside.Config.model_validate(written)), tmp_path / "cache")
    assert set(data.splittings["standard"]) == {"train", "test", "digits"}
