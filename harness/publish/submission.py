"""Submissions: what a store holds of a suite, in one file with hashes, to be laid on a board beside others'.

A submission is a zip file of

* ``manifest.json``: the suite's outline and tables, the name of each cell, and the sha256 of every other file;
* ``suite.yaml``: the suite with all that it extends, for whoever wants to run it again;
* ``cells/KEY/``: the cells as they lie in the store, training cells without their weights.

Hashes show damage, not honesty: whoever makes a file can hash what he likes. So a reader also recomputes each cell's key
from what it says it measured, and each number from the verdicts that it says it is the mean of.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from harness.cells.collect import Outline, gather
from harness.cells.matching import Match
from harness.cells.plan import Plan
from harness.cells.results import Results
from harness.commits import File
from harness.errors import HarnessError, StoreError
from harness.files import write_atomically
from harness.records import TrustCheck, Value
from harness.registry import Config
from harness.storage.cellfile import cell_key
from harness.storage.store import VERDICTS, CellResult, Store
from harness.suite.load import resolved
from harness.suite.model import Name
from harness.suite.specs.match import Search
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

FORMAT = "bioharness submission"
VERSION = 1
MOST_BYTES = 2**30
MOST_FILES = 100_000
"""What a submission may unpack to; a suite of thousands of cells stays far below."""

MEASURED = "measured.zip"
"""What a submission is called that is kept beside the tables made from it."""
MANIFEST, SUITE, CELL = "manifest.json", "suite.yaml", "cell.json"
_MEMBER = re.compile(
    rf"{re.escape(SUITE)}|cells/[0-9a-f]{{24}}/({re.escape(CELL)}|{re.escape(VERDICTS)})"
)
_ROUNDING = 1e-6
"""Verdicts may be stored as float32."""


class CellName(Config):
    """A cell under the names that its suite gives."""

    key: str = Field(pattern=r"^[0-9a-f]{24}$", description="the cell's key")
    role: Literal["train", "match", "measure"] = Field(
        description="training, choosing a key of a learner, or measuring"
    )
    learner: str = Field(description="name of the learner in the suite")
    protocol: str = Field(
        description="name of the protocol in the suite; measurements alone have one"
    )


class LearnerOutline(Config):
    """A learner as its suite has it."""

    kind: str = Field(description="what kind of learner")
    config: dict[str, Any] = Field(
        description="every key of it; null in the place of one that is chosen by a match"
    )
    match: dict[str, Any] | None = Field(
        None, description="which key is chosen, and what is to be reached"
    )


class ProtocolOutline(Config):
    """A protocol as its suite has it."""

    kind: str = Field(description="what kind of protocol")
    block: dict[str, str] = Field(description="the protocol block, condition -> value")
    seeds: list[int] = Field(description="the seeds it was planned for")


class Manifest(Config):
    """What lies in a submission, and under which names."""

    format: Literal["bioharness submission"] = Field(description="says that this is one")
    version: Literal[1] = Field(description="of this layout")
    name: Name = Field(description="the suite's")
    description: str = Field(description="the suite's")
    learners: dict[Name, LearnerOutline] = Field(description="name -> what it is")
    protocols: dict[Name, ProtocolOutline] = Field(description="name -> how it measures")
    tables: list[TableSpec] = Field(description="the tables that the suite asks for")
    published: list[PublishedSpec] = Field(description="numbers of others, printed beside ours")
    cells: list[CellName] = Field(description="every cell")
    files: dict[str, str] = Field(description="file -> its sha256")

    def outline(self) -> Outline:
        """What results say of the suite."""
        return Outline(
            self.name,
            self.description,
            {name: entry.model_dump() for name, entry in self.learners.items()},
            {name: entry.model_dump() for name, entry in self.protocols.items()},
        )


@dataclass(frozen=True)
class Submission:
    """A submission that has been read and found sound.

    Attributes:
        manifest: what lies in it.
        results: what it measured.
    """

    manifest: Manifest
    results: Results


# ------------------------------------------------------------------------------------------------------------- packing


def pack(plan: Plan, store: Store, suite_text: str, path: Path) -> Manifest:
    """Write all that a store holds of a suite into one file. Same store, same bytes.

    Args:
        suite_text: the suite as YAML.

    Raises:
        HarnessError: a measurement is missing or damaged.
    """
    there = {key for key, _ in store.results(cell.key for cell in plan.unique)}
    missing = [
        cell.title for cell in [*plan.unique, *plan.waiting] if cell.behind or cell.key not in there
    ]
    if missing:
        count = len(plan.unique) + len(plan.waiting)
        raise HarnessError(
            f"{len(missing)} of {count} cells are not in {store.root}, the first: {missing[0]}",
            hint="`harness run` makes them",
        )
    files = {
        SUITE: suite_text.encode(),
        **{name: data for cell in plan.unique for name, data in _members(cell.key, store)},
    }
    outline = Outline.of(plan.suite)
    named = {
        (cell.key, cell.learner, cell.protocol): CellName(
            key=cell.key, role=cell.role, learner=cell.learner, protocol=cell.protocol
        )
        for cell in plan.cells
    }
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        **asdict(outline),
        tables=plan.suite.tables,
        published=plan.suite.published,
        cells=list(named.values()),
        files={name: _digest(data) for name, data in sorted(files.items())},
    )
    write_atomically(
        path,
        _zipped(
            {MANIFEST: manifest.model_dump_json(indent=1).encode(), **dict(sorted(files.items()))}
        ),
    )
    return manifest


def suite_text(path: Path, sets: Sequence[str] = ()) -> str:
    """A suite file with all that it extends, as YAML."""
    import yaml

    return yaml.safe_dump(
        resolved(path, sets).value, sort_keys=False, allow_unicode=True, width=130
    )


def _members(key: str, store: Store) -> Iterator[tuple[str, bytes]]:
    for name, data in store.content(key, (CELL, VERDICTS)).items():
        yield f"cells/{key}/{name}", data


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980: no wall clock in it
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------------------------------- reading


def read(path: File) -> Submission:
    """Read a submission, a file on disk or of a commit, and check all of it. Nothing is unpacked to disk.

    Raises:
        HarnessError: no submission, damaged, or not what it says it is; one error that names the file.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as packed:
            files = _checked_members(packed)
            manifest = _manifest(files.pop(MANIFEST))
    except HarnessError as error:
        raise _refused(path, error.message) from None
    except OSError as error:
        raise _refused(path, f"cannot read it: {error.strerror or error}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        EOFError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise _refused(path, f"damaged, or no zip file: {error}") from None
    try:
        _check_hashes(manifest, files)
        cells = _Packed(files)
        for cell in manifest.cells:
            _check_identity(cell, manifest, cells)
        results = gather(manifest.outline(), manifest.cells, cells)
        _check_numbers(results)
    except HarnessError as error:
        raise _refused(path, error.message) from None
    return Submission(manifest, results)


def _refused(path: File, why: str) -> HarnessError:
    return HarnessError(
        f"not taken as a submission: {why}",
        where=str(path),
        hint="`harness submit SUITE.yaml` makes one",
    )


def _checked_members(packed: zipfile.ZipFile) -> dict[str, bytes]:
    """Name -> content; every name and size is looked at before anything is unpacked."""
    entries = packed.infolist()
    names = [entry.filename for entry in entries]
    strange = [name for name in names if name != MANIFEST and not _MEMBER.fullmatch(name)]
    if strange:
        raise HarnessError(f"it holds a file that has no place in one: {strange[0][:80]!r}")
    if len(set(names)) < len(names) or MANIFEST not in names:
        raise HarnessError(
            "it holds a file twice" if MANIFEST in names else f"it has no {MANIFEST}"
        )
    size = sum(entry.file_size for entry in entries)
    if size > MOST_BYTES or len(entries) > MOST_FILES:
        raise HarnessError(
            f"it would unpack to {size / 2**20:.0f} MiB in {len(entries)} files; "
            f"at most {MOST_BYTES / 2**20:.0f} MiB in {MOST_FILES} are taken"
        )
    return {
        name: packed.read(name) for name in names
    }  # reads no more than the size that was looked at


def _manifest(data: bytes) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise HarnessError(f"{MANIFEST}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _check_hashes(manifest: Manifest, files: dict[str, bytes]) -> None:
    if manifest.files.keys() != files.keys():
        odd = sorted(manifest.files.keys() ^ files.keys())
        raise HarnessError(f"{MANIFEST} and the files there are do not agree on {odd[0]!r}")
    altered = [name for name, data in files.items() if _digest(data) != manifest.files[name]]
    if altered:
        raise HarnessError(
            f"{len(altered)} of {len(files)} files are not what was packed (sha256), the first: {altered[0]}"
        )


class _Data(TypedDict):
    kind: str
    content: str


class _Identity(TypedDict):
    """What is read of a cell's identity here; the rest is for its key."""

    role: str
    seed: int
    dataset: _Data


class _MeasureIdentity(_Identity):
    setting: dict[str, Any]
    training: str | None


class _TrainIdentity(_Identity):
    splitting: str
    labelled: bool
    budget: int | None


_MEASURING, _TRAINING = TypeAdapter(_MeasureIdentity), TypeAdapter(_TrainIdentity)
_RESULT, _VALUES, _CHECKS = (
    TypeAdapter(CellResult),
    TypeAdapter(list[Value]),
    TypeAdapter(list[TrustCheck]),
)
_SEARCH, _MATCH = TypeAdapter(Search), TypeAdapter(Match)


class _Packed:
    """The cells of a submission, to be read as a store's are."""

    def __init__(self, files: dict[str, bytes]):
        self._files = files
        self.read = lru_cache(maxsize=None)(self._read)

    def _read(self, key: str) -> CellResult:
        try:
            result = _RESULT.validate_python(
                json.loads(self._files[f"cells/{key}/{CELL}"])["result"]
            )
            _VALUES.validate_python(result.values)
            _CHECKS.validate_python(result.trust)
            return result
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise HarnessError(
                f"cell {key} cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}"
            ) from None

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Cells of those keys; one that is not there is an error."""
        return ((key, self.read(key)) for key in dict.fromkeys(keys))

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """The verdicts of a cell; none where it has none."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return load(self._files[f"cells/{key}/{VERDICTS}"])
        except KeyError:
            return {}
        except (SafetensorError, ValueError) as error:
            raise StoreError(f"cell {key}: cannot read its verdicts: {error}") from None


def _check_identity(cell: CellName, manifest: Manifest, cells: _Packed) -> None:
    """A cell measured what its key says, on the learner and the kind of protocol that its name stands for."""
    identity, known = cells.read(cell.key).identity, manifest.learners.get(cell.learner)
    try:
        if cell_key(identity) != cell.key:
            raise HarnessError(f"cell {cell.key} is not what its key is a hash of")
        kind_of, config = (identity["learner"][name] for name in ("kind", "config"))
        kind = identity["protocol"]["kind"] if cell.role == "measure" else None
        configs = _configs(cell, known, manifest, cells) if known else []
        (_MEASURING if cell.role == "measure" else _TRAINING).validate_python(identity, strict=True)
    except ValidationError as error:
        raise HarnessError(f"cell {cell.key} does not say what it is: {_first(error)}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"cell {cell.key} does not say what it is: {error}") from None
    if (
        known is None
        or kind_of != known.kind
        or config not in configs
        or identity["role"] != cell.role
    ):
        raise HarnessError(
            f"cell {cell.key} is not of the learner that it is named after, {cell.learner[:60]!r}"
        )
    if cell.role == "measure" and kind != getattr(
        manifest.protocols.get(cell.protocol), "kind", None
    ):
        raise HarnessError(
            f"cell {cell.key} is not of the protocol that it is named after, {cell.protocol[:60]!r}"
        )


def _configs(
    cell: CellName, known: LearnerOutline, manifest: Manifest, cells: _Packed
) -> list[dict[str, Any]]:
    """The configs that a cell of a learner may have: its own, or where a key is chosen, those with a value that was chosen."""
    if known.match is None:
        return [] if cell.role == "match" else [known.config]
    key = _SEARCH.validate_python(known.match).key
    if cell.role == "match":
        return [known.config]
    made = [
        _MATCH.validate_python(cells.read(one.key).log["match"])
        for one in manifest.cells
        if (one.role, one.learner) == ("match", cell.learner)
    ]
    return [{**known.config, key: match.value} for match in made]


def _check_numbers(results: Results) -> None:
    """Every number that verdicts stand behind is their mean."""
    for record in results.records:
        if record.verdicts is not None:
            try:
                units = np.asarray(results.verdicts(record.cell, record.verdicts), np.float64)
            except KeyError:
                raise HarnessError(
                    f"cell {record.cell}: no verdicts behind {record.metric} of {record.learner}"
                ) from None
            if units.shape != (record.n,) or not abs(units.mean() - record.value) <= _ROUNDING:
                raise HarnessError(
                    f"cell {record.cell}: {record.metric} {record.value:g} over {record.n} of {record.learner} "
                    "is not the mean of its verdicts"
                )
