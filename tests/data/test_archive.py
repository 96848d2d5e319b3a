"""Archives are read in place; hostile and damaged ones are refused, and nothing is written."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data import archive
from harness.data.archive import Archive, files_below
from harness.errors import DataError
from harness.registry import datasets


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as out:
        for name, content in members.items():
            out.writestr(
                zipfile.ZipInfo(name) if isinstance(name, str) else name, content, compression
            )
    return path


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as out:
        for name, content in members.items():
            entry = tarfile.TarInfo(name) if isinstance(name, str) else name
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zip_link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip", "folder"])
def test_all_forms_read_alike(tmp_path, mode):
    members = {"a/one.txt": b"1" * 100, "b/two.txt": b"22", "empty": b""}
    path = tmp_path / "thing"
    if mode == "folder":
        for name, content in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    else:
        make_zip(path, members) if mode == "zip" else make_tar(path, members, mode)
    with Archive(path) as opened:
        assert {name: opened.read(name) for name in opened.sizes} == members


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../outside", "/etc/outside", "..\\outside", "C:/outside", "\\outside"],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_lead_out_are_refused(tmp_path, make, name):
    with pytest.raises(DataError, match="leads out of the archive"):
        Archive(make(tmp_path / "hostile", {"good": b"x", name: b"y"}))
    assert os.listdir(tmp_path) == ["hostile"]


@pytest.mark.parametrize(
    "make, entry, word",
    [
        (make_tar, link("a", "/etc/passwd"), "is a link"),
        (make_tar, link("a", "good", tarfile.LNKTYPE), "is a link"),
        (make_tar, link("a", "", tarfile.CHRTYPE), "is not a file"),
        (make_tar, link("a", "", tarfile.FIFOTYPE), "is not a file"),
        (make_zip, zip_link("a"), "is a link"),
        (make_zip, "good", "duplicate name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_links_devices_and_namesakes_are_refused(tmp_path, make, entry, word):
    with pytest.raises(DataError, match=word):
        Archive(
            make(
                tmp_path / "hostile",
                {"good": b"x"}
                if entry != "good"
                else {"good": b"x", zipfile.ZipInfo("good"): b"y"},
            )
            if isinstance(entry, str)
            else make(tmp_path / "hostile", {"good": b"x", entry: b""})
        )


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bombs_are_refused_before_anything_is_unpacked(tmp_path, make):
    path = make(tmp_path / "bomb", {f"zeros{i}": bytes(1 << 20) for i in range(8)})
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="more is packed into it than is reasonable"):
        Archive(path)


def test_too_many_members_and_too_large_ones_are_refused(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "many", {f"f{i}": b"x" for i in range(30)})
    with (
        Archive(path) as opened,
        pytest.raises(DataError, match="more than the 0 that it could need"),
    ):
        opened.read("f0", 0)
    monkeypatch.setattr(archive, "MEMBERS", 20)
    with pytest.raises(DataError, match="more is packed"):
        Archive(path)


def test_a_member_that_is_larger_than_it_says_is_not_read_beyond(tmp_path):
    path = make_zip(tmp_path / "liar", {"a": os.urandom(5000)}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 100)  # the central directory's size
    path.write_bytes(raw)
    with Archive(path) as opened, pytest.raises(DataError, match="a cannot be read"):
        opened.read("a")


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "the file is empty"),
        (b"no archive", "neither a folder nor a zip"),
        (b"PK\x03\x04 cut", "cut off or damaged"),
        (b"\x1f\x8b\x08\x00", "cut off or damaged"),
    ],
)
def test_what_is_no_archive_is_said(tmp_path, content, word):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=word) as caught:
        Archive(tmp_path / "file")
    assert caught.value.where == str(tmp_path / "file") and caught.value.hint


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_is_a_data_error_or_does_no_harm(tmp_path, data):
    make = data.draw(st.sampled_from([make_zip, make_tar]))
    raw = bytearray(make(tmp_path / "sound", {"a/b": b"hello" * 20, "c": b"x"}).read_bytes())
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    for at in data.draw(st.lists(st.integers(0, max(len(raw) - 1, 0)), max_size=4)) if raw else []:
        raw[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "damaged").write_bytes(raw)
    try:
        with Archive(tmp_path / "damaged") as opened:
            for name in opened.sizes:
                opened.read(name)
    except DataError as error:
        assert error.where == str(tmp_path / "damaged")


@pytest.fixture
def nobody(tmp_path):
    """A folder that its reader may not read. Root may read everything and becomes nobody here."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "images_background.zip").write_bytes(b"PK")
    folder.chmod(0)
    above = [
        path
        for path in tmp_path.parents
        if path.stat().st_uid == os.geteuid() and path.stat().st_mode & 0o1 == 0
    ]
    modes = {path: path.stat().st_mode for path in [*above, tmp_path]}
    root = os.geteuid() == 0
    for path in modes:
        path.chmod(0o755)
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o700)
    for path, mode in modes.items():
        path.chmod(mode)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_folder_without_permission_is_said(nobody):
    with pytest.raises(DataError, match="Permission denied"):
        files_below(nobody)
    with pytest.raises(DataError, match="Permission denied") as caught:
        list(datasets["omniglot"].found_in(nobody))
    assert str(nobody) in caught.value.where
