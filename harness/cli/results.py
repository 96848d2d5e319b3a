"""Commands that read a store and run nothing: ``table``, ``records``, ``show``, ``images``, ..."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import listing, tables, trust_page
from harness.cli.app import LOOK, app
from harness.cli.options import (
    AsJson,
    DataRoot,
    Device,
    OutDir,
    Sets,
    SourceArgument,
    StorePath,
    SuitePath,
)
from harness.cli.output import err, out, print_json
from harness.errors import HarnessError
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.cells.plan import Plan
    from harness.cells.results import Results
    from harness.report.optimality import Row
    from harness.storage.store import Store


class Format(StrEnum):
    """How ``harness table`` prints."""

    tsv = "tsv"
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    json = "json"


@app.command(rich_help_panel=LOOK)
def table(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    out_dir: OutDir = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="How to print it; default: terminal, or tsv into a pipe.",
            show_default=False,
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="All columns and conditions, however narrow the terminal.")
    ] = False,
) -> None:
    """Print a suite's tables from what is in the store.

    Into a pipe, every number is one tab-separated line.

    Example: harness table suites/quickstart.yaml --format markdown
    """
    from harness.cells import collect
    from harness.execute import session
    from harness.execute.session import RunOptions

    options = RunOptions(store=store, data_root=data_root, device=device)
    sets = set_ or []
    layout = session.plan(suite, options, sets=sets)
    folder = options.open_store()
    results = collect.collect(layout, folder)
    missing = _missing_measurements(layout, folder)
    if missing:
        err.print(f"{missing} measurements are not in {store}: `harness run {suite}` computes them")
    if out_dir:
        tables.write(layout, results, out_dir, options, suite=suite, sets=sets)
    form = form or (Format.terminal if out.is_terminal else Format.tsv)
    if form is Format.terminal:
        tables.show(layout, results, whole=whole)
    elif form is Format.tsv:
        _print_lines(layout, results)
    else:
        _print_tables(layout, results, form)


def _missing_measurements(layout: Plan, store: Store) -> int:
    finished = set(store.finished())
    every = [*layout.unique, *layout.waiting]
    measurements = [cell for cell in every if cell.role in ("measure", "judge")]
    return sum(bool(cell.behind) or cell.key not in finished for cell in measurements)


def _print_lines(layout: Plan, results: Results) -> None:
    """Print every number of every table as a line."""
    from harness.report import printed, render, tables

    print("\t".join(render.TAB_SEPARATED))
    for each in tables.build_all(results, layout.suite.tables, layout.suite.published):
        print(render.tab_separated(printed.lay_out(each)))


def _print_tables(layout: Plan, results: Results, form: Format) -> None:
    from harness.report import claims, claims_text, render
    from harness.report.tables import build_all

    suite = layout.suite
    built = build_all(results, suite.tables, suite.published)
    texts = [render.render(each, form.value) for each in built]
    if suite.claims:
        _, write_claims = claims_text.FORMATS[form.value]
        texts.append(write_claims(claims.decide(results, suite.claims), suite.claims))
    if form is Format.json:
        print_json([json.loads(text) for text in texts])
    else:
        print("\n".join(texts))


@app.command(rich_help_panel=LOOK)
def records(
    source: SourceArgument,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    query: Annotated[
        str | None, typer.Option("--query", help="Only rows matching a pandas query.")
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Write a flat table to this file: .jsonl, .csv or .parquet."),
    ] = None,
) -> None:
    """Print every record of a source as JSON lines.

    With --query or --out, records are rows of a flat table, with settings as columns.

    Example: harness records suites/quickstart.yaml --query "learner == 'bio' and setting_eps > 0"
    """
    from harness.execute.session import RunOptions
    from harness.publish import reading
    from harness.report import frames

    options = RunOptions(store=store, data_root=data_root, device=device)
    rows = reading.results(source, options, sets=set_ or []).records
    if not rows:
        err.print(f"{store} has no results of {source}: `harness run {source}` computes them")
    if query is None and out_file is None:
        for record in rows:
            print(json.dumps(record.to_dict(), sort_keys=True))
        return
    frame = frames.frame(rows)
    if query:
        frame = frames.query(frame, query)
    if out_file:
        frames.write(frame, out_file)
        err.print(f"wrote {len(frame)} records to {out_file}")
    else:
        print(frames.lines(frame), end="")


@app.command(rich_help_panel=LOOK)
def show(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", help="Its key, or the first characters of it.", show_default=False
        ),
    ],
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Print what a store holds of a cell, as JSON.

    That is everything its key is a hash of, its values, its trust checks and its training log.

    Example: harness show 3f9a12cd
    """
    from dataclasses import asdict

    from harness.storage.store import Store

    folder = Store(store)
    key = _key_of(cell, folder)
    result = folder.read(key)
    if result is None:
        raise HarnessError(
            f"cell {key} is damaged",
            where=store,
            hint="run its suite again, which computes the cell again",
        )
    print_json({"key": key, "files": folder.members(key), **asdict(result)})


def _key_of(start: str, store: Store) -> str:
    """The only key that starts with some characters."""
    keys = [key for key in store.finished() if key.startswith(start)]
    if not keys:
        raise HarnessError(
            f"no cell {start!r}",
            where=str(store.root),
            hint="`harness plan SUITE.yaml --json` lists keys",
        )
    if len(keys) > 1:
        raise HarnessError(
            f"more than one cell starts with {start!r}",
            where=str(store.root),
            hint=f"{len(keys)} of them: {', '.join(keys[:5])}",
        )
    return keys[0]


@app.command(rich_help_panel=LOOK)
def images(
    suite: SuitePath,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the images.")],
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write the adversarial images that attacks with `save` kept.

    For each learner, attack and seed an .npz with the arrays, and for each budget a .png: clean
    image, perturbation, adversarial image, true and answered class.

    Example: harness images mine.yaml --out images
    """
    from harness import api

    written = api.saved_images(
        suite, out_dir, store=store, sets=set_ or [], data_root=data_root, device=device
    )
    for path in written:
        print(path)


@app.command(rich_help_panel=LOOK)
def examples(
    suite: SuitePath,
    out_file: Annotated[Path, typer.Option("--out", help="The figure: a file .png or .pdf.")],
    images: Annotated[int, typer.Option("--images", min=1, help="How many to show.")] = 6,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="An attack sweep; default: the first.")
    ] = None,
    attack: Annotated[
        str | None, typer.Option("--attack", help="One of its attacks; default: the last.")
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="One of its budgets, e.g. 8/255; default: the middle one."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="One of its seeds; default: the first.")
    ] = None,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Draw images under attack, as every learner saw them.

    Image, perturbation, adversarial image, what each learner said. A few images are attacked again
    with the networks in --store, which is left as it is; shown are those on which the learners
    differ most.

    Example: harness examples suites/quickstart.yaml --out examples.png
    """
    from harness.execute.session import RunOptions
    from harness.interactive.examples import Wanted
    from harness.interactive.examples import examples as draw

    wanted = Wanted(images, protocol, attack, eps, seed)
    options = RunOptions(store=store, data_root=data_root, device=device)
    absent = draw(suite, out_file, wanted, options, sets=set_ or [], console=err)
    if absent:
        err.print(f"no trained network in {store}: {', '.join(absent)}")
    print(out_file)


@app.command(rich_help_panel=LOOK)
def optimality(
    source: SourceArgument,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Say which attack broke what, what each missed, and its cost.

    Attacks of one sweep are judged by each other. `alone` is what no other attack broke, `missed`
    what it left and another one broke. Passes are those of an image at that eps, at most; with
    `worst: derived` an attack starts from all images.

    Example: harness optimality suites/quickstart.yaml
    """
    from harness.execute.session import RunOptions
    from harness.publish import reading
    from harness.report import optimality as attacks

    options = RunOptions(store=store, data_root=data_root, device=device)
    rows = attacks.of_results(reading.results(source, options, sets=set_ or []))
    if as_json:
        print_json([row.to_dict() for row in rows])
        return
    listing.show([_of_attack(row) for row in rows], "What each attack broke")


def _of_attack(row: Row) -> dict[str, str]:
    def passes(number: float | None) -> str:
        return "" if number is None else f"{number:.1f}"

    return {
        "protocol": row.protocol,
        "learner": row.learner,
        "norm": row.norm,
        "eps": f"{row.eps:g}",
        "attack": row.attack,
        "broken %": f"{100 * row.broken:.1f}",
        "alone %": f"{100 * row.alone:.1f}",
        "missed %": f"{100 * row.missed:.1f}",
        "forward": passes(row.forward),
        "backward": passes(row.backward),
    }


@app.command(rich_help_panel=LOOK)
def trust(
    source: SourceArgument,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    whole: Annotated[bool, typer.Option("--all", help="Also show the checks that passed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which results are reliable, and what to do otherwise.

    Names every trust check that failed or warned, with its number. For a suite, checks the cells
    in --store; for a store, all of its cells. Exit status 1 if a check failed.

    Example: harness trust suites/quickstart.yaml
    """
    from harness.execute.session import RunOptions
    from harness.publish import reading, sources
    from harness.report import trusted
    from harness.storage.store import Store

    if sources.find(source).kind == "store":
        rows = trusted.of_store(Store(source))
    else:
        options = RunOptions(store=store, data_root=data_root, device=device)
        rows = trusted.of_results(reading.results(source, options, sets=set_ or []))
    failed = sum(row.level == "FAIL" for row in rows)
    if as_json:
        print_json([row.to_dict() for row in rows])
    else:
        trust_page.show(rows, whole=whole)
    if failed:
        raise typer.Exit(1)
