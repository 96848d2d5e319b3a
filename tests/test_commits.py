"""Files in a commit, in git's own notation."""

from __future__ import annotations

import subprocess

import pytest

from harness import commits
from harness.errors import HarnessError


def git(*words):
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of ``results/a.json``, the first tagged, and a folder with ``measured.zip``."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    (tmp_path / "results" / "packed").mkdir(parents=True)
    for number, tag in enumerate(("v1", "v2")):
        (tmp_path / "results" / "a.json").write_text(f"{number}")
        (tmp_path / "results" / "packed" / "measured.zip").write_bytes(bytes([number, 255]))
        git("add", ".")
        git("commit", "--quiet", "--message", f"fix: {tag}")
        git("tag", tag)
    return tmp_path


def content(name: str) -> bytes:
    return commits.find(name, "measured.zip").open("rb").read()


def test_a_file_is_read_from_the_commit(repository, monkeypatch):
    (repository / "results" / "a.json").write_text("not committed")
    assert (
        content("v1:results/a.json") == b"0"
        and content("HEAD:results/a.json") == content("v2:results/a.json") == b"1"
    )
    assert content("HEAD~1:results/a.json") == content("HEAD^{/fix: v1}:results/a.json") == b"0"
    monkeypatch.chdir(repository / "results")
    assert content("v1:./a.json") == content("v1:results/a.json") == b"0"


def test_in_a_folder_the_given_file_is_read(repository):
    for name in ("v1:results/packed", "v1:results/packed/"):
        file = commits.find(name, "measured.zip")
        assert (str(file), file.suffix) == (
            "v1:results/packed/measured.zip",
            ".zip",
        ) and file.open().read() == b"\x00\xff"
    assert content("v1:results/packed/measured.zip") == b"\x00\xff"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v3:results/a.json", "v3:results/a.json: there is no commit 'v3' in this repository"),
        ("--help:results/a.json", "there is no commit '--help'"),
        ("v1:results/b.json", "v1:results/b.json: that commit has no such file"),
        ("v1:results", "v1:results/measured.zip: that commit has no such file"),
        ("v1:", "v1:measured.zip: that commit has no such file"),
        ("v1:results/a.json/x", "that commit has no such file"),
    ],
)
def test_a_missing_commit_or_file_is_one_error(repository, name, said):
    with pytest.raises(HarnessError) as caught:
        commits.find(name, "measured.zip")
    assert said in str(caught.value) and "\n" not in caught.value.message


def test_no_repository_and_no_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(HarnessError, match="no repository to look in.*not a git repository"):
        commits.find("HEAD:a.json", "measured.zip")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="needs git, which is not installed"):
        commits.find("HEAD:a.json", "measured.zip")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("HEAD:a", True),
        ("HEAD@{12:00}:a/b", True),
        ("v1:", True),
        ("a.json", False),
        (":a", False),
        ("s3://bucket/a", False),
    ],
)
def test_commit_paths_are_distinguished_from_paths_and_urls(name, is_one):
    assert commits.is_commit_path(name) == is_one
