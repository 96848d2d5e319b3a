"""The command line: every sub-command is one short function. Answers go to stdout, talk to stderr.

Exit status: 0 done; 1 a cell or a trust check failed; 2 bad input; 130 interrupted (run the same command again to go on).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sized
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from harness.errors import HarnessError
from harness.execute.signals import handling
from harness.files import make_folder
from harness.storage.store import DEFAULT_STORE


class _Commands(typer.core.TyperGroup):
    """The commands, all of which end the same way when they are interrupted."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted; finished cells are kept, run the same command to go on")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="harness",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark brain-inspired learning rules beside their controls: few-shot episodes, attack sweeps, biology.",
)
data_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, get, import, check and show datasets."
)
app.add_typer(data_app, name="data")
store_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check, compact and clear a store of finished cells.",
)
app.add_typer(store_app, name="store")
new_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Write a suite or a learner to start from."
)
app.add_typer(new_app, name="new")

# What is printed quotes names and files of others: `module:X:` is no emoji, `[a]` no style.
out, err = (
    Console(stderr=stderr, soft_wrap=not stderr, markup=False, emoji=False, highlight=False)
    for stderr in (False, True)
)


def _suites(incomplete: str) -> list[str]:
    from harness.suite import shipped

    return [name for name in shipped.names() if name.startswith(incomplete)]


SuitePath = Annotated[
    Path,
    typer.Argument(
        metavar="SUITE.yaml",
        help="The suite file, or a name that `harness list suites` shows.",
        show_default=False,
        autocompletion=_suites,
    ),
]
StorePath = Annotated[
    str, typer.Option("--store", help="Folder or URL (s3://bucket/path) of finished cells.")
]
_SOURCE = "A suite, a store (folder or URL), a submission (*.zip), or a folder of results with its measured.zip"
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help=f"{_SOURCE}.", show_default=False, autocompletion=_suites
    ),
]
StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="Folder or URL of finished cells.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="Override a value of the suite, e.g. protocols.few.episodes=50; may be repeated.",
    ),
]
Switches = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="A switch of the dataset, e.g. rotations=true; may be repeated.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", envvar="HARNESS_DATA", help="Where datasets lie that are not embedded."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Cells side by side; one a core if left out.")
]
ExecutorName = Annotated[
    str, typer.Option("--executor", help="local: processes of this machine; ray: a cluster.")
]
Address = Annotated[
    str | None, typer.Option("--address", show_default=False, help="ray: HOST:PORT, auto or local.")
]
Gpus = Annotated[
    float | None,
    typer.Option("--gpus", min=0, show_default=False, help="ray: GPUs of a cell; 0.25 shares one."),
]
Memory = Annotated[
    float | None, typer.Option("--memory", min=0, show_default=False, help="GiB that a cell needs.")
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=0,
        show_default=False,
        help="Seconds that a cell may take; one that takes longer has failed.",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images measured at once; changes no value.")
]
DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="A name that `harness data list` shows.", show_default=False
    ),
]
OutDir = Annotated[
    Path | None, typer.Option("--out", help="Folder for every format and the figures.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class What(StrEnum):
    """What ``harness list`` lists."""

    learners = "learners"
    datasets = "datasets"
    attacks = "attacks"
    protocols = "protocols"
    suites = "suites"


class Format(StrEnum):
    """What ``harness table`` prints."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"
    json = "json"


class Undecided(StrEnum):
    """Whether numbers that ``harness check`` cannot decide fail."""

    auto = "auto"
    fail = "fail"
    warn = "warn"


def _version(asked: bool) -> None:
    if asked:
        from harness.execute.doctor.software import DISTRIBUTION, version

        print(f"{DISTRIBUTION} {version(DISTRIBUTION) or '(not installed)'}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the release and leave."
        ),
    ] = False,
) -> None:
    pass


@app.command()
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
    """Compute what a suite's store lacks, then write and show tables. Resumes where it stopped.

    Tables and figures go to --out, or to tables/NAME in the store (results/tables/NAME where that is at a URL). On a cluster:
    docs/cluster.md.

    Example: harness run suites/quickstart.yaml
    """
    from harness import api

    if out_dir:
        make_folder(out_dir)  # now rather than when everything has been computed
    done = api.run(
        suite,
        store=store,
        sets=set_ or [],
        data_root=data_root,
        device=device,
        workers=workers,
        batch_size=batch_size,
        console=err,
        executor=executor,
        time_limit=time_limit,
        options={"address": address, "gpus": gpus, "memory": memory},
    )
    folder = out_dir or _tables(store) / done.plan.suite.name
    written = _write(suite, done.plan, done.results, folder, store, set_, data_root)
    _report(done.plan, done.results)
    err.print(
        f"wrote {len(written)} files (md, csv, tex, json, pdf, png, records, provenance) to {folder}"
        if written
        else f"{folder} has it all already"
    )
    _left_out(done.plan, err)
    outcome = done.outcome
    counts = f"{len(outcome.done)} cells computed, {len(outcome.found)} found done, {len(outcome.failed)} failed"
    err.print(counts)
    if outcome.failed:
        _failures(done.plan.cells, outcome.failed, store)
        raise typer.Exit(1)


@app.command()
def plan(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """List a suite's cells, which are done, how long the rest takes.

    Example: harness plan suites/quickstart.yaml
    """
    from harness import api
    from harness.cells import estimate
    from harness.execute.display import duration
    from harness.execute.local import default_workers
    from harness.storage.store import Store

    layout, folder = (
        api.plan(suite, store=store, sets=set_ or [], data_root=data_root, device=device),
        Store(store),
    )
    finished = set(folder.finished())
    todo = [*(cell for cell in layout.unique if cell.key not in finished), *layout.waiting]
    expected, guesses = estimate.expected_seconds(todo, folder)
    count = workers or default_workers()
    seconds = max(sum(expected.values()) / count, max(expected.values(), default=0.0))
    rows = [
        {
            "key": None if c.behind else c.key,
            "learner": c.learner,
            "what": c.protocol or c.role,
            "setting": c.label,
            "seed": c.seed,
            "done": c.key not in expected,
            "seconds": round(expected.get(c.key, 0.0), 1),
        }
        for c in [*layout.unique, *layout.waiting]
    ]
    if as_json:
        _json(
            {
                "suite": layout.suite.name,
                "cells": rows,
                "seconds_left": round(seconds, 1),
                "skipped": {p.name: p.skipped for p in layout.suite.protocols if p.skipped},
                "rough_guesses": guesses,
            }
        )
        return
    title = f"{layout.suite.name}: {len(rows)} cells, {len(rows) - len(todo)} done"
    out.print(_grid([{**row, "key": (row["key"] or "open")[:8]} for row in rows], title))
    if layout.waiting:
        out.print(
            f"open: {len(layout.waiting)} cells not yet resolved, what they stand on is chosen by a match"
        )
    _left_out(layout, out)
    for entry in layout.suite.protocols:
        spread = estimate.spread(
            [cell for cell in layout.unique if cell.protocol == entry.name], folder
        )
        if words := entry.protocol.detectable(len(entry.seeds), spread):
            out.print(f"{entry.name} can show a difference of about {words}")
    basis = "from the times of like cells in the store"
    if guesses:
        basis = f"{guesses} of {len(todo)} are rough guesses: nothing like them is in the store"
    left = (
        f"{len(todo)} cells to do, about {duration(seconds)} on {count} workers ({basis})"
        if todo
        else "all done"
    )
    out.print(left)


@app.command()
def validate(
    suites: Annotated[
        list[Path], typer.Argument(metavar="SUITE.yaml", help="Suite files.", show_default=False)
    ],
    set_: Sets = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Check suite files. Each fault is named with file:line:column and what is allowed; exit status 2 where there is one.

    Example: harness validate suites/*.yaml
    """
    checked = [_validated(path, set_ or [], data_root) for path in suites]
    if as_json:
        _json(
            [
                {
                    "suite": str(path),
                    "good": not faults,
                    "says": good,
                    "faults": [
                        {"where": each.where, "message": each.message, "hint": each.hint}
                        for each in faults
                    ],
                }
                for path, good, faults in checked
            ]
        )
    for path, good, faults in () if as_json else checked:
        for fault in faults:
            print(fault, file=sys.stderr)
        if not faults:
            print(f"{path}: good: {good}")
    if any(faults for *_, faults in checked):
        raise typer.Exit(2)


def _validated(
    path: Path, sets: list[str], data_root: Path | None
) -> tuple[Path, str, tuple[HarnessError, ...]]:
    """A suite file, what is in it where it is good, and all its faults."""
    from harness.suite import load as loading

    try:
        loaded = loading.load(path, sets=sets, data_root=data_root)
    except HarnessError as error:
        return path, "", getattr(error, "faults", ()) or (error,)
    return path, f"{_count(loaded.learners, 'learner')}, {_count(loaded.protocols, 'protocol')}", ()


def _count(things: Any, word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


@app.command()
def episodes(
    suite: SuitePath,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the lists.")],
    set_: Sets = None,
    data_root: DataRoot = None,
) -> None:
    """Write a suite's few-shot episodes as JSON lists. For the same episodes in other code, or for `episodes_from` here.

    Example: harness episodes suites/quickstart.yaml --out episodes
    """
    from harness import api

    for path in api.episodes(suite, out_dir, sets=set_ or [], data_root=data_root):
        print(path)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a suite, for editors.

    Example: harness schema > suite.schema.json
    """
    from harness.suite.schema import suite_schema

    _json(suite_schema())


@app.command("list")
def list_(
    what: Annotated[
        What, typer.Argument(metavar="WHAT", show_default=False, help=f"{', '.join(What)}.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="One of them: its keys, with defaults and what is allowed.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what a suite can name, or the keys of one entry. `suites` lists those that come with the harness.

    Example: harness list learners ech
    """
    from harness import registry
    from harness.suite import shipped
    from harness.suite.schema import keys_of

    if what is What.suites:
        if name is not None:
            raise HarnessError(
                "a suite has no keys to list",
                where=name,
                hint=f"`harness plan {name}` lists its cells",
            )
        rows, title = (
            [{"name": name, "description": _described(name)} for name in shipped.names()],
            "suites",
        )
    elif name is not None:
        entries = getattr(registry, what.value)
        rows, title = keys_of(entries[name].Config), f"{name}: {entries.describe(name)}"
    else:
        entries = getattr(registry, what.value)
        rows, title = (
            [
                {
                    "name": name,
                    "description": entries.describe(name),
                    "keys": ", ".join(entries[name].Config.model_fields),
                }
                for name in entries
            ],
            what.value,
        )
    _json(rows) if as_json else out.print(_grid(rows, title))


@new_app.command("suite")
def new_suite(
    path: Annotated[
        Path, typer.Argument(metavar="NAME.yaml", help="The file to write.", show_default=False)
    ],
) -> None:
    """Write a suite with comments that runs as it is. The rule beside its controls, under attack and on few examples.

    Example: harness new suite mine.yaml
    """
    from harness.suite import scaffold

    _made(scaffold.suite(path))


@new_app.command("learner")
def new_learner(
    path: Annotated[
        Path, typer.Argument(metavar="NAME.py", help="The file to write.", show_default=False)
    ],
) -> None:
    """Write a learner, and a suite that measures it. It is a small Hebbian rule that runs: put yours in its place.

    Example: harness new learner my_rule.py
    """
    from harness.suite import scaffold

    _made(scaffold.learner(path))


def _made(written: list[Path]) -> None:
    for path in written:
        print(path)
    err.print(f"run it: harness run {written[-1]}")


@app.command()
def table(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    out_dir: OutDir = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.terminal,
) -> None:
    """Print a suite's tables from what is in the store. Runs nothing.

    Example: harness table suites/quickstart.yaml --format markdown
    """
    from harness import api
    from harness.cells import collect
    from harness.report import claims, claims_text, render, tables
    from harness.storage.store import Store

    layout = api.plan(suite, store=store, sets=set_ or [], data_root=data_root, device=device)
    folder = Store(store)
    results = collect.collect(layout, folder)
    finished = set(folder.finished())
    missing = sum(
        bool(cell.behind) or cell.key not in finished
        for cell in [*layout.unique, *layout.waiting]
        if cell.role == "measure"
    )
    if missing:
        err.print(f"{missing} measurements are not in {store}: `harness run {suite}` makes them")
    if out_dir:
        _write(suite, layout, results, out_dir, store, set_, data_root)
    built = tables.build_all(results, layout.suite.tables, layout.suite.published)
    if form is Format.terminal:
        for one in built:
            _show(one)
        _show_claims(layout, results)
        return
    texts = [render.render(one, form.value) for one in built]
    if layout.suite.claims:
        texts.append(
            claims_text.FORMATS[form.value][1](
                claims.decide(results, layout.suite.claims), layout.suite.claims
            )
        )
    if form is Format.json:
        _json([json.loads(text) for text in texts])
    else:
        print("\n".join(texts))


@app.command()
def records(
    source: SourceArgument,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    query: Annotated[
        str | None, typer.Option("--query", help="Only the rows that a pandas query chooses.")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write a flat table here: .jsonl, .csv, .parquet.")
    ] = None,
) -> None:
    """Print every record of a source as JSON lines. With --query or --out as a flat table, settings as columns; runs nothing.

    Example: harness records suites/quickstart.yaml --query "learner == 'bio' and setting_eps > 0" --out bio.csv
    """
    from harness import api
    from harness.report import frames

    found = api.results(
        source, store=store, sets=set_ or [], data_root=data_root, device=device
    ).records
    _if_none(found, source, store)
    if query is None and out_file is None:
        for record in found:
            print(json.dumps(record.to_dict(), sort_keys=True))
        return
    table = frames.query(frames.frame(found), query) if query else frames.frame(found)
    if out_file:
        frames.write(table, out_file)
        err.print(f"wrote {len(table)} records to {out_file}")
    else:
        print(frames.lines(table), end="")


def _if_none(records: Sized, source: str, store: str) -> None:
    if not len(records):
        err.print(f"nothing of {source} is in {store}: `harness run {source}` makes it")


@app.command()
def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help=f"{_SOURCE}, or a reference file. With --suite a learner.",
            show_default=False,
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="As A.", show_default=False)],
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", help="Compare two learners of this suite, or of what else A can be."
        ),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    store_b: Annotated[
        str | None,
        typer.Option("--store-b", help="Where B's finished cells are; --store if left out."),
    ] = None,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Differences of two runs, or of two learners, with intervals. Paired where images and episodes are the same; runs nothing.

    A number is compared with that of the same protocol, learner, metric and setting. A store has no names: where A or B is one,
    both go by kinds, keys and datasets. References and submissions may be of a commit, in git's notation COMMIT:PATH.

    Example: harness compare HEAD~5:results/reference/ci.json suites/ci.yaml
    """
    from dataclasses import asdict

    from harness import api
    from harness.publish import sources
    from harness.report import compare as comparing
    from harness.report.formats import number

    options = {"sets": set_ or [], "data_root": data_root, "device": device}
    if suite:
        lines = comparing.learners(api.measured(suite, store=store, **options), a, b)
    else:
        options["names"] = "store" not in {sources.find(side).kind for side in (a, b)}
        lines = comparing.runs(
            api.measured(a, store=store, **options),
            api.measured(b, store=store_b or store, **options),
        )
    if as_json:
        _json([asdict(line) for line in lines])
        return
    rows = [
        {
            "learner": line.learner,
            "number": line.where,
            "A": number(line.metric, line.a),
            "B": number(line.metric, line.b),
            "B - A": "" if line.difference is None else number(line.metric, line.difference),
            "95 % interval": ""
            if line.low is None
            else f"{number(line.metric, line.low)} to {number(line.metric, line.high)}",
            "p (Holm)": "" if line.p is None else f"{line.p:.2g}{' *' if line.differs else ''}",
            "over": f"{line.n}, paired" if line.paired else f"{line.n} seeds",
            **(
                {"set differently": "; ".join(line.apart)}
                if any(each.apart for each in lines)
                else {}
            ),
        }
        for line in lines
    ]
    out.print(_grid(rows, f"A: {a}, B: {b}"))
    out.print(
        "paired: over images or episodes and, of several seeds, over seeds: the larger p and the wider interval count"
    )


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A.yaml", help="A suite file.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.yaml", help="Another.", show_default=False)],
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Where two suites differ once everything is written out. That is what they extend, defaults, every key of every entry.

    Exit status 1 where they differ.

    Example: harness diff suites/quickstart.yaml suites/ci.yaml
    """
    from harness import api
    from harness.report.gate import changes

    found = changes(*(api.resolved(path, data_root=data_root) for path in (a, b)))
    _json(found) if as_json else out.print("\n".join(found) or "no difference")
    if found:
        raise typer.Exit(1)


@app.command()
def show(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", help="Its key, or the first characters of it.", show_default=False
        ),
    ],
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Print what a store holds of a cell, as JSON. What its key is a hash of, its values, trust checks and training log.

    Example: harness show 3f9a12cd
    """
    from dataclasses import asdict

    from harness.storage.store import Store

    folder = Store(store)
    keys = [key for key in folder.finished() if key.startswith(cell)]
    if len(keys) != 1:
        hint = (
            f"{len(keys)} begin so: {', '.join(keys[:5])}"
            if keys
            else "`harness plan SUITE.yaml --json` lists keys"
        )
        raise HarnessError(
            f"{'no cell' if not keys else 'no single cell'} {cell!r}", where=str(store), hint=hint
        )
    result = folder.read(keys[0])
    if result is None:
        raise HarnessError(
            f"cell {keys[0]} is damaged",
            where=str(store),
            hint="run its suite again: it is made anew",
        )
    _json({"key": keys[0], "files": folder.members(keys[0]), **asdict(result)})


@app.command()
def trust(
    source: SourceArgument,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Say which attack sweeps are to be believed. Names every check that failed or warned, with its number; runs nothing.

    Of a suite the cells in --store count, of a store all of them. Exit status 1 where a check failed.

    Example: harness trust suites/quickstart.yaml
    """
    from harness import api
    from harness.publish import sources
    from harness.report import trusted
    from harness.storage.store import Store

    if sources.find(source).kind == "store":
        rows = trusted.of_store(Store(source))
    else:
        rows = trusted.of_results(
            api.results(source, store=store, sets=set_ or [], data_root=data_root, device=device)
        )
    failed = sum(row.level == "FAIL" for row in rows)
    if as_json:
        _json([row.to_dict() for row in rows])
    else:
        out.print(
            _grid(
                [
                    {
                        "learner": row.learner,
                        "protocol": row.protocol,
                        "attack": row.attack,
                        "seed": row.seed,
                        "level": row.level,
                        "failed or warned": "\n".join(
                            f"{check.level} {check.name}: {check.detail}" for check in row.remarks
                        ),
                    }
                    for row in rows
                ],
                "trust",
            )
        )
        warned = sum(row.level == "WARN" for row in rows)
        out.print(f"{len(rows)} attack sweeps: {failed} failed, {warned} warned")
    if failed:
        raise typer.Exit(1)


@app.command()
def check(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="The reference; results/reference/NAME.json if left out."),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Ask for equal verdicts and values, in the same environment."),
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Write what is measured as the new reference.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Changes no larger than this never fail.")
    ] = 0.005,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="A fall in accuracy this large must not pass.")
    ] = 0.02,
    level: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of a false alarm, over all numbers.")
    ] = 0.01,
    undecided: Annotated[
        Undecided,
        typer.Option(help="Whether too little power fails; auto: where samples are the same."),
    ] = Undecided.auto,
    allow_rise: Annotated[
        bool, typer.Option("--allow-rise", help="A number that rose does not fail.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            "--summary", envvar="GITHUB_STEP_SUMMARY", help="Append Markdown to this file."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a suite and hold every number against a reference. Exit status 1 where one has changed for the worse, or a cell failed.

    Statistical if not --exact: a fall (or an unexplained rise) fails when it is shown and larger than --tolerance; a number
    passes when a fall by --margin is excluded; in between it is said how much would decide it.

    Example: harness check suites/ci.yaml --reference results/reference/ci.json
    """
    from harness import api
    from harness.report import checking, gate, gate_text

    done = api.check(
        suite,
        against=reference,
        exact=exact,
        update=update,
        limits=gate.Limits(tolerance, margin, level),
        undecided=undecided.value,
        rises=not allow_rise,
        store=store,
        sets=set_ or [],
        data_root=data_root,
        device=device,
        workers=workers,
        console=err,
    )
    failed = done.run.outcome.failed
    if failed:
        _failures(done.run.plan.cells, failed, store)
    if done.report is not None:
        _json(done.report.to_dict()) if as_json else out.print(
            "\n".join(gate_text.lines(done.report))
        )
        _tell(
            done.report, junit, summary
        )  # after that: where a file cannot be written the answer is not lost
    if update and not failed:
        path = reference or checking.reference_of(done.run.plan.suite.name)
        err.print(f"wrote {path}: {len(done.measured.rows)} numbers")
    elif failed or not done.report.passed:
        raise typer.Exit(1)


@app.command()
def board(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SUITE.yaml|SUBMISSION.zip",
            show_default=False,
            help="Suite files (what --store holds of them), submissions, and folders of "
            "results with their measured.zip.",
        ),
    ],
    folder: Annotated[Path, typer.Option("-o", "--out", help="Folder of the site.")] = Path("site"),
    store: StorePath = DEFAULT_STORE,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write a leaderboard as a static site that needs no network. index.html, and its tables for download; runs nothing.

    The first source of a suite's name sets its conditions. A row of a later one that was measured on other data, under another
    protocol block or without the trust checks (or failed one) is refused and named; the exit status is then 1.

    Example: harness board suites/quickstart.yaml -o site
    """
    from harness.execute.session import RunOptions
    from harness.publish import leaderboard
    from harness.report.board.site import write_site

    laid = leaderboard.gather(sources, RunOptions(store=store, data_root=data_root, device=device))
    written = write_site(laid.divisions, laid.refused, folder)
    for row in laid.refused:
        err.print(f"refused: {row}", soft_wrap=True)
    err.print(f"wrote {written[0]} and {len(written) - 1} tables beside it")
    if laid.refused:
        raise typer.Exit(1)


@app.command()
def doctor(
    store: StorePath = DEFAULT_STORE, data_root: DataRoot = None, as_json: AsJson = False
) -> None:
    """Look at the environment: releases, devices, data, store. Names combinations known to be bad; exit status 1 where one fails.

    Example: harness doctor
    """
    from harness.execute.doctor.examine import examine

    found = examine(store, data_root)
    if as_json:
        _json([finding.to_dict() for finding in found])
    else:
        for finding in found:
            hint = f"\n     {finding.hint}" if finding.hint else ""
            out.print(f"{finding.level} {finding.name}: {finding.detail}{hint}")
    if any(finding.level == "FAIL" for finding in found):
        raise typer.Exit(1)


@app.command()
def paper(
    suites: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SUITE.yaml",
            show_default=False,
            help="Suite files; suites/paper/*.yaml if left out.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what is stale, why, and how long it takes.")
    ] = False,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Run nothing; leave what would need it.")
    ] = False,
    pack: Annotated[
        bool, typer.Option("--pack", help="Keep the measurements beside the tables (measured.zip).")
    ] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the folders of results; results/ if left out, "
            "where suites/a/b.yaml has results/a/b.",
        ),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Bring all tables and figures up to date. Tell which are stale and why, run what is missing, write them anew.

    What is fresh is left alone. Where the store has every cell nothing is run. Each folder has a provenance.json, from which
    staleness is told without a store or the data.

    Example: harness paper --dry-run
    """
    from harness.execute.session import RunOptions
    from harness.publish import paper as papers

    options = RunOptions(store=store, data_root=data_root, device=device, workers=workers)
    found = [papers.look(path, options, out=out_dir) for path in papers.chosen(suites or [])]
    if as_json:
        _json([each.to_dict() for each in found])
    else:
        _standing(found)
    if dry_run:
        return
    failed = False
    for each in found:
        made = papers.make(each, options, tables_only=tables_only, pack=pack, console=err)
        if made.written:
            err.print(f"wrote {len(made.written)} files to {each.folder}")
        elif each.state != "fresh":
            err.print(f"left alone: {each.suite}: {each.todo} cells are to be run")
        if made.failed:
            failed = True
            _failures(made.plan.cells, made.failed, store)
    if failed:
        raise typer.Exit(1)


def _standing(found: list[Any]) -> None:
    from harness.execute.display import duration

    for each in found:
        left = (
            f", {each.todo} of {each.cells} cells to run, about {duration(each.seconds)} ({each.basis})"
            if each.todo
            else ""
        )
        out.print(f"{each.suite}: {each.state}{'' if each.state == 'fresh' else left}")
        for reason in each.why:
            out.print(f"  {reason}")
    stale = [each for each in found if each.state != "fresh"]
    seconds = sum(each.seconds for each in stale if not each.source)
    out.print(
        f"{len(found) - len(stale)} fresh, {len(stale)} to be made: about {duration(seconds)} of running"
        if stale
        else "all fresh"
    )


@app.command()
def submit(
    suite: SuitePath,
    path: Annotated[Path, typer.Option("-o", "--out", help="The file to write, *.zip.")],
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Pack what the store holds of a suite for a leaderboard. Records, verdicts, trust checks, hashes; no weights.

    Example: harness submit suites/quickstart.yaml -o mine.zip
    """
    from harness import api
    from harness.publish import submission
    from harness.storage.store import Store

    if path.suffix != ".zip":
        raise HarnessError(
            "a submission is a zip file", where=str(path), hint=f"-o {path.with_suffix('.zip')}"
        )
    layout = api.plan(suite, store=store, sets=set_ or [], data_root=data_root, device=device)
    manifest = submission.pack(layout, Store(store), submission.suite_text(suite, set_ or []), path)
    err.print(
        f"packed {len(manifest.cells)} cells of {manifest.name} into {path}: {path.stat().st_size / 2**20:.1f} MiB"
    )


@store_app.command("verify")
def store_verify(
    store: StoreArgument = DEFAULT_STORE,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Move what is damaged to damaged/: the next run computes it again."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold every file of a store against its hash and format. Exit status 1 where one is damaged (and not repaired) or unknown.

    Example: harness store verify results/runs
    """
    from harness.storage import verification

    report = verification.verify(_existing(store), repair=repair)
    if as_json:
        _json(
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
        aside = (
            f", {len(report.repaired)} set aside: run their suites again" if report.repaired else ""
        )
        out.print(f"{report.cells} cells, {len(report.faults)} faults{aside}")
    if not report.sound:
        raise typer.Exit(1)


@store_app.command("compact")
def store_compact(store: StoreArgument = DEFAULT_STORE) -> None:
    """Lay a store's cells into a few large files. Nothing is lost or changes for who reads; others may go on using the store.

    Example: harness store compact results/runs
    """
    from harness.storage import compaction

    done = compaction.compact(_existing(store))
    err.print(f"{done.cells} cells packed into {done.packs} packs")
    if done.left:
        err.print(f"{len(done.left)} left as they are: see `harness store verify {store}`")


@store_app.command("gc")
def store_gc(
    store: StoreArgument = DEFAULT_STORE,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also what was set aside as damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what nobody needs. Leftovers of dead processes, trainings without a measurement, orphans; --delete removes it.

    Example: harness store gc results/runs
    """
    from harness.storage import garbage

    found = (garbage.remove_garbage if delete else garbage.garbage)(_existing(store), damaged=damaged)
    if as_json:
        _json([vars(each) for each in found])
        return
    for each in found:
        out.print(f"{each.path}: {each.why}, {each.bytes} bytes")
    size = f"{sum(each.bytes for each in found) / 2**20:.1f} MiB"
    out.print(f"{len(found)} {'removed' if delete else 'can be removed (--delete)'}, {size}")


@data_app.command("list")
def data_list(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """List datasets: size, origin, whether they are here, licence. With --json classes of each split and citation too.

    Example: harness data list
    """
    from harness.data import acquire

    rows = acquire.describe_all(acquire.data_root(data_root))
    if as_json:
        _json(rows)
        return
    wide = ("classes by split", "citation")
    out.print(
        _grid([{key: row[key] for key in row if key not in wide} for row in rows], title="datasets")
    )


@data_app.command("verify")
def data_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET", help="Names; all that are here if left out."),
    ] = None,
    set_: Switches = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Read datasets and hold them against what is known of them.

    Example: harness data verify omniglot
    """
    from harness.data import acquire

    if set_ and len(names or []) != 1:
        raise HarnessError(
            "switches belong to one dataset",
            where="--set",
            hint="name one, e.g. harness data verify cifar-fs --set train_images=150",
        )
    chosen = [
        _dataset(name, set_, data_root)
        for name in names or acquire.present(acquire.data_root(data_root))
    ]
    rows = [row for dataset in chosen for row in acquire.report(dataset)]
    _json(rows) if as_json else out.print(_grid(rows, title="verified"))
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@data_app.command("path")
def data_path(name: DatasetName, set_: Switches = None, data_root: DataRoot = None) -> None:
    """Print the files that a dataset is made from.

    Example: harness data path omniglot
    """
    for path in _dataset(name, set_, data_root).sources():
        print(path)


@data_app.command("get")
def data_get(name: DatasetName, data_root: DataRoot = None) -> None:
    """Fetch a dataset into the data root. Goes on where it was interrupted; every file is checked before it is opened.

    Example: harness data get omniglot
    """
    from harness.data import acquire
    from harness.execute.display import transfer

    with transfer(err) as progress:
        written = acquire.get(name, acquire.data_root(data_root), progress)
    for path in written:
        print(path)
    if not written:
        err.print(f"{name} is here already: nothing to fetch")


@data_app.command("import")
def data_import(
    name: DatasetName,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="Files, archives or folders that you have.", show_default=False
        ),
    ],
    data_root: DataRoot = None,
) -> None:
    """Check files that you have and copy them into the data root. All of them or none.

    Example: harness data import omniglot ~/Downloads
    """
    from harness.data import acquire

    for copied in acquire.import_(name, paths, acquire.data_root(data_root)):
        print(copied)


@data_app.command("show")
def data_show(
    name: DatasetName,
    set_: Switches = None,
    data_root: DataRoot = None,
    splitting: Annotated[
        str | None, typer.Option("--splitting", help="Which; its first if left out.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--out", help="The PNG; NAME.png here if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of a dataset, print its statistics. The sheet has classes x examples of each split.

    Example: harness data show omniglot --out omniglot.png
    """
    from harness.data import acquire, sheet

    data, _ = acquire.load(_dataset(name, set_, data_root))
    rows = sheet.statistics(data, splitting)
    written = sheet.write(data, image or Path(f"{name}.png"), splitting)
    if as_json:
        _json({"dataset": name, "sheet": str(written), "splits": rows})
        return
    out.print(
        _grid(
            [
                {
                    key: " ".join(f"{x:.3f}" for x in value) if isinstance(value, list) else value
                    for key, value in row.items()
                }
                for row in rows
            ],
            name,
        )
    )
    err.print(f"wrote {written}")


def _dataset(name: str, sets: list[str] | None, root: Path | None) -> Any:
    """A dataset with its switches set as on the command line."""
    from pydantic import ValidationError

    from harness import registry
    from harness.data import acquire
    from harness.suite import override
    from harness.suite.explain import explain
    from harness.suite.marked_yaml import Source

    cls, tree = registry.datasets[name], Source({})
    for assignment in sets or []:
        tree = override.apply(tree, assignment)
    try:
        config = cls.Config.model_validate(tree.value)
    except ValidationError as error:
        first = explain(error, cls.Config, tree.value, ())[0]
        raise HarnessError(first.message, where="--set", hint=first.hint or None) from error
    return cls(config, acquire.data_root(root))


def _report(plan: Any, results: Any) -> None:
    from harness.report import tables

    for built in tables.build_all(results, plan.suite.tables, plan.suite.published):
        _show(built)
    _show_claims(plan, results)


def _write(
    suite: Path,
    plan: Any,
    results: Any,
    folder: Path,
    store: str,
    sets: list[str] | None,
    data_root: Path | None,
) -> list[Path]:
    from harness.publish import paper, provenance
    from harness.storage.store import Store
    from harness.suite.expand import expand

    command = " ".join(
        ["harness run", str(suite), *(f"--set {each}" for each in sets or []), f"--out {folder}"]
    )
    about = provenance.of_plan(plan, expand(plan.suite), Store(store).read)
    if provenance.is_current(folder, command, about):
        return []
    return paper.write(plan.suite, results, folder, command, about)


def _show(built: Any) -> None:
    from harness.report import render

    out.print(render.to_rich(built), soft_wrap=False)
    out.print()


def _show_claims(plan: Any, results: Any) -> None:
    from harness.report import claims, claims_text

    if plan.suite.claims:
        out.print(claims_text.to_rich(claims.decide(results, plan.suite.claims)))
        out.print()


def _tell(report: Any, junit: Path | None, summary: Path | None) -> None:
    from harness.files import write_atomically
    from harness.report import gate_text

    if junit:
        write_atomically(junit, gate_text.junit(report).encode())
    if summary:
        make_folder(summary.parent)
        with open(
            summary, "a", encoding="utf-8"
        ) as file:  # a step's summary is shared by all its commands
            file.write(gate_text.markdown(report))


def _tables(store: str) -> Path:
    """Where tables go that no folder was named for."""
    from harness.storage.store import is_url

    return Path("results" if is_url(store) else store.removeprefix("file://")) / "tables"


def _existing(store: str) -> Any:
    """A store that is to be there: one that is misspelt must not pass for sound."""
    from harness.storage.store import Store, is_store, is_url

    if not is_store(store):
        raise HarnessError(
            "no store: there is no such folder", where=store, hint="give the --store of a run"
        )
    found = Store(store)
    if not is_url(store) and not any(
        (Path(found.root) / part).is_dir() for part in ("cells", "packs")
    ):
        raise HarnessError(
            "no store: nothing in that folder is of one",
            where=store,
            hint="give the --store of a run",
        )
    return found


def _left_out(layout: Any, console: Console) -> None:
    for entry in layout.suite.protocols:
        for learner, why in entry.skipped.items():
            console.print(f"not in {entry.name}: {learner}, because {why}")


def _described(suite: str) -> str:
    from harness.suite import marked_yaml as source
    from harness.suite import shipped

    return str(source.read(shipped.locate(suite)).value.get("description", ""))


def _failures(cells: list[Any], failed: dict[str, str], store: str) -> None:
    from harness.storage.store import Store

    for cell in {cell.key: cell for cell in cells if cell.key in failed}.values():
        err.print(f"FAILED {cell.title}: {failed[cell.key]}", style="red")
        if trace := Store(store).failure(cell.key):
            err.print(f"       traceback: {trace}")


def _grid(rows: list[dict[str, Any]], title: str) -> Table:
    grid = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in rows[0] if rows else []:
        grid.add_column(key, overflow="fold")
    for row in rows:
        grid.add_row(
            *(
                {True: "yes", False: "no"}[v] if isinstance(v, bool) else str(v)
                for v in row.values()
            )
        )
    return grid


def _json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def main() -> None:
    """Entry point of the ``harness`` command."""
    try:
        with (
            contextlib.redirect_stdout(_Answers(sys.stdout)),
            handling(signal.SIGTERM, signal.default_int_handler),
        ):
            app(prog_name="harness")
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a name too long for the file system, a folder that may not be read: no fault of this code
        where = None if error.filename is None else str(error.filename)
        print(
            f"harness: {HarnessError(error.strerror or str(error), where=where)}", file=sys.stderr
        )
        sys.exit(2)


class _Answers:
    """Standard output that goes on when its reader has gone (`harness ... | head`): nothing is lost for want of a reader."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._do(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._do(self._stream.flush)

    def _do(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return None
        except OSError as error:
            raise HarnessError(
                f"cannot write the answer: {error.strerror}", where="standard output"
            ) from error


if __name__ == "__main__":
    main()
