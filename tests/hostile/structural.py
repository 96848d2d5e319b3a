"""Structural mutations of JSON: types, ranges, missing and added fields, wherever in the tree."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.util
import json
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

import baselines
import harness
from harness import api
from harness.cells import collect, likeness, stored
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import RunOptions
from harness.publish import leaderboard, reading, submission
from harness.report import (
    compare,
    frames,
    gate,
    gate_text,
    reference,
    reference_file,
    tables,
    trusted,
)
from harness.report.board.site import write_site
from harness.report.checking import learner_configs
from harness.storage import cellfile, garbage, pack_format, verification
from harness.storage.store import Store

NASTY = [
    *(None, True, False, 0, -1, 1, 7, 10**400, 2**63, 1.5, 0.5, -0.0, 1e308, -1e308),
    *(float("inf"), float("-inf"), float("nan")),
    *("", " ", "\0", "\x1b[31mred", "\u202e", "x" * 3000, "\ud800", "0", "0.1", "nan", "\r\n"),
    *("<script>alert(1)</script>", "=cmd|'/c calc'!A1", "\\input{/etc/passwd}", "../../x", "/x"),
    *("clean", "worst", "mean", "pgd", "accuracy", "error", "best_family", "band", "enforced"),
    *(
        "relative_drop",
        "sample",
        "image",
        "episode",
        "synapse",
        "antigravity:x",
        "planted_in_the_working_folder:Mine",
        "../../../../../../x",
        "measure",
        "train",
    ),
    *([], {}, [[]], [None], {"": ""}, {"a": {"b": 1}}, ["a", "b"], 99, 3),
]
NAMES = ["", "x" * 50, "metric", "eps", "kind", "attack", "seed", "learner", "config", "new", "\0"]


def _places(tree: Any, path: tuple = ()) -> list[tuple]:
    places = [path] if path else []
    if isinstance(tree, dict | list):
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in entries:
            places += _places(value, (*path, key))
    return places


@st.composite
def mutated(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of a tree with one to ``most`` changes."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        places = _places(tree)
        if places:
            _change(draw, tree, draw(st.sampled_from(places)))
    return tree


def _change(draw: st.DrawFn, tree: Any, place: tuple) -> None:
    *steps, last = place
    parent = tree
    for step in steps:
        parent = parent[step]
    how = draw(st.sampled_from(["set", "set", "set", "remove", "rename", "repeat"]))
    if how == "remove" and isinstance(parent, dict):
        del parent[last]
    elif how == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(NAMES))] = parent.pop(last)
    elif how == "repeat" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]))
    else:
        parent[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))


SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, mlp: {kind: mlp, hidden: 8, epochs: 1}}
budget: {images: 50}
protocols:
  robust: {kind: attack_sweep, dataset: digits, images: 20,
           attacks: [{attack: pgd, eps: [0, 0.1], steps: 2}]}
  clean: {kind: classification, dataset: digits}
  audit: {kind: biology, dataset: digits, learners: [mlp], images: 20}
tables: [{protocol: robust, columns: [attack, eps], title: Under attack}]
"""
KINDS = ["manifest", "line", "line", "cell", "cell", "reference", "reference"]
if importlib.util.find_spec("pyarrow"):
    KINDS.append("pack")
PLANTED = "planted_in_the_working_folder"
NAMED = ("antigravity", "this", PLANTED)
"""Modules that mutated files name: two of the standard library, and one of the working folder."""
ALLOWED = [
    *(Path(sysconfig.get_path(each)).resolve() for each in ("stdlib", "purelib", "platlib")),
    *(Path(str(each.__file__)).resolve().parent for each in (harness, baselines)),
]
"""Where modules may come from: the libraries, harness and the baselines."""


def foreign(names: Iterable[str]) -> list[str]:
    """Those of the loaded modules that reading a file must not have imported."""
    return [name for name in names if name in NAMED or not _is_allowed(sys.modules[name])]


def _is_allowed(module: ModuleType) -> bool:
    path = getattr(module, "__file__", None)
    if path is None:
        return True  # built in, or made by a library: no file was run
    return any(Path(path).resolve().is_relative_to(folder) for folder in ALLOWED)


def contents_of(folder: Path, without: Path) -> dict[str, str]:
    """Path -> the hash of a file, the target of a link, or ``""`` for a folder.

    Args:
        folder: everything in it is listed.
        without: a folder in it that is left out.
    """
    found = {}
    for path in folder.rglob("*"):
        if path.is_relative_to(without):
            continue
        if path.is_symlink():
            content = f"link to {path.readlink()}"
        else:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = content
    return found


class Site:
    """A folder with an honest store, submission and reference, and what reads mutated ones.

    Args:
        parent: an empty folder. Reading may write to ``site/odd`` in it and nowhere else.
    """

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.root = root = parent / "site"
        self.odd = root / "odd"
        self.working = parent / "working"
        for folder in (self.odd, self.working):
            folder.mkdir(parents=True)
        (self.working / f"{PLANTED}.py").write_text("class Mine: ...\n")
        self.suite = root / "tiny.yaml"
        self.store = root / "store"
        self.honest = root / "honest.zip"
        self.out = self.odd / "out"
        self.suite.write_text(SUITE)
        self.ran = api.run(self.suite, store=self.store, workers=1)
        assert not self.ran.outcome.failed
        submission.pack(self.ran.plan, Store(self.store), SUITE, self.honest)
        self.measured = reference.of_results(self.ran.results, learner_configs(self.ran.results))
        reference.save(self.measured, root / "honest.json")
        with zipfile.ZipFile(self.honest) as packed:
            self.files = {name: packed.read(name) for name in packed.namelist()}
        self.manifest = json.loads(self.files.pop("manifest.json"))
        self.cells = [json.loads(line) for line in self.files["cells.jsonl"].splitlines()]
        self.reference = json.loads((root / "honest.json").read_text())
        self.before = contents_of(parent, self.odd)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Read in the working folder; then nothing was imported, nor written elsewhere."""
        modules = set(sys.modules)
        sys.path.insert(0, str(self.working))
        try:
            with contextlib.chdir(self.working):
                yield
        finally:
            sys.path.remove(str(self.working))
        assert foreign(set(sys.modules) - modules) == []
        assert contents_of(self.parent, self.odd) == self.before
        shutil.rmtree(self.odd)
        self.odd.mkdir()

    # ------------------------------------------------------------------------------- submissions

    def submission(self, manifest: Any, cells: list[Any]) -> Path:
        """A submission with these contents, whose hashes and keys are right."""
        manifest = copy.deepcopy(manifest)
        lines = []
        for cell in cells:
            lines.append(json.dumps(_rekeyed(cell, manifest)) + "\n")
        files = {**self.files, "cells.jsonl": "".join(lines).encode()}
        if isinstance(manifest, dict):
            manifest["files"] = {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}
        path = self.odd / "odd.zip"
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("manifest.json", json.dumps(manifest))
            for name, data in files.items():
                packed.writestr(name, data)
        return path

    def read_submission(self, path: Path) -> None:
        """Everything that reads a submission."""
        options = RunOptions(store=self.store)
        for sources in ([path], [self.honest, path]):
            with contextlib.suppress(HarnessError):
                gathered = leaderboard.gather(sources, options)
                write_site(gathered.divisions, gathered.refused, self.out / "site")
        with contextlib.suppress(HarnessError):
            measured = reading.measured(path, options)
            compare.runs(self.measured, measured)
            compare.runs(measured, self.measured)
        self._read_results(lambda: reading.results(path, options))

    def _read_results(self, read: Callable[[], Results]) -> None:
        with contextlib.suppress(HarnessError):
            trusted.of_results(read())
        with contextlib.suppress(HarnessError):
            results = read()
            tables.write_tables(results, self.ran.plan.suite.tables, self.out / "tables", [])
            frame = frames.frame(results.records)
            frames.write(frame, self.out / "records.csv")
            for record in results.records:
                json.dumps(record.to_dict()).encode()

    # ------------------------------------------------------------------------------------- cells

    def store_with(self, key: str, result: Any) -> Path:
        """A copy of the store in which one cell has another result and the right hash."""
        store = self.odd / "store"
        shutil.copytree(self.store, store, ignore=shutil.ignore_patterns("tables"))
        folder = store / "cells" / key
        files = {each.name: each.read_bytes() for each in folder.iterdir()}
        files.pop("cell.json")
        (folder / "cell.json").write_bytes(cellfile.encode(result, files))
        return store

    def read_store(self, root: Path) -> None:
        """Everything that reads a store."""
        options = RunOptions(store=root)
        store = Store(root)
        self._read_results(lambda: collect.collect(session.plan(self.suite, options), store))
        self._read_results(lambda: stored.stored(store))
        with contextlib.suppress(HarnessError):
            trusted.of_store(store)
        with contextlib.suppress(HarnessError):
            garbage.garbage(store, damaged=True)
        with contextlib.suppress(HarnessError):
            gathered = leaderboard.gather([self.suite], options)
            write_site(gathered.divisions, gathered.refused, self.out / "site")
        with contextlib.suppress(HarnessError):
            compare.runs(self.measured, reading.measured(str(root), options, names=False))
        with contextlib.suppress(HarnessError):
            list(likeness.stale_cells(session.plan(self.suite, options), store))
        verification.verify(store, repair=True)
        session.unfinished(session.plan(self.suite, options), Store(root).unfinished)

    def store_with_pack(self, rows: Any) -> Path:
        """A store with a pack of these rows, whose name is the right hash."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        store = self.odd / "store"
        (store / "packs").mkdir(parents=True)
        if not isinstance(rows, list):
            rows = []
        rows = [row if isinstance(row, dict) else {} for row in rows]
        columns = {name: [row.get(name) for row in rows] for name in pack_format.COLUMNS}
        with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            table = pa.table(columns).replace_schema_metadata({"arrays": "0" * 64 + ".arrays"})
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            data = sink.getvalue().to_pybytes()
            name = hashlib.sha256(data).hexdigest()
            (store / "packs" / f"{name}.parquet").write_bytes(data)
        (store / "packs" / ("0" * 64 + ".arrays")).write_bytes(b"x" * 100)
        return store

    def read_packs(self, root: Path) -> None:
        """Everything that opens packs."""
        store = Store(root)
        with contextlib.suppress(HarnessError):
            for key in store.finished():
                store.read(key)
                store.arrays(key)
        with contextlib.suppress(HarnessError):
            stored.stored(Store(root))
        verification.verify(store)
        verification.verify(store, repair=True)
        Store(root).finished()

    # -------------------------------------------------------------------------------- references

    def read_reference(self, content: Any) -> None:
        """Everything that reads a reference."""
        path = self.odd / "odd.json"
        path.write_text(json.dumps(content))
        with contextlib.suppress(HarnessError):
            odd = reference_file.load(path)
            for before, now in ((self.measured, odd), (odd, self.measured)):
                report = gate.statistical(before, now)
                for text in (*gate_text.lines(report), gate_text.junit(report)):
                    text.encode()
                gate_text.markdown(report).encode()
                with contextlib.suppress(HarnessError):
                    compare.runs(before, now)
                with contextlib.suppress(HarnessError):
                    gate.exact(before, now)


def _rekeyed(line: Any, manifest: Any) -> Any:
    """The line of a cell with the key of its identity, which the manifest then names too."""
    try:
        new = cellfile.cell_key(line["result"]["identity"])
        old = line["key"]
        for cell in manifest["cells"]:
            if cell["key"] == old:
                cell["key"] = new
        return {**line, "key": new}
    except (KeyError, TypeError, ValueError):
        return line


def attempt(draw: Callable[[Any], Any], site: Site) -> None:
    """Read one mutated file of some kind, and check that nothing else happened.

    Args:
        draw: of a hypothesis strategy.
        site: what is mutated and read.
    """
    with site.watched():
        _attempt(draw, site)


def _attempt(draw: Callable[[Any], Any], site: Site) -> None:
    kind = draw(st.sampled_from(KINDS))
    if kind == "manifest":
        site.read_submission(site.submission(draw(mutated(site.manifest)), site.cells))
    elif kind == "line":
        cells = list(site.cells)
        place = draw(st.integers(0, len(cells) - 1))
        cells[place] = draw(mutated(cells[place]))
        site.read_submission(site.submission(site.manifest, cells))
    elif kind == "cell":
        line = draw(st.sampled_from(site.cells))
        site.read_store(site.store_with(line["key"], draw(mutated(line["result"]))))
    elif kind == "pack":
        rows = [_row(line) for line in site.cells[:3]]
        site.read_packs(site.store_with_pack(draw(mutated(rows))))
    else:
        site.read_reference(draw(mutated(site.reference)))


def _row(line: dict[str, Any]) -> dict[str, Any]:
    cell = cellfile.encode(line["result"], {"a": b"x"}).decode()
    return {"key": line["key"], "cell": cell, "names": ["a"], "starts": [0], "sizes": [1]}
