"""Files that configs name: their content is the value, their path is not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from harness.errors import DataError
from harness.learning.files import File, files_in
from harness.registry import Config

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Inner(Config):
    """A nested model."""

    table: File | None = None


class Named(Config):
    """Files in every place that a config can have them."""

    weights: File
    more: list[File] = Field([])
    inner: Inner = Field(Inner())
    none: File | None = None


@pytest.fixture
def named(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"" if name == "a" else name.encode())
    folder = {"folder": lambda key: tmp_path}
    keys = {"weights": "a", "more": ["b", "c"], "inner": {"table": "c"}}
    return Named.model_validate(keys, context=folder)


def test_json_has_the_content_and_a_worker_gets_the_paths_back(named, tmp_path):
    dumped = named.model_dump(mode="json")
    assert dumped["weights"] == f"sha256:{EMPTY}" and dumped["none"] is None
    assert str(tmp_path) not in json.dumps(dumped)
    files = {file.sha256: file.path for file in files_in(named)}
    assert sorted(path.name for path in files.values()) == ["a", "b", "c"]
    again = Named.model_validate(dumped, context={"files": files})
    assert again == named and [file.read_bytes() for file in again.more] == [b"b", b"c"]
    with open(again.inner.table) as file:  # a File is a path
        assert file.read() == "c"
    assert pickle.loads(pickle.dumps(again)) == named


def test_equal_content_is_equal_whatever_the_path_and_time(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    first = File.at(tmp_path / "a")
    (tmp_path / "a").touch()
    assert first == File.at(tmp_path / "a") == File.at(tmp_path / "b")
    (tmp_path / "b").write_text("y")
    assert first != File.at(tmp_path / "b")


def test_a_file_that_changes_after_planning_is_never_read(tmp_path):
    (tmp_path / "a").write_text("x")
    file = File.at(tmp_path / "a")
    (tmp_path / "a").write_text("other")
    with pytest.raises(DataError, match="changed since the run was planned"):
        Path(file).read_text()
    (tmp_path / "a").unlink()
    with pytest.raises(DataError, match="No such file"):
        file.read_bytes()
    with pytest.raises(DataError, match="not at hand"):
        Named.model_validate({"weights": f"sha256:{EMPTY}"}).weights.checked()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nothing", "there is no such file"),
        (".", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (f"sha256:{EMPTY}", "there is no such file"),
        ("", "path of a file"),
        (3, "path of a file"),
    ],
)
def test_a_suite_cannot_name_what_is_no_file(tmp_path, value, words):
    with pytest.raises(ValidationError, match=words) as caught:
        Named.model_validate({"weights": value}, context={"folder": lambda key: tmp_path})
    assert len(caught.value.errors()) == 1
