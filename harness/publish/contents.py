"""The layout of a submission: its files, and the cells inside them.

Version 2, which is written:

* ``manifest.json``: see ``harness.publish.manifest``;
* ``suite.yaml``: the suite with everything that it extends, so that others can run it again;
* ``cells.jsonl``: one line for each cell: its key, its result, and which tensors are its arrays,
  and its adversarial images if it ``saved`` some;
* ``arrays.safetensors``: the arrays that reports read, see ``harness.publish.arrays``.

Version 1 had ``cells/KEY/cell.json`` and ``cells/KEY/verdicts.safetensors``, as in a store.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from harness.cells.collect import gather
from harness.commits import File
from harness.errors import HarnessError
from harness.publish import archive, arrays
from harness.publish.manifest import MANIFEST, VERSION, Manifest, parse
from harness.publish.shown import shown_arrays
from harness.storage import schema
from harness.storage.schema import Odd, Word
from harness.storage.store import SAVED, VERDICTS, CellResult

SUITE = "suite.yaml"
CELLS = "cells.jsonl"
ARRAYS = "arrays.safetensors"
_CELL_1 = "cell.json"
_FOLDER_1 = re.compile(
    rf"cells/(?P<key>[0-9a-f]{{24}})/({re.escape(_CELL_1)}|{re.escape(VERDICTS)})"
)

MOST_ITEMS = 2_000_000
"""Most items of all JSON together; each takes up to 100 bytes of memory. A cell has about 400."""
MOST_ITEMS_OF_MANIFEST = 100_000
"""Most items of the manifest; a cell has about 12. A fault takes 2 KB of memory."""
_NAMES = TypeAdapter(dict[Word, Word])

LoadArrays = Callable[[str, str], dict[str, np.ndarray]]
"""Key of a cell and name of a file -> the arrays in it by name; empty where there are none."""


class Cells:
    """Finished cells in memory, read in the same way as those of a store.

    Args:
        results: key -> result.
        load_arrays: reads the arrays of a cell.
    """

    def __init__(self, results: Mapping[str, CellResult], load_arrays: LoadArrays) -> None:
        self._results = results
        self._load_arrays = load_arrays

    def read(self, key: str) -> CellResult:
        """Return the result of a cell.

        Raises:
            HarnessError: there is no such cell.
        """
        if key not in self._results:
            raise HarnessError(f"cell {key} is missing")
        return self._results[key]

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Yield the result of each cell; a missing one is an error."""
        for key in dict.fromkeys(keys):
            yield key, self.read(key)

    def arrays(self, key: str, name: str = VERDICTS) -> dict[str, np.ndarray]:
        """Return the verdicts of a cell, or the arrays of another of its files."""
        return self._load_arrays(key, name)


@dataclass(frozen=True)
class Contents:
    """What a submission contains.

    Attributes:
        manifest: outline of the suite and names of the cells; ``write`` sets the rest.
        suite: the suite as YAML.
        cells: results and arrays.
    """

    manifest: Manifest
    suite: str
    cells: Cells


# ----------------------------------------------------------------------------------------- writing


def write(path: Path, contents: Contents) -> Manifest:
    """Write a submission. Arrays that no report reads are left out.

    The same contents give the same bytes.

    Returns:
        The manifest as written.
    """
    lines, tensors = _encoded_cells(contents)
    files = {ARRAYS: tensors, CELLS: lines, SUITE: contents.suite.encode()}
    hashes = {name: _digest(data) for name, data in files.items()}
    manifest = contents.manifest.model_copy(update={"version": VERSION, "files": hashes})
    archive.write(path, {MANIFEST: manifest.model_dump_json(indent=1).encode(), **files})
    return manifest


def _encoded_cells(contents: Contents) -> tuple[bytes, bytes]:
    """Return ``cells.jsonl`` and ``arrays.safetensors``."""
    manifest, cells = contents.manifest, contents.cells
    measured = gather(manifest.outline(), manifest.cells, cells)
    shown = shown_arrays(measured)
    keys = {cell.key for cell in manifest.cells}
    writer = arrays.ArrayWriter()
    lines = []
    for key, result in sorted(cells.results(keys), key=lambda pair: pair[0]):
        own = cells.arrays(key) if key in shown else {}
        kept = sorted(shown[key] & own.keys()) if own else []
        line = {
            "key": key,
            "result": asdict(result),
            "arrays": {name: writer.add(own[name]) for name in kept},
        }
        if key in measured.saved:
            images = measured.saved_images(key)
            line["saved"] = {name: writer.add(images[name]) for name in sorted(images)}
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    return "".join(lines).encode(), writer.to_bytes()


# ----------------------------------------------------------------------------------------- reading


def load(path: File) -> Contents:
    """Read a submission of any version, and check that nothing of it is damaged.

    Raises:
        HarnessError: it is not a submission, or its hashes do not match.
    """
    files = archive.read(path, _is_member)
    if MANIFEST not in files:
        raise HarnessError(f"it has no {MANIFEST}")
    _check_items(files)
    manifest = parse(files.pop(MANIFEST))
    _check_hashes(manifest, files)
    decode = _decoded_1 if manifest.version == 1 else _decoded_2
    suite = files.get(SUITE, b"").decode(errors="replace")
    return Contents(manifest, suite, decode(files))


def _check_items(files: dict[str, bytes]) -> None:
    """Refuse JSON that would take far more memory than its text."""
    items = {
        name: sum(data.count(mark) for mark in (b",", b":", b"[", b"{"))
        for name, data in files.items()
        if name.endswith((".json", ".jsonl"))
    }
    total = sum(items.values())
    if total > MOST_ITEMS:
        raise HarnessError(f"its JSON has {total:,} items; the limit is {MOST_ITEMS:,}")
    if items[MANIFEST] > MOST_ITEMS_OF_MANIFEST:
        raise HarnessError(
            f"{MANIFEST} has {items[MANIFEST]:,} items; the limit is {MOST_ITEMS_OF_MANIFEST:,}"
        )


def _is_member(name: str) -> bool:
    return name in (MANIFEST, SUITE, CELLS, ARRAYS) or _FOLDER_1.fullmatch(name) is not None


def _check_hashes(manifest: Manifest, files: dict[str, bytes]) -> None:
    if manifest.files.keys() != files.keys():
        odd = min(manifest.files.keys() ^ files.keys())
        raise HarnessError(f"{MANIFEST} lists other files than there are: {odd!r}")
    altered = [name for name, data in files.items() if _digest(data) != manifest.files[name]]
    if altered:
        raise HarnessError(
            f"{len(altered)} of {len(files)} files do not have their sha256, such as {altered[0]}"
        )


def _decoded_2(files: dict[str, bytes]) -> Cells:
    if CELLS not in files or ARRAYS not in files:
        raise HarnessError(f"it has no {CELLS if CELLS not in files else ARRAYS}")
    try:
        tensors = arrays.ArrayReader(files.pop(ARRAYS))
    except HarnessError as error:
        raise HarnessError(f"{ARRAYS}: {error.message}") from None
    results: dict[str, CellResult] = {}
    names: dict[tuple[str, str], dict[str, str]] = {}
    for number, line in enumerate(io.BytesIO(files.pop(CELLS)), start=1):
        place = f"{CELLS}:{number}"
        content = _json(line.rstrip(b"\n"), place)
        key = content.get("key")
        if not isinstance(key, str) or key in results:
            raise HarnessError(f"{place}: it has no key, or that of another line")
        results[key] = _result(content, key)
        names[key, VERDICTS] = _tensor_names(content, "arrays", place, tensors)
        if "saved" in content:
            names[key, SAVED] = _tensor_names(content, "saved", place, tensors)

    def load_arrays(key: str, file: str) -> dict[str, np.ndarray]:
        return {name: tensors[tensor] for name, tensor in names.get((key, file), {}).items()}

    return Cells(results, load_arrays)


def _tensor_names(
    content: dict[str, Any], part: str, place: str, tensors: arrays.ArrayReader
) -> dict[str, str]:
    try:
        names = _NAMES.validate_python(content.get(part), strict=True)
    except ValidationError:
        raise HarnessError(f"{place}: {part}: not a mapping of names to tensors") from None
    for tensor in names.values():
        if tensor not in tensors:
            raise HarnessError(f"{place}: {ARRAYS} has no tensor {tensor[:80]!r}")
    return names


def _decoded_1(files: dict[str, bytes]) -> Cells:
    keys = {match["key"] for match in map(_FOLDER_1.fullmatch, files) if match}
    results = {}
    for key in keys:
        name = f"cells/{key}/{_CELL_1}"
        if name in files:
            results[key] = _result(_json(files[name], name), key)

    @lru_cache(maxsize=256)
    def load_arrays(key: str, file: str) -> dict[str, np.ndarray]:
        data = files.get(f"cells/{key}/{file}")
        try:
            return {} if data is None else arrays.load(data)
        except HarnessError as error:
            raise HarnessError(f"cell {key}: {file}: {error.message}") from None

    return Cells(results, load_arrays)


def _json(text: bytes, place: str) -> dict[str, Any]:
    try:
        content = schema.parse(text)
    except Odd as error:
        raise HarnessError(f"{place}: {error}") from None
    if not isinstance(content, dict):
        raise HarnessError(f"{place}: not a JSON object")
    return content


def _result(content: dict[str, Any], key: str) -> CellResult:
    try:
        return CellResult(**schema.checked(content.get("result")))
    except Odd as error:
        raise HarnessError(f"cell {key} cannot be read: {error}") from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
