"""``harness store``: verify, compact and clean a store of finished cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import MAINTAIN, app, group
from harness.cli.options import AsJson, DataRoot, Device, StoreArgument, StorePath, SuitePath
from harness.cli.output import err, out, print_json
from harness.errors import HarnessError
from harness.storage.location import DEFAULT_STORE, is_store, is_url

if TYPE_CHECKING:
    from harness.storage.store import Store

store_commands = group("Verify, compact and clean a store of finished cells.")
app.add_typer(store_commands, name="store", rich_help_panel=MAINTAIN)


@store_commands.command()
def verify(
    store: StoreArgument = DEFAULT_STORE,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Move damaged cells to damaged/; the next run computes them again."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every file of a store against its hash and format.

    Exit status 1 if a file is damaged (and not repaired) or unknown.

    Example: harness store verify results/runs
    """
    from harness.storage import verification

    report = verification.verify(_open_existing(store), repair=repair)
    if as_json:
        print_json(
            {
                "cells": report.cells,
                "sound": report.sound,
                "faults": [vars(fault) for fault in report.faults],
                "repaired": report.repaired,
            }
        )
    else:
        for fault in report.faults:
            out.print(f"{fault.kind}: {fault.path}: {fault.what}")
        counts = f"{report.cells} cells, {len(report.faults)} faults"
        if report.repaired:
            counts += f", {len(report.repaired)} set aside: run their suites again"
        out.print(counts)
    if not report.sound:
        raise typer.Exit(1)


@store_commands.command()
def compact(store: StoreArgument = DEFAULT_STORE) -> None:
    """Pack a store's cells into a few large files.

    Nothing is lost, readers see no difference, and others can use the store meanwhile.

    Example: harness store compact results/runs
    """
    from harness.storage import compaction

    done = compaction.compact(_open_existing(store))
    err.print(f"{done.cells} cells packed into {done.packs} packs")
    if done.left:
        err.print(f"{len(done.left)} cells not packed: see `harness store verify {store}`")


@store_commands.command()
def gc(
    store: StoreArgument = DEFAULT_STORE,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Include cells that were set aside as damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List or remove what nothing needs any more.

    That is leftovers of killed processes, trainings without a measurement, and orphaned files.

    Example: harness store gc results/runs
    """
    from harness.storage import garbage

    act = garbage.remove_garbage if delete else garbage.garbage
    pieces = act(_open_existing(store), damaged=damaged)
    if as_json:
        print_json([vars(piece) for piece in pieces])
        return
    for piece in pieces:
        out.print(f"{piece.path}: {piece.why}, {piece.bytes} bytes")
    size = sum(piece.bytes for piece in pieces) / 2**20
    verb = "removed" if delete else "can be removed (--delete)"
    out.print(f"{len(pieces)} {verb}, {size:.1f} MiB")


def _open_existing(store: str) -> Store:
    """Open a store that must exist: a misspelt one must not pass for a sound one.

    Raises:
        HarnessError: there is no such folder, or it is not a store.
    """
    from harness.storage.store import Store

    if not is_store(store):
        raise HarnessError(
            "no store: there is no such folder", where=store, hint="give the --store of a run"
        )
    opened = Store(store)
    if is_url(store):
        return opened
    if not any((Path(opened.root) / part).is_dir() for part in ("cells", "packs")):
        raise HarnessError(
            "no store: the folder has neither cells nor packs",
            where=store,
            hint="give the --store of a run",
        )
    return opened


@store_commands.command()
def rekey(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Keep finished cells after a change of code.

    For a change that changes no result: cells that differ in code alone are written under
    today's keys. You vouch for that: run `harness check SUITE --exact` first.

    Example: harness store rekey suites/quickstart.yaml --store results/runs
    """
    from harness.data.acquire import data_root as data_folder
    from harness.publish.rekey import rekey_store
    from harness.suite.load import load

    loaded = load(suite, data_root=data_folder(data_root))
    moved = rekey_store(loaded, _open_existing(store), device)
    err.print(f"{len(moved)} cells of {loaded.name} written under new keys")
