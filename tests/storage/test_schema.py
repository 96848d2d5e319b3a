"""A cell whose hash is right and whose content is odd is damaged: one line, and others stay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_up import a_cell, fill
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import save

from harness.cells import stored
from harness.errors import HarnessWarning, StoreError
from harness.storage import compaction, schema, verification
from harness.storage.cellfile import CELL, encode
from harness.storage.schema import Odd
from harness.storage.store import VERDICTS, Store

NAN = float("nan")
ODD = {
    "values are text": lambda r: r.update(values="x"),
    "no low": lambda r: r["values"][0].pop("low"),
    "no value": lambda r: r["values"][0].update(value=None),
    "value is NaN": lambda r: r["values"][0].update(value=NAN),
    "no share": lambda r: r["values"][0].update(value=5.0),
    "n below zero": lambda r: r["values"][0].update(n=-1),
    "eps is text": lambda r: r["identity"]["setting"].update(eps="big"),
    "eps is NaN": lambda r: r["identity"]["setting"].update(eps=NAN),
    "eps is huge": lambda r: r["identity"]["setting"].update(eps=1e308),
    "no setting": lambda r: r["identity"].pop("setting"),
    "no identity": lambda r: r.update(identity=None),
    "unknown role": lambda r: r["identity"].update(role="steal"),
    "level of a check": lambda r: r.update(trust=[{"name": "x", "level": "GREAT", "detail": ""}]),
    "seconds are text": lambda r: r.update(wall_s="x"),
    "created is a number": lambda r: r.update(created=5),
    "half a character": lambda r: r.update(device="\ud800"),
    "an escape sequence": lambda r: r.update(device="\x1b[31m"),
    "log is null": lambda r: r.update(log=None),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_cell_is_named_in_one_line_and_the_others_stay(local: Store, name):
    first, second = fill(local, 2)
    result = json.loads(json.dumps(a_cell(0)[1].__dict__))
    ODD[name](result)
    (local.root / "cells" / first / CELL).write_bytes(encode(result, {}))
    with pytest.warns(HarnessWarning, match=f"cell {first} is damaged and left out") as warned:
        read = stored.stored(local)
    assert len(warned) == 1 and {record.cell for record in read.records} == {second}
    report = verification.verify(local)
    assert [fault.kind for fault in report.faults if CELL in fault.path] == ["damaged"]


def test_verdicts_that_are_no_arrays_are_damage(local: Store):
    (key,) = fill(local, 1)
    folder = local.root / "cells" / key
    (folder / VERDICTS).write_bytes(b"\xff" * 100)
    result = json.loads(json.dumps(a_cell(0)[1].__dict__))
    (folder / CELL).write_bytes(encode(result, {VERDICTS: b"\xff" * 100}))
    with pytest.raises(StoreError, match="not a safetensors file"):
        local.arrays(key)
    assert not verification.verify(local).sound


def test_what_could_not_be_read_again_is_not_written(local: Store):
    key, result = a_cell()
    result.values[0]["value"] = NAN
    with pytest.raises(StoreError, match="values.0.value"):
        local.write(key, result, {})
    assert not local.done(key)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\\u001b[0m"', b"[" * 1000, b"nope"])
def test_json_that_cannot_be_printed_or_parsed_is_odd(text):
    with pytest.raises(Odd):
        schema.parse(text)


def test_a_cell_without_the_verdicts_that_it_names_is_one_clear_error(local: Store):
    (key,) = fill(local, 1)
    results = stored.stored(local)
    with pytest.raises(StoreError, match=f"cell {key} has no array 'other'"):
        results.verdicts(key, "other")


def _is_no_file(folder: Path) -> dict[str, bytes]:
    (folder / VERDICTS).write_bytes(b"\xff" * 100)
    return {VERDICTS: b"\xff" * 100}


def _lacks_the_array(folder: Path) -> dict[str, bytes]:
    data = save({"margin": np.ones(3)})
    (folder / VERDICTS).write_bytes(data)
    return {VERDICTS: data}


def _has_no_file(folder: Path) -> dict[str, bytes]:
    (folder / VERDICTS).unlink()
    return {}


def _has_lost_its_file(folder: Path) -> dict[str, bytes]:
    data = (folder / VERDICTS).read_bytes()
    (folder / VERDICTS).unlink()
    return {VERDICTS: data}


UNREADABLE = [_is_no_file, _lacks_the_array, _has_no_file, _has_lost_its_file]


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_a_cell_whose_verdicts_cannot_be_read_is_named_and_the_others_stay(local: Store, spoil):
    first, second = fill(local, 2)
    folder = local.root / "cells" / first
    (folder / CELL).write_bytes(encode(a_cell(0)[1].__dict__, spoil(folder)))
    with pytest.warns(HarnessWarning) as warned:
        read = stored.stored(local)
    (line,) = [str(each.message) for each in warned]
    assert first in line and f"`harness store verify {local.root} --repair`" in line
    assert {record.cell for record in read.records} == {second}


@pytest.mark.filterwarnings("ignore:.*is damaged and set aside")
@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("by", ["repair", "run"])
@pytest.mark.parametrize("spoil", [_lacks_the_array, _has_no_file])
def test_a_cell_without_an_array_that_it_names_is_set_aside(local: Store, spoil, by, packed):
    first, second = fill(local, 2)
    folder = local.root / "cells" / first
    (folder / CELL).write_bytes(encode(a_cell(0)[1].__dict__, spoil(folder)))
    if packed:
        pytest.importorskip("pyarrow")
        compaction.compact(local)
        assert not folder.exists()
    if by == "repair":
        assert not verification.verify(local).sound
        verification.verify(local, repair=True)
        assert verification.verify(local).sound
    else:
        assert Store(local.root).unfinished([first, second]) == [first]
    assert Store(local.root).finished() == [second]


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("values", [{"metric": 1}] * 1000),
        ("log", {"x" * 400 + str(i): 1 for i in range(schema.MOST_NAMES + 1)}),
    ],
)
def test_few_faults_are_kept_of_many(part, content):
    """Each takes 2 KB of memory."""
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(schema.ResultShape).validate_python({part: content})
    faults = [fault for fault in raised.value.errors() if fault["loc"][0] == part]
    assert 0 < len(faults) < 20
