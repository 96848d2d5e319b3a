"""Recompute a sample of a submission's cells with the code here: ``harness verify``.

The suite in the submission is planned and run, so this runs the code that it names. Verdicts repeat
to the last bit only on the same kind of processor with the same releases; elsewhere a few units
differ, and a number must then be within the interval that was submitted.

What a ``match`` chose is taken from the submission, not searched again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from harness.cells import plan as planning
from harness.cells.cell import Cell
from harness.cells.plan import Lookup
from harness.errors import HarnessError, SuiteError
from harness.execute import session
from harness.execute.base import prerequisites
from harness.execute.session import RunOptions
from harness.publish import contents, submission
from harness.publish.contents import Cells, Contents
from harness.publish.recount import interval
from harness.rng import Rng
from harness.storage.store import CellResult, Store
from harness.suite import load as suites

Agreement = Literal["exactly", "within the interval", "no", "not verified"]
NEAR = 0.05
"""Largest relative difference of a number that has no verdicts."""

_Place = tuple[str, str, int, str]
"""Learner, protocol, seed and setting of a measurement."""


@dataclass(frozen=True)
class Recomputed:
    """A cell of a submission that was measured again.

    Attributes:
        title: what it measures, in a line.
        agrees: whether it measured the same here, or cannot be measured by the code here.
        why: how it differs, or why it is not verified; empty if it agrees exactly.
    """

    title: str
    agrees: Agreement
    why: str = ""


def rerun(
    path: Path,
    options: RunOptions,
    *,
    cells: int = 3,
    seed: int = 0,
    plugins: bool = False,
    console: Console | None = None,
) -> list[Recomputed]:
    """Measure a random sample of a submission's cells again, with the trainings they need.

    Args:
        path: the submission.
        options: how to run it; its cells go to a temporary store.
        cells: number of measurements to draw; all if there are fewer.
        seed: of the draw.
        plugins: whether to import the modules that the suite names.
        console: where progress is shown; nowhere if None.

    Raises:
        HarnessError: the submission is not accepted, or its suite cannot be run here.
    """
    submission.read(path)
    loaded = contents.load(path)
    submitted = _submitted(loaded.manifest.cells, loaded.cells)
    with tempfile.TemporaryDirectory(prefix="harness-verify-") as folder:
        suite = Path(folder) / "suite.yaml"
        suite.write_text(loaded.suite, encoding="utf-8")
        options = replace(options, store=Path(folder) / "store")
        layout = _planned(suite, path, options, plugins, _recorded_choices(loaded))
        planned = _measurements(layout.cells)
        waiting = _measurements(layout.waiting)
        drawn = _drawn(sorted(submitted), cells, seed)
        chosen = {place: planned[place] for place in drawn if place in planned}
        needed = _with_what_they_need(list(chosen.values()), layout)
        part = [cell for cell in layout.unique if cell.key in needed]
        outcome = session.compute(replace(layout, cells=part, waiting=[]), options, console)
        store = options.open_store()
        return [
            _behind_a_match(place)
            if place in waiting
            else _recomputed(
                place, submitted[place], loaded.cells, chosen.get(place), store, outcome.failed
            )
            for place in drawn
        ]


def _recorded_choices(loaded: Contents) -> Lookup:
    """What the matches of a submission chose, by the keys that they have here."""
    matches = {cell.key for cell in loaded.manifest.cells if cell.role == "match"}
    return lambda key: loaded.cells.read(key) if key in matches else None


def _with_what_they_need(cells: list[Cell], layout: planning.Plan) -> set[str]:
    """Keys of some cells, and of all cells that must run before them."""
    by_key = {cell.key: cell for cell in layout.unique}
    needed: set[str] = set()
    while cells:
        cell = cells.pop()
        needed.add(cell.key)
        cells += [by_key[key] for key in prerequisites(cell) if key in by_key]
    return needed


def _measurements(cells: Sequence[Cell]) -> dict[_Place, Cell]:
    return {
        _place(cell.learner, cell.protocol, cell.identity): cell
        for cell in cells
        if cell.role in ("measure", "judge")
    }


def _planned(
    suite: Path, path: Path, options: RunOptions, plugins: bool, lookup: Lookup
) -> planning.Plan:
    try:
        loaded = suites.load(
            suite, data_root=options.data_folder, plugins=plugins, environment=False
        )
        session.check_device(options.device)
        return planning.make(loaded, device=options.device, lookup=lookup)
    except SuiteError as error:
        hint = error.hint
        if "plugin" in error.message:
            hint = "it names a Python module: read that code, then give --plugins to run it"
        raise HarnessError(
            f"its suite cannot be run here: {error.message}", where=str(path), hint=hint
        ) from None


def _place(learner: str, protocol: str, identity: Mapping[str, Any]) -> _Place:
    setting = json.dumps(identity.get("setting"), sort_keys=True)
    return learner, protocol, identity["seed"], setting


def _submitted(names: list, cells: Cells) -> dict[_Place, str]:
    """Place of each measurement -> key of its cell."""
    return {
        _place(name.learner, name.protocol, cells.read(name.key).identity): name.key
        for name in names
        if name.role in ("measure", "judge")
    }


def _drawn(places: list[_Place], count: int, seed: int) -> list[_Place]:
    generator = Rng(seed).numpy("verify a submission")
    chosen = generator.permutation(len(places))[:count]
    return [places[place] for place in sorted(chosen)]


def _title(place: _Place) -> str:
    learner, protocol, seed, setting = place
    attack = json.loads(setting).get("attack", "")
    return " · ".join(filter(None, [learner, protocol, attack, f"seed {seed}"]))


def _behind_a_match(place: _Place) -> Recomputed:
    why = "its match was made by other code, so what it chose is not known here"
    return Recomputed(_title(place), "not verified", why)


def _recomputed(
    place: _Place,
    key: str,
    cells: Cells,
    cell: Cell | None,
    store: Store,
    failed: Mapping[str, str],
) -> Recomputed:
    title = _title(place)
    there = cells.read(key)
    if cell is None:
        return Recomputed(title, "no", "its suite does not plan it")
    here = store.read(cell.key)
    if here is None:
        reason = failed.get(cell.key) or failed.get(cell.training or "") or "not measured"
        return Recomputed(title, "no", f"it cannot be measured here: {reason}")
    content = here.identity["dataset"]["content"]
    if content != there.identity["dataset"]["content"]:
        return Recomputed(title, "no", "the data here are others")
    differences = list(_differences(there, here, cells.arrays(key), store.arrays(cell.key)))
    beyond = [words for words, is_near in differences if not is_near]
    if beyond:
        return Recomputed(title, "no", "; ".join(beyond[:3]))
    words = "; ".join(words for words, _ in differences[:3])
    return Recomputed(title, "within the interval" if differences else "exactly", words)


def _differences(
    there: CellResult,
    here: CellResult,
    their_arrays: Mapping[str, np.ndarray],
    own_arrays: Mapping[str, np.ndarray],
) -> Iterator[tuple[str, bool]]:
    """How a cell differs, in words, and whether each difference is within the interval."""
    own = {_number_of(value): value for value in here.values}
    for value in there.values:
        again = own.get(_number_of(value))
        name = value["verdicts"]
        if again is None:
            yield f"{value['metric']} is not measured here", False
        elif name is not None:
            if not np.array_equal(their_arrays[name], own_arrays[name]):
                # The interval of its verdicts, not the one that the file claims.
                low, high = interval(np.asarray(their_arrays[name], np.float64), value["unit"])
                is_near = low is not None and high is not None and low <= again["value"] <= high
                yield _words(value, again), is_near
        elif value["value"] != again["value"]:
            yield _words(value, again), _is_near(value["value"], again["value"])


def _number_of(value: Mapping[str, Any]) -> tuple[str, str]:
    return value["metric"], json.dumps(value["setting"], sort_keys=True)


def _words(value: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    return f"{value['metric']} {value['value']:.4g} submitted, {again['value']:.4g} here"


def _is_near(submitted: float, here: float) -> bool:
    return abs(submitted - here) <= NEAR * max(abs(submitted), abs(here))
