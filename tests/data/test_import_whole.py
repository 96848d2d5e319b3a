"""An import is checked whole before it is there, whatever the dataset; or nothing is left of it."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness.cli import app
from harness.data import install
from harness.data.base import Facts, Loaded, SplitFacts
from harness.data.mini_imagenet import listed_classes
from harness.errors import DataError
from harness.registry import datasets

IMPORTED = [name for name in datasets if datasets[name].origin == "data root"]


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (84, 84), (value, value, value)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def left_in(root):
    return [path for path in root.rglob("*") if path.is_file()]


def test_480_images_are_no_mini_imagenet(tmp_path):
    for number, listed in enumerate(listed_classes()[:16]):
        for i in range(30):
            place = tmp_path / "have" / listed.name / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(number))
    words = ["data", "import", "mini-imagenet", str(tmp_path / "have")]
    done = CliRunner().invoke(app, [*words, "--data-root", str(tmp_path / "root")])
    assert done.exit_code != 0
    assert isinstance(done.exception, DataError)
    assert "480 images found, 60000 expected" in done.exception.message
    assert not left_in(tmp_path / "root")


@pytest.mark.parametrize("name", IMPORTED)
def test_no_importer_leaves_what_cannot_be_read(name, tmp_path, monkeypatch):
    def build(self):
        raise DataError("an image cannot be decoded", where="somewhere")

    monkeypatch.setattr(datasets[name], "found_in", lambda path: [("file.zip", b"content")])
    monkeypatch.setattr(datasets[name], "sources", lambda self: [self.place / "file.zip"])
    monkeypatch.setattr(datasets[name], "variants", lambda self: iter([self.config]))
    monkeypatch.setattr(datasets[name], "build", build)
    (tmp_path / "have").mkdir()
    with pytest.raises(DataError, match=f"not the whole of {name}: an image cannot") as caught:
        install.import_files(name, [tmp_path / "have"], tmp_path / "root")
    assert caught.value.where == str(tmp_path / "have")
    assert caught.value.hint.startswith("nothing was imported")
    assert not left_in(tmp_path / "root")


@pytest.fixture
def fake(monkeypatch):
    """An importer of 3 images of 2 classes; ``labels`` are those that its file holds."""
    cls = datasets["fashion-mnist"]

    def build(self):
        labels = np.array([int(digit) for digit in self.sources()[0].read_text()])
        pixels = labels[:, None, None, None].astype(np.uint8)
        return Loaded(pixels, labels, ("a", "b"), None, {"all": {"test": np.arange(len(labels))}})

    facts = Facts((1, 1, 1), {"all": {"test": SplitFacts(2, 1, 3)}})
    monkeypatch.setattr(cls, "found_in", lambda path: [("labels", path.read_bytes())])
    monkeypatch.setattr(cls, "sources", lambda self: [self.place / "labels"])
    monkeypatch.setattr(cls, "facts", lambda self: facts)
    monkeypatch.setattr(cls, "build", build)
    monkeypatch.setattr(cls, "pinned", {})
    return cls


@pytest.mark.parametrize(
    "labels, fault",
    [("01", "is 2 images, 2 classes .* say 3 images"), ("000", "1 classes .* say 3 images, 2")],
)
def test_counts_of_a_split_are_compared(fake, tmp_path, labels, fault):
    (tmp_path / "have").write_text(labels)
    with pytest.raises(DataError, match=fault):
        install.import_files("fashion-mnist", [tmp_path / "have"], tmp_path / "root")
    assert not left_in(tmp_path / "root")


def test_a_known_content_hash_is_compared(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "pinned", {"{}": "0" * 64})
    (tmp_path / "have").write_text("011")
    with pytest.raises(DataError, match="content hash .*, expected 0000000000000000"):
        install.import_files("fashion-mnist", [tmp_path / "have"], tmp_path / "root")
    assert not left_in(tmp_path / "root")


def test_it_is_said_what_was_checked_and_what_could_not_be(fake, tmp_path):
    (tmp_path / "have").write_text("011")
    said = []
    install.import_files("fashion-mnist", [tmp_path / "have"], tmp_path / "root", said.append)
    assert Counter(said).total() == 1
    assert "test 3 images of 2 classes" in said[0]
    assert "no content hash is known" in said[0]


def test_what_was_there_stays_when_an_import_fails(fake, tmp_path):
    (tmp_path / "have").write_text("011")
    install.import_files("fashion-mnist", [tmp_path / "have"], tmp_path / "root")
    (tmp_path / "have").write_text("0")
    with pytest.raises(DataError):
        install.import_files("fashion-mnist", [tmp_path / "have"], tmp_path / "root")
    assert [path.read_text() for path in left_in(tmp_path / "root")] == ["011"]
