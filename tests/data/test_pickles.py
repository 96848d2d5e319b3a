"""Pickles: arrays of every protocol are read; everything else is refused and never run."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.pickles import read_pickled
from harness.errors import DataError

CONTENT = {
    "image_data": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
    "class_dict": {"a": [0, np.int64(1)]},
    "order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "names": ("x", b"y", None),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("mapped", [True, False])
def test_arrays_of_every_protocol_are_what_numpy_makes_of_them(tmp_path, protocol, mapped):
    raw = pickle.dumps(CONTENT, protocol)
    (tmp_path / "file").write_bytes(raw)
    found = read_pickled(tmp_path / "file" if mapped else raw, "file")
    assert all(
        np.array_equal(found[key], CONTENT[key]) and found[key].dtype == CONTENT[key].dtype
        for key in ("image_data", "order", "big")
    )
    assert found["class_dict"] == {"a": [0, 1]} and found["names"] == ["x", b"y", None]


def test_what_python_2_wrote():
    text = (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02K\x02\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x7f\x80\xfftbs."
    )
    assert np.array_equal(read_pickled(text, "x")["data"], [[0, 127], [128, 255]])


class Evil:
    """Asks for a call when it is unpickled."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "wrap", [lambda evil: evil, lambda evil: {"image_data": evil}, lambda evil: [CONTENT, evil]]
)
def test_nothing_is_executed(tmp_path, protocol, wrap):
    trace = tmp_path / "executed"
    for evil in (
        Evil(os.system, f"touch {trace}"),
        Evil(exec, f"open({str(trace)!r}, 'w')"),
        Evil(open, str(trace), "w"),
        Evil(subprocess.Popen, ["touch", str(trace)]),
        Evil(getattr, "", "join"),
        Evil(np.load, "x"),
        Evil(__import__, "os"),
    ):
        with pytest.raises(DataError, match="refused: this pickle asks for") as caught:
            read_pickled(pickle.dumps(wrap(evil), protocol), "file")
        assert caught.value.where == "file" and "nothing in it was executed" in caught.value.hint
    assert not trace.exists()


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([1j]),
        {1, 2},
        slice(1),
        np.ndarray,
        print,
        [[[[1]]]],
        np.zeros(2, [("a", "u1")]),
    ],
)
def test_other_objects_are_refused(value):
    with pytest.raises(DataError):
        read_pickled(pickle.dumps(value), "file")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"garbage",
        b"\x80\x04.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02K\x01Q.",
        b"Pid\n.",
        b"(i__main__\nEvil\n.",
        b"\x80\x05\x97.",
        b"cos\nsystem\n(S'x'\ntR.",
        b"\x80\x02cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R}U\x04nameU\x01Osb.",
        b"\x80\x02cnumpy\ndtype\n}U\x03hexK\x01sb.",
    ],
)
def test_damaged_and_twisted_ones_are_data_errors(raw):
    with pytest.raises(DataError):
        read_pickled(raw, "file")


def test_an_empty_file_and_shared_lists_are_no_trouble(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError):
        read_pickled(tmp_path / "file", "file")
    inner = [0] * 2000
    assert (
        len(read_pickled(pickle.dumps([[inner] * 2000] * 2000), "file")) == 2000
    )  # 8,000 million values, if followed


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_damage_is_a_data_error_or_harmless(data):
    raw = bytearray(pickle.dumps(CONTENT, data.draw(st.integers(0, 5))))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    for at in data.draw(st.lists(st.integers(0, max(len(raw) - 1, 0)), max_size=5)) if raw else []:
        raw[at] = data.draw(st.integers(0, 255))
    try:
        read_pickled(bytes(raw), "file")
    except DataError as error:
        assert error.where == "file"
