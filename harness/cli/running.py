"""``harness run`` and ``harness plan``: compute the cells of a suite, or list them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import listing, tables
from harness.cli.app import RUN, app
from harness.cli.options import (
    Address,
    AsJson,
    BatchSize,
    DataRoot,
    Device,
    ExecutorName,
    Gpus,
    Memory,
    OutDir,
    Sets,
    StorePath,
    SuitePath,
    TimeLimit,
    Workers,
)
from harness.cli.output import counted, err, out, print_failures, print_json, print_skipped
from harness.files import make_folder
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.cells.cell import Cell
    from harness.cells.plan import Plan
    from harness.execute.base import Outcome
    from harness.execute.forecast import Forecast
    from harness.storage.store import Store


@app.command(rich_help_panel=RUN)
def run(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    batch_size: BatchSize = 256,
    out_dir: OutDir = None,
    executor: ExecutorName = "local",
    address: Address = None,
    gpus: Gpus = None,
    memory: Memory = None,
    time_limit: TimeLimit = None,
) -> None:
    """Compute what is missing, then write and show tables.

    An interrupted run is resumed by the same command. Tables and figures go to --out, by default
    to tables/NAME in the store (results/tables/NAME if the store is at a URL). For clusters see
    docs/cluster.md.

    Example: harness run suites/quickstart.yaml
    """
    from harness.execute import session
    from harness.execute.session import RunOptions

    if out_dir:
        make_folder(out_dir)  # fail now rather than after hours of computing
    options = RunOptions(
        store=store,
        data_root=data_root,
        device=device,
        workers=workers,
        batch_size=batch_size,
        executor=executor,
        executor_options={"address": address, "gpus": gpus, "memory": memory},
        time_limit=time_limit,
    )
    sets = set_ or []
    start = time.monotonic()
    done = session.run(suite, options, sets=sets, console=err)
    folder = out_dir or tables.default_folder(store, done.plan.suite.name)
    written = tables.write(done.plan, done.results, folder, options, suite=suite, sets=sets)
    tables.show(done.plan, done.results)
    print_skipped(done.plan, err)
    outcome = done.outcome
    _print_end(suite, folder, written, outcome, time.monotonic() - start)
    if outcome.failed:
        print_failures(done.plan, outcome.failed, store)
        raise typer.Exit(1)


def _print_end(
    suite: Path, folder: Path, written: Sequence[Path], outcome: Outcome, seconds: float
) -> None:
    """Say what was done, where it is, and what to do next."""
    from harness.execute.display import duration

    done, found, failed = (len(each) for each in (outcome.done, outcome.found, outcome.failed))
    err.print(
        f"{counted(done, 'cell')} computed in {duration(seconds)}, {found} found in the store, "
        f"{failed} failed"
    )
    state = counted(len(written), "file") if written else "up to date"
    err.print(f"tables and figures: {folder} ({state})")
    figures = sorted(folder.glob("*.png"))
    if figures:
        err.print(f"to look at: {figures[0]}")
    if not failed:
        err.print(f"next: harness trust {suite}, or harness board {suite} --out site")


@app.command(rich_help_panel=RUN)
def plan(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    why: Annotated[
        bool, typer.Option("--why", help="Name the definitions whose change made cells stale.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a suite's cells, which are done, how long the rest takes.

    Example: harness plan suites/quickstart.yaml
    """
    from harness.execute import session
    from harness.execute.forecast import forecast
    from harness.execute.session import RunOptions

    options = RunOptions(store=store, data_root=data_root, device=device, workers=workers)
    layout = session.plan(suite, options, sets=set_ or [])
    folder = options.open_store()
    if why:
        _print_stale(layout, folder, as_json=as_json)
        return
    work = forecast(layout, folder, workers)
    rows = [_row(cell, work) for cell in work.cells]
    if as_json:
        skipped = {each.name: each.skipped for each in layout.suite.protocols if each.skipped}
        print_json(
            {
                "suite": layout.suite.name,
                "cells": rows,
                "seconds_left": round(work.seconds, 1),
                "seconds_left_range": [round(work.range.low, 1), round(work.range.high, 1)],
                "skipped": skipped,
                "rough_guesses": work.based_on("guess"),
            }
        )
        return
    done = len(rows) - len(work.missing)
    short = []
    for row in rows:
        key = (row.pop("key") or "open")[:8]
        short.append({**row, "key": key})
    listing.show(short, f"{layout.suite.name}: {len(rows)} cells, {done} done")
    if layout.waiting:
        err.print(
            f"open: {len(layout.waiting)} cells are not yet resolved, "
            "because a match has to choose a value first"
        )
    print_skipped(layout, err)
    _print_detectable(layout, folder)
    err.print(_time_left(work))


def _print_stale(layout: Plan, store: Store, *, as_json: bool) -> None:
    """Print the cells that changed code made stale, with the definitions that changed."""
    from harness.cells.likeness import stale_cells

    stale = list(stale_cells(layout, store))
    if as_json:
        rows = [
            {"key": each.cell.key, "cell": each.cell.title, "changes": each.changes}
            for each in stale
        ]
        print_json({"suite": layout.suite.name, "stale": rows})
        return
    by_change: dict[tuple[str, ...], list[str]] = {}
    for each in stale:
        by_change.setdefault(tuple(each.changes), []).append(each.cell.title)
    for changes, titles in by_change.items():
        out.print(", ".join(changes) or "code that the store has no record of")
        for title in titles:
            out.print(f"  {title}")
    out.print(f"{len(stale)} of {len(layout.unique)} cells are stale because code changed")


def _what(cell: Cell) -> str:
    if cell.role == "trust":
        return f"{cell.protocol}, trust checks"
    return cell.protocol or cell.role


def _row(cell: Cell, work: Forecast) -> dict[str, Any]:
    return {
        "key": None if cell.behind else cell.key,
        "learner": cell.learner,
        "what": _what(cell),
        "setting": cell.label,
        "seed": cell.seed,
        "done": cell.key not in work.expected,
        "seconds": round(work.expected[cell.key].seconds, 1) if cell.key in work.expected else 0.0,
    }


def _print_detectable(layout: Plan, store: Store) -> None:
    """Print the smallest difference between learners that each protocol can show."""
    from harness.cells import estimate

    for entry in layout.suite.protocols:
        cells = [cell for cell in layout.unique if cell.protocol == entry.name]
        spread = estimate.spread(cells, store)
        difference = entry.protocol.detectable(len(entry.seeds), spread)
        if difference:
            err.print(f"{entry.name} can show a difference of about {difference}")


def _time_left(work: Forecast) -> str:
    from harness.execute.display import between

    if not work.missing:
        return "all done"
    words = {
        "store": "like cells in the store",
        "learned": "like cells of earlier runs",
        "guess": "guessed",
    }
    counts = {text: work.based_on(basis) for basis, text in words.items()}  # type: ignore[arg-type]
    basis = ", ".join(f"{count} {text}" for text, count in counts.items() if count)
    cells = counted(len(work.missing), "cell")
    workers = counted(work.workers, "worker")
    return f"{cells} to compute, {between(work.range)} on {workers} (times: {basis})"
