"""Attacks with ``save``: adversarial images of the first images, stored and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from harness import api
from harness.errors import HarnessError
from harness.execute.session import RunOptions
from harness.publish import paper, provenance, submission
from harness.report import saved_sheets
from harness.storage.store import SAVED, Store
from harness.suite import load

ATTACKS = [
    {"attack": "pgd", "eps": [0, 0.1, 0.2], "steps": 3},
    {"attack": "pgd", "eps": [0, 0.1, 0.2], "steps": 3, "save": 6, "label": "kept"},
    {"attack": "pgd", "eps": [0, 0.2], "steps": 3, "target": 3, "save": 4, "sweep": "bisect"},
    {"attack": "fmn", "norm": "l2", "eps": [0, 0.5, 1], "steps": 5, "save": 4},
    {"attack": "pgd", "eps": [0, 0.02, 0.2], "steps": 3, "certify": True, "save": 4, "label": "c"},
]


def suite(*attacks):
    robust = {"kind": "attack_sweep", "dataset": "digits", "images": 30, "trust": False}
    protocols = {"robust": robust | {"attacks": list(attacks)}}
    return {"name": "kept", "learners": {"p": {"kind": "prototypes"}}, "protocols": protocols}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("kept")
    run = api.run(suite(*ATTACKS), store=store, workers=1)
    assert not run.outcome.failed
    cells = {cell.label: cell.key for cell in run.plan.unique if cell.role == "measure"}
    return run.results, Store(store), cells


@pytest.mark.parametrize("label", ["kept", "pgd-3 towards class 3", "fmn-5-l2", "c"])
def test_saved_images_are_within_budget_and_misclassified_where_the_verdict_says_so(
    finished, label
):
    _, store, cells = finished
    arrays = store.arrays(cells[label], SAVED)
    verdicts = store.arrays(cells[label])
    assert (verdicts["index"][: len(arrays["index"])] == arrays["index"]).all()
    order = 2 if label.endswith("l2") else np.inf
    budgets = [name.partition("=")[2] for name in arrays if name.startswith("adversarial")]
    assert budgets
    for eps in budgets:
        adversarial = arrays[f"adversarial/eps={eps}"]
        delta = (adversarial - arrays["clean"] / np.float32(255)).reshape(len(adversarial), -1)
        assert np.linalg.norm(delta, order, 1).max() <= float(eps) + 1e-5
        broken = arrays[f"answered/eps={eps}"] != arrays["label"]
        if "towards" in label:
            broken = arrays[f"answered/eps={eps}"] == 3
        correct = verdicts[f"correct/eps={eps}"][: len(broken)].astype(bool)
        assert (broken == ~correct).all() and (arrays[f"correct/eps={eps}"] == correct).all()


def test_keeping_images_changes_no_number_and_no_key_of_others(finished):
    results, store, cells = finished
    plain, kept = (
        {name: array.tobytes() for name, array in store.arrays(cells[label]).items()}
        for label in ("pgd-3", "kept")
    )
    assert plain == kept
    (setting, *_) = load.load(suite(ATTACKS[0])).protocols[0].protocol.settings()
    assert "save" not in setting.to_identity()["config"]
    assert SAVED not in store.members(cells["pgd-3"])


def test_sheets_show_what_the_arrays_hold(finished, tmp_path):
    _, store, cells = finished
    written = api.saved_images(suite(*ATTACKS), tmp_path, store=store.root)
    again = [path.read_bytes() for path in written]
    api.saved_images(suite(*ATTACKS), tmp_path, store=store.root)
    assert [path.read_bytes() for path in written] == again
    (sheet,) = [path for path in written if "-kept-" in path.name and "eps0.2" in path.name]
    (packed,) = [path for path in written if "-kept-" in path.name and path.suffix == ".npz"]
    with np.load(packed, allow_pickle=False) as arrays:
        adversarial = arrays["adversarial/eps=0.2"]
    assert sheet.parent == tmp_path
    with Image.open(sheet) as picture:
        # The first adversarial image is the third of its line; 48 pixels show 8.
        shown = np.asarray(picture.convert("L"))[34:82:6, 100:148:6]
    assert (shown == (adversarial[0, 0] * 255).round()).all()


def test_a_suite_that_keeps_nothing_says_what_to_write(finished, tmp_path):
    with pytest.raises(HarnessError, match="no attack of the suite keeps images"):
        api.saved_images(suite(ATTACKS[0]), tmp_path, store=finished[1].root)
    with pytest.raises(HarnessError, match="none of the cells"):
        api.saved_images(suite(*ATTACKS), tmp_path, store=tmp_path / "empty")


def test_more_images_than_fit_into_memory_are_refused():
    attack = {"attack": "pgd", "eps": 0.1, "restarts": 500, "save": 1000}
    with pytest.raises(HarnessError, match="MiB"):
        load.load(suite(attack))


def test_the_results_folder_has_the_sheets_and_they_come_back_from_the_pack(
    finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(suite(*ATTACKS[:2]))
    Path("kept.yaml").write_text(text)
    options = RunOptions(store=finished[1].root)
    (path,) = paper.find_suites([Path("kept.yaml")])
    made = paper.update(paper.inspect(path, options), options, pack=True, console=None)
    folder = made.written[-1].parent
    sheets = sorted(folder.glob("robust-p-kept-*.png"))
    assert [path.stem.rpartition("-")[2] for path in sheets] == ["eps0.1", "eps0.2"]
    assert {path.name for path in sheets} <= provenance.read(folder)["files"].keys()

    packed = submission.read(folder / submission.MEASURED).results
    again = saved_sheets.write_sheets(packed, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in sheets]


@pytest.mark.parametrize("name", ["label", "adversarial/eps=0.2", "answered/eps=0.2"])
def test_damaged_images_of_a_pack_are_one_error(finished, tmp_path, name):
    results, store, cells = finished
    arrays = store.arrays(cells["kept"], SAVED)
    forged = replace(
        results,
        saved={cells["kept"]: results.saved[cells["kept"]]},
        saved_images=lambda cell: arrays | {name: arrays[name][1:]},
    )
    with pytest.raises(HarnessError, match=r"eps 0\.\d are damaged"):
        saved_sheets.write_sheets(forged, tmp_path)
