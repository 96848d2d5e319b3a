"""cell.json: any change is noticed, and what older releases wrote is read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import a_cell, arrays, write_format_1
from safetensors.numpy import save

from harness.errors import StoreError
from harness.storage import cellfile, verification
from harness.storage.cellfile import CELL, Damage, decode, encode
from harness.storage.store import VERDICTS, Store

RESULT = a_cell(2)[1].__dict__ | {"device": "é"}
WRITTEN = encode(RESULT, {VERDICTS: b"arrays"})


def test_what_is_encoded_is_decoded():
    cell = decode(WRITTEN)
    assert cell.result == RESULT
    cell.files[VERDICTS].check(b"arrays")
    assert json.loads(WRITTEN)["result"] == RESULT, "it is plain JSON"


@given(st.integers(0, len(WRITTEN) - 1))
def test_truncated_at_any_byte_is_damage(length):
    with pytest.raises(Damage):
        decode(WRITTEN[:length])


@given(st.integers(0, 8 * len(WRITTEN) - 1))
def test_any_bit_flipped_is_damage(place):
    flipped = bytearray(WRITTEN)
    flipped[place // 8] ^= 1 << place % 8
    with pytest.raises(Damage):
        decode(bytes(flipped))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_damage(data):
    with pytest.raises(Damage):
        decode(data)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"arra", "truncated: 4 of 6"), (b"arrayz", "sha256"), (b"arrays!", "longer")],
)
def test_what_is_wrong_with_a_file_is_said(content, words):
    with pytest.raises(Damage, match=words):
        decode(WRITTEN).files[VERDICTS].check(content)


def test_the_format_before_is_read_and_its_damage_noticed(local: Store):
    key, result = a_cell(4)
    write_format_1(local, key, result, {VERDICTS: save({"correct": np.ones(3)})})
    assert local.finished() == [key] and local.read(key) == result and local.unfinished([key]) == []
    assert local.content(key)[VERDICTS] == save({"correct": np.ones(3)})
    path = local.root / "cells" / key / CELL
    path.write_text(path.read_text().replace('"wall_s": 1.5', '"wall_s": 1.6'))
    assert local.read(key) is None and local.unfinished([key]) == [key]


def test_a_cell_of_a_newer_release_is_an_error_and_left_alone(local: Store, monkeypatch):
    key, result = a_cell()
    with monkeypatch.context() as newer:
        newer.setattr(cellfile, "FORMAT", 3)
        local.write(key, result, arrays())
    path = local.root / "cells" / key / CELL
    for look in (
        lambda: local.unfinished([key]),
        lambda: local.read(key),
        lambda: list(local.results([key])),
    ):
        with pytest.raises(StoreError, match="format 3; this release reads up to 2"):
            look()
    report = verification.verify(local, repair=True)
    assert [fault.kind for fault in report.faults] == ["unknown"] and not report.sound
    assert path.is_file()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", "..", ".hidden", ""])
def test_a_cell_that_names_files_elsewhere_is_damaged(local: Store, name):
    """Stores may come from anywhere: they are never a reason to read or write outside of them."""
    with pytest.raises(Damage, match="names a file"):
        decode(encode(RESULT, {name: b"x"}))
    key, result = a_cell()
    write_format_1(local, key, result, {})
    path = local.root / "cells" / key / CELL
    path.write_text(path.read_text().replace('"files": {}', f'"files": {{"{name}": "0"}}'))
    assert local.read(key) is None and not verification.verify(local).sound
