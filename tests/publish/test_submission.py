"""A submission holds what its store holds, and forged or damaged ones are refused."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from harness import api
from harness.cells.collect import collect
from harness.errors import HarnessError, HarnessWarning
from harness.publish import archive, arrays, contents, submission
from harness.report import figures, reference, tables
from harness.report.board.model import Division
from harness.report.board.site import write_site
from harness.storage.cellfile import cell_key
from harness.storage.store import Store

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features}}
protocols:
  robust:
    {kind: attack_sweep, dataset: digits, images: 40, attacks: [{attack: fgsm, eps: [0, 0.1]}]}
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


def with_cells(path: Path, target: Path, change) -> Path:
    """A copy in which ``change`` edited the cells (dicts, one a line), with hashes that match."""
    lines = zipfile.ZipFile(path).read("cells.jsonl").splitlines()
    cells = [json.loads(line) for line in lines]
    change(cells)
    data = "".join(json.dumps(cell) + "\n" for cell in cells).encode()
    return repacked(path, target, {"cells.jsonl": data})


def first_of(cells: list[dict], role: str) -> dict:
    return next(cell for cell in cells if cell["result"]["identity"]["role"] == role)


def version_1(path: Path, store: Store, target: Path) -> Path:
    """The same submission as the first release wrote it: the files of each cell as in the store."""
    old = zipfile.ZipFile(path)
    manifest = json.loads(old.read("manifest.json"))
    files = {"suite.yaml": old.read("suite.yaml")}
    for cell in manifest["cells"]:
        content = store.content(cell["key"], ("cell.json", "verdicts.safetensors"))
        files |= {f"cells/{cell['key']}/{name}": data for name, data in content.items()}
    manifest["version"] = 1
    manifest["files"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with zipfile.ZipFile(target, "w") as new:
        new.writestr("manifest.json", json.dumps(manifest))
        for name, data in files.items():
            new.writestr(name, data)
    return target


def test_reading_returns_what_was_measured(packed):
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


def test_a_submission_of_version_1_is_read_and_written_as_version_2(packed, tmp_path):
    suite, store, path = packed
    old = version_1(path, Store(store), tmp_path / "old.zip")
    assert submission.read(old).results.records == submission.read(path).results.records
    written = contents.write(tmp_path / "new.zip", contents.load(old))
    assert written.version == 2 and (tmp_path / "new.zip").read_bytes() == path.read_bytes()


AUDITED = """
name: audited
seeds: [0, 1]
learners: {bio: {kind: ech, hidden: 20}, mlp: {kind: mlp, hidden: 16, epochs: 1}}
budget: {images: 100}
protocols:
  audit: {kind: biology, dataset: digits}
  queries: {kind: attacked_episodes, dataset: digits, ways: 3, shots: [1], queries: 2, episodes: 4,
            attacks: [{attack: fgsm, eps: [0, 0.1]}, {attack: noise, eps: [0, 0.1]}]}
  robust: {kind: attack_sweep, dataset: digits, images: 20,
           attacks: [{attack: fgsm, eps: [0, 0.1]}, {attack: noise, eps: [0, 0.1]}]}
"""


def test_reports_from_a_submission_are_those_from_its_store(tmp_path):
    """What ``shown_arrays`` leaves out is read by no table, figure, board or comparison."""
    suite, store, path = tmp_path / "s.yaml", tmp_path / "store", tmp_path / "s.zip"
    suite.write_text(AUDITED)
    ran = api.run(suite, store=store, workers=1)
    assert not ran.outcome.failed
    submission.pack(ran.plan, Store(store), "", path)
    read = submission.read(path).results
    for name, results in (("of-store", ran.results), ("of-zip", read)):
        tables.write_tables(results, [], tmp_path / name, [])
        figures.write_figures(results, tmp_path / name)
        division = Division(results, [], [], "", dict.fromkeys(results.learners, "ours"))
        write_site([division], [], tmp_path / name)
        reference.save(reference.of_results(results, {}), tmp_path / name / "reference.json")
    made = sorted(file for file in (tmp_path / "of-store").rglob("*") if file.is_file())
    assert {"audit-fields.png", "queries.png", "reference.json"} <= {file.name for file in made}
    for file in made:
        same = tmp_path / "of-zip" / file.relative_to(tmp_path / "of-store")
        assert same.read_bytes() == file.read_bytes(), file.name


def test_arrays_that_no_report_reads_are_left_out(packed):
    loaded = contents.load(packed[2])
    names = {name for cell in loaded.manifest.cells for name in loaded.cells.arrays(cell.key)}
    assert {"index", "correct", "correct/eps=0.1"} <= names
    assert not [name for name in names if "margin" in name or "norm" in name]


def test_the_suite_in_it_plans_the_same_cells(packed, tmp_path):
    suite, _, path = packed
    (tmp_path / "suite.yaml").write_bytes(zipfile.ZipFile(path).read("suite.yaml"))
    assert [c.key for c in api.plan(tmp_path / "suite.yaml").cells] == [
        c.key for c in api.plan(suite).cells
    ]


def test_a_store_that_lacks_something_is_not_packed(packed, tmp_path):
    with pytest.raises(HarnessError, match="of 8 cells are not in"):
        submission.pack(api.plan(packed[0]), Store(tmp_path / "empty"), "", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def refused(path: Path, why: str) -> None:
    with pytest.raises(HarnessError, match=why) as caught:
        submission.read(path)
    assert caught.value.where == str(path) and "\n" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)])
def test_no_zip(content, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    refused(tmp_path / "x.zip", "not a zip file")


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "x.zip", "No such file")


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/passwd", "cells/../../x", "cells/0/cell.json", "weights.safetensors"],
)
def test_unexpected_names(packed, tmp_path, name):
    refused(repacked(packed[2], tmp_path / "x.zip", {name: b"x"}), "unexpected file")
    assert not (tmp_path.parent / "evil.py").exists()


def test_a_bomb_is_not_unpacked(packed, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", "{}")
        with bomb.open("suite.yaml", "w", force_zip64=True) as inside:
            inside.write(bytes(2**24 + 1))
    assert (tmp_path / "x.zip").stat().st_size < 2**16
    monkeypatch.setattr(archive, "MOST_BYTES", 2**24)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    refused(
        tmp_path / "x.zip", "would unpack to 16 MiB in 2 files; the limits are 16 MiB and 100000"
    )


def test_a_bomb_with_a_false_size_is_not_unpacked(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", bytes(2**22))
    lying = out.getvalue().replace((2**22).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (tmp_path / "x.zip").write_bytes(lying)
    tracemalloc.start()
    refused(tmp_path / "x.zip", "damaged")
    assert tracemalloc.get_traced_memory()[1] < 2**20  # not unpacked and then cut
    tracemalloc.stop()


def test_a_bomb_that_is_small_enough_is_refused_for_its_ratio(packed, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", bytes(2**24))
    assert archive.MOST_BYTES > 2**24
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    refused(tmp_path / "x.zip", "times its size; the limit is 100 times")


def test_json_of_too_many_items_is_not_parsed(packed, tmp_path, monkeypatch):
    text = b"[" + b"0," * (contents.MOST_ITEMS + 1) + b"0]"
    monkeypatch.setattr(archive, "MOST_RATIO", 10**6)
    monkeypatch.setattr(contents, "parse", lambda _: pytest.fail("it was parsed"))
    bomb = repacked(packed[2], tmp_path / "x.zip", {"cells.jsonl": text})
    refused(bomb, r"its JSON has 2,0\d\d,\d{3} items; the limit is 2,000,000")


def test_a_manifest_of_too_many_items_is_not_validated(packed, tmp_path, monkeypatch):
    names = ",".join(f'"k{i}":1' for i in range(contents.MOST_ITEMS_OF_MANIFEST))
    monkeypatch.setattr(contents, "parse", lambda _: pytest.fail("it was validated"))
    text = f"{{{names}}}".encode()
    bomb = repacked(packed[2], tmp_path / "x.zip", {"manifest.json": text}, rehash=False)
    refused(bomb, r"manifest.json has \d+,\d{3} items; the limit is 100,000")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_without_a_limit_are_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as bomb:
        bomb.writestr("manifest.json", bytes(100))
    refused(tmp_path / "x.zip", "neither stored nor deflated")


def test_arrays_that_would_be_large_when_restored_are_refused(packed, tmp_path, monkeypatch):
    bits = save({"0/bits/1048576x16": np.zeros(2**21, np.uint8)})
    monkeypatch.setattr(arrays, "MOST_BYTES", 2**23)
    monkeypatch.setattr(archive, "SMALL", 2**23)
    bomb = repacked(packed[2], tmp_path / "x.zip", {"arrays.safetensors": bits})
    refused(bomb, "its arrays would take 16 MiB; the limit is 8 MiB")


def test_a_bomb_of_arrays_is_refused_before_any_is_restored(packed, tmp_path, monkeypatch):
    bits = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8)
    count = arrays.MOST_BYTES // (8 * bits.size) + 1
    held = save({f"{number}/bits/{8 * bits.size}": bits for number in range(count)})
    assert len(held) < archive.MOST_BYTES
    monkeypatch.setattr(arrays, "_restored", lambda *_: pytest.fail("it was restored"))
    bomb = repacked(packed[2], tmp_path / "x.zip", {"arrays.safetensors": held})
    refused(bomb, "its arrays would take 136 MiB; the limit is 128 MiB")


@pytest.mark.parametrize(
    ("name", "tensor", "why"),
    [
        ("0/bits/3x3", np.zeros(3, np.uint8), "does not hold that many bits"),
        ("0/bits/3", np.zeros(1, np.int8), "does not hold that many bits"),
        ("0/int64", np.zeros(3, np.float32), "does not hold integers"),
        ("0/bits/", np.zeros(3, np.uint8), "unexpected tensor"),
        ("../x", np.zeros(3, np.uint8), "unexpected tensor"),
    ],
)
def test_tensors_that_cannot_be_restored(packed, tmp_path, name, tensor, why):
    forged = repacked(packed[2], tmp_path / "x.zip", {"arrays.safetensors": save({name: tensor})})
    refused(forged, why)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7])
def test_altered_bytes(packed, tmp_path, at):
    data = bytearray(packed[2].read_bytes())
    data[int(at * len(data))] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", "not accepted as a submission")


def test_a_file_changed_behind_its_hash(packed, tmp_path):
    data = zipfile.ZipFile(packed[2]).read("cells.jsonl") + b" "
    forged = repacked(packed[2], tmp_path / "x.zip", {"cells.jsonl": data}, rehash=False)
    refused(forged, "sha256.*cells.jsonl")


@pytest.mark.parametrize("name", ["cells.jsonl", "arrays.safetensors"])
def test_a_file_left_out(packed, tmp_path, name):
    refused(
        repacked(packed[2], tmp_path / "x.zip", {name: None}, rehash=False), "lists other files"
    )
    refused(repacked(packed[2], tmp_path / "x.zip", {name: None}), f"it has no {name}")


def test_cells_left_out_or_twice(packed, tmp_path):
    refused(with_cells(packed[2], tmp_path / "x.zip", lambda cells: cells.pop()), "is missing")
    refused(
        with_cells(packed[2], tmp_path / "x.zip", lambda cells: cells.append(cells[0])),
        "cells.jsonl:9: it has no key, or that of another line",
    )


def edited(path: Path, change, target: Path) -> Path:
    """A copy in which the first measurement is changed and every hash matches."""
    return with_cells(path, target, lambda cells: change(first_of(cells, "measure")["result"]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r["values"][0].update(value=0.99), "not the mean of its verdicts"),
        (lambda r: r["values"][0].update(n=7), r"over 7 samples, but the protocol block says \d+"),
        (lambda r: r["values"][0].update(verdicts="other"), "no verdicts behind"),
        (lambda r: r["values"][0].update(value="high"), "cannot be read"),
        (
            lambda r: r["trust"].append({"name": "x", "level": "GREAT", "detail": ""}),
            "cannot be read",
        ),
        (lambda r: r.update(wall_s="long"), "cannot be read"),
        (lambda r: r["identity"].update(seed=5), "key is a hash of"),
        (lambda r: r.pop("identity"), "cannot be read"),
        (lambda r: r.update(identity={}), "cannot be read: identity"),
    ],
)
def test_forged_cells_whose_hashes_fit(packed, tmp_path, change, why):
    refused(edited(packed[2], change, tmp_path / "x.zip"), why)


def rekeyed(path: Path, role: str, change, target: Path) -> Path:
    """A copy in which the first cell of a role has another identity; its key and hashes match."""
    manifest = zipfile.ZipFile(path).read("manifest.json")
    keys = {}

    def change_one(cells: list[dict]) -> None:
        cell = first_of(cells, role)
        change(cell["result"]["identity"])
        new = cell_key(cell["result"]["identity"])
        keys[cell["key"]] = cell["key"] = new

    changed = with_cells(path, target, change_one)
    ((old, new),) = keys.items()
    names = manifest.replace(old.encode(), new.encode())
    return repacked(changed, target, {"manifest.json": names})


@pytest.mark.parametrize(
    ("role", "change", "why"),
    [
        ("measure", lambda i: i.pop("training"), "training: Field required"),
        ("measure", lambda i: i.update(training=[1]), "training: Input should be a valid string"),
        ("measure", lambda i: i.update(setting=[1]), "setting: "),
        ("measure", lambda i: i.update(seed="0"), "seed: "),
        ("measure", lambda i: i["dataset"].update(content=[]), "dataset.content: "),
        ("train", lambda i: i.update(budget="all"), "budget"),
        ("train", lambda i: i.update(labelled=7), "labelled: "),
    ],
)
def test_forged_identities_whose_keys_and_hashes_fit(packed, tmp_path, role, change, why):
    refused(
        rekeyed(packed[2], role, change, tmp_path / "x.zip"),
        f"cannot be read: identity.{role}.{why}",
    )


def test_a_cell_with_a_new_key_that_fits_is_accepted(packed, tmp_path):
    """So that the refusals above are for what was changed, not for the changing."""
    path = rekeyed(
        packed[2], "measure", lambda identity: identity.update(more=1), tmp_path / "x.zip"
    )
    assert submission.read(path).results.records


def test_forged_verdicts_whose_hashes_fit(packed, tmp_path):
    data = zipfile.ZipFile(packed[2]).read("arrays.safetensors")
    same = repacked(packed[2], tmp_path / "same.zip", {"arrays.safetensors": data})
    assert submission.read(same).results.records == submission.read(packed[2]).results.records
    better = {
        name: np.full_like(tensor, 255) if "/bits/" in name else tensor
        for name, tensor in load(data).items()
    }
    forged = repacked(packed[2], tmp_path / "x.zip", {"arrays.safetensors": save(better)})
    refused(forged, "not the mean of its verdicts")
    junk = repacked(packed[2], tmp_path / "y.zip", {"arrays.safetensors": b"junk"})
    refused(junk, "arrays.safetensors: not a safetensors file")


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
    refused(with_change(lambda m: m.update(version=3)), "manifest.json: version")
    with pytest.warns(HarnessWarning, match="fields of a newer release, which are ignored: more"):
        newer = submission.read(with_change(lambda m: m["protocols"]["clean"].update(more=1)))
    assert newer.manifest == submission.read(packed[2]).manifest.model_copy(
        update={"files": newer.manifest.files}
    )
