"""A submission holds what the store holds, and nothing hostile is taken for one."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from harness import api
from harness.cells.collect import collect
from harness.errors import HarnessError
from harness.publish import submission
from harness.storage.cellfile import cell_key
from harness.storage.store import Store

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features}}
protocols:
  robust: {kind: attack_sweep, dataset: digits, images: 40, attacks: [{attack: fgsm, eps: [0, 0.1]}]}
  clean: {kind: classification, dataset: digits}
tables: [{protocol: robust, columns: [attack, eps], title: Under attack}]
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A suite, its store, and the file that it was packed into."""
    folder = tmp_path_factory.mktemp("submission")
    suite, store, path = folder / "tiny.yaml", folder / "store", folder / "tiny.zip"
    suite.write_text(SUITE)
    api.run(suite, store=store, workers=1)
    submission.pack(api.plan(suite), Store(store), submission.suite_text(suite), path)
    return suite, store, path


def repacked(
    path: Path, target: Path, change: dict[str, bytes | None], rehash: bool = True
) -> Path:
    """A copy with some files changed (None: left out), hashes made to fit or not."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    files = {name: data for name, data in (files | change).items() if data is not None}
    if rehash:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in files.items()
            if name != "manifest.json"
        }
        files["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as new:
        for name, data in files.items():
            new.writestr(name, data)
    return target


def member(path: Path, role: str, ending: str) -> tuple[str, bytes]:
    """The first file of a cell of some role."""
    with zipfile.ZipFile(path) as packed:
        for name in packed.namelist():
            if (
                name.endswith("cell.json")
                and json.loads(packed.read(name))["result"]["identity"]["role"] == role
            ):
                found = name.replace("cell.json", ending)
                return found, packed.read(found)
    raise LookupError(role)


def test_what_is_read_is_what_was_measured(packed):
    suite, store, path = packed
    there, here = submission.read(path).results, collect(api.plan(suite), Store(store))
    assert (
        there.records == here.records
        and there.trust == here.trust
        and there.trainings == here.trainings
    )
    assert (there.learners, there.protocols, there.blocks, there.configs, there.seeds) == (
        here.learners,
        here.protocols,
        here.blocks,
        here.configs,
        here.seeds,
    )
    for record in here.records:
        np.testing.assert_array_equal(
            there.verdicts(record.cell, record.verdicts),
            here.verdicts(record.cell, record.verdicts),
        )


def test_same_store_same_bytes_and_no_weights(packed, tmp_path):
    suite, store, path = packed
    submission.pack(
        api.plan(suite), Store(store), submission.suite_text(suite), tmp_path / "again.zip"
    )
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()
    assert not [name for name in zipfile.ZipFile(path).namelist() if "weights" in name]


def test_the_suite_in_it_plans_the_same_cells(packed, tmp_path):
    suite, _, path = packed
    (tmp_path / "suite.yaml").write_bytes(zipfile.ZipFile(path).read("suite.yaml"))
    assert [c.key for c in api.plan(tmp_path / "suite.yaml").cells] == [
        c.key for c in api.plan(suite).cells
    ]


def test_a_store_that_lacks_something_is_not_packed(packed, tmp_path):
    with pytest.raises(HarnessError, match="of 6 cells are not in"):
        submission.pack(api.plan(packed[0]), Store(tmp_path / "empty"), "", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def refused(path: Path, why: str) -> None:
    with pytest.raises(HarnessError, match=why) as caught:
        submission.read(path)
    assert caught.value.where == str(path) and "\n" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_no_zip(content, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    refused(tmp_path / "x.zip", "no zip file")


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "x.zip", "No such file")


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/passwd", "cells/../../x", "cells/0/cell.json", "weights.safetensors"],
)
def test_names_that_have_no_place(packed, tmp_path, name):
    refused(repacked(packed[2], tmp_path / "x.zip", {name: b"x"}), "no place")
    assert not (tmp_path.parent / "evil.py").exists()


def test_a_bomb_is_not_unpacked(packed, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", "{}")
        with bomb.open("suite.yaml", "w", force_zip64=True) as inside:
            inside.write(bytes(2**24 + 1))
    assert (tmp_path / "x.zip").stat().st_size < 2**16
    monkeypatch.setattr(submission, "MOST_BYTES", 2**24)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    refused(tmp_path / "x.zip", "would unpack to 16 MiB in 2 files; at most 16 MiB")


def test_a_bomb_that_lies_about_its_size_is_cut(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", bytes(2**22))
    lying = out.getvalue().replace((2**22).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (tmp_path / "x.zip").write_bytes(lying)
    refused(tmp_path / "x.zip", "damaged")


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7, 0.99])
def test_altered_bytes(packed, tmp_path, at):
    data = bytearray(packed[2].read_bytes())
    data[int(at * len(data))] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", "not taken as a submission")


def test_a_file_changed_behind_its_hash(packed, tmp_path):
    name, data = member(packed[2], "measure", "cell.json")
    refused(
        repacked(packed[2], tmp_path / "x.zip", {name: data + b" "}, rehash=False),
        "sha256.*" + name,
    )


def test_a_file_left_out(packed, tmp_path):
    name, _ = member(packed[2], "measure", "cell.json")
    refused(repacked(packed[2], tmp_path / "x.zip", {name: None}, rehash=False), "do not agree")


def edited(path: Path, change, target: Path) -> Path:
    """A copy in which the first measurement's cell is changed and every hash fits."""
    name, data = member(path, "measure", "cell.json")
    body = json.loads(data)
    change(body["result"])
    return repacked(path, target, {name: json.dumps(body).encode()})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r["values"][0].update(value=0.99), "not the mean of its verdicts"),
        (lambda r: r["values"][0].update(n=7), "not the mean of its verdicts"),
        (lambda r: r["values"][0].update(verdicts="other"), "no verdicts behind"),
        (lambda r: r["values"][0].update(value="high"), "cannot be read"),
        (
            lambda r: r["trust"].append({"name": "x", "level": "GREAT", "detail": ""}),
            "cannot be read",
        ),
        (lambda r: r.update(wall_s="long"), "cannot be read"),
        (lambda r: r["identity"].update(seed=5), "key is a hash of"),
        (lambda r: r.pop("identity"), "cannot be read"),
        (lambda r: r.update(identity={}), "hash of"),
    ],
)
def test_forged_cells_whose_hashes_fit(packed, tmp_path, change, why):
    refused(edited(packed[2], change, tmp_path / "x.zip"), why)


def rekeyed(path: Path, role: str, change, target: Path) -> Path:
    """A copy in which what the first cell of a role says of itself is changed, and its key and every hash fit."""
    name, data = member(path, role, "cell.json")
    body, old = json.loads(data), name.split("/")[1]
    change(body["result"]["identity"])
    new = cell_key(body["result"]["identity"])
    with zipfile.ZipFile(path) as packed:
        files = {each: packed.read(each) for each in packed.namelist() if old in each} | {
            name: json.dumps(body).encode()
        }
        manifest = packed.read("manifest.json").replace(old.encode(), new.encode())
    moved = {each.replace(old, new): content for each, content in files.items()}
    return repacked(path, target, {**dict.fromkeys(files), **moved, "manifest.json": manifest})


@pytest.mark.parametrize(
    ("role", "change", "why"),
    [
        ("measure", lambda i: i.pop("training"), "training: Field required"),
        ("measure", lambda i: i.update(training=[1]), "training: Input should be a valid string"),
        ("measure", lambda i: i.update(setting=[1]), "setting: "),
        ("measure", lambda i: i.update(seed="0"), "seed: "),
        ("measure", lambda i: i["dataset"].update(content=[]), "dataset.content: "),
        ("train", lambda i: i.pop("budget"), "budget: "),
        ("train", lambda i: i.update(labelled=7), "labelled: "),
    ],
)
def test_forged_identities_whose_keys_and_hashes_fit(packed, tmp_path, role, change, why):
    refused(rekeyed(packed[2], role, change, tmp_path / "x.zip"), f"does not say what it is: {why}")


def test_a_cell_that_only_goes_by_another_key_is_taken(packed, tmp_path):
    """So that the refusals above are for what was changed, not for the changing."""
    path = rekeyed(
        packed[2], "measure", lambda identity: identity.update(more=1), tmp_path / "x.zip"
    )
    assert submission.read(path).results.records


def test_forged_verdicts_whose_hashes_fit(packed, tmp_path):
    name, data = member(packed[2], "measure", "verdicts.safetensors")
    honest = submission.read(repacked(packed[2], tmp_path / "same.zip", {name: data}))
    assert len(honest.results.records) == len(submission.read(packed[2]).results.records), (
        "packing anew is no forgery by itself"
    )
    better = {key: np.ones_like(array) for key, array in load(data).items()}
    assert any((array != better[key]).any() for key, array in load(data).items()), (
        "nothing to better"
    )
    refused(
        repacked(packed[2], tmp_path / "x.zip", {name: save(better)}),
        "not the mean of its verdicts",
    )
    refused(repacked(packed[2], tmp_path / "y.zip", {name: b"junk"}), "cannot read its verdicts")


def test_names_in_the_manifest(packed, tmp_path):
    manifest = json.loads(zipfile.ZipFile(packed[2]).read("manifest.json"))
    assert (
        set(manifest["learners"])
        == {c["learner"] for c in manifest["cells"]}
        == {"pixels", "random"}
    )

    def with_change(change) -> Path:
        other = json.loads(json.dumps(manifest))
        change(other)
        return repacked(
            packed[2], tmp_path / "x.zip", {"manifest.json": json.dumps(other).encode()}
        )

    def rename(m):
        m["learners"]["<script>"] = m["learners"].pop("pixels")

    def swap(m):
        m["cells"] = [
            c | {"learner": {"pixels": "random", "random": "pixels"}[c["learner"]]}
            for c in m["cells"]
        ]

    refused(with_change(rename), "manifest.json: learners")
    refused(with_change(swap), "not of the learner that it is named after")
    refused(with_change(lambda m: m["cells"][-1].update(protocol="nowhere")), "not of the protocol")
    refused(with_change(lambda m: m.update(version=2)), "manifest.json: version")
    refused(with_change(lambda m: m.update(more=1)), "manifest.json: more")
