"""``harness export``: results in the formats of others. Nothing is uploaded."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import SHARE, app, group
from harness.cli.options import DataRoot, Device, Sets, SourceArgument, StorePath
from harness.cli.output import counted, err
from harness.storage.location import DEFAULT_STORE

export_commands = group("Write results in the formats of others; nothing is uploaded.")
app.add_typer(export_commands, name="export", rich_help_panel=SHARE)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.", show_default=False)]


class Rows(StrEnum):
    """How a dataset folder keeps its rows."""

    csv = "csv"
    parquet = "parquet"


@export_commands.command("every-eval-ever")
def every_eval_ever(
    source: SourceArgument,
    folder: Out,
    developer: Annotated[
        str,
        typer.Option(
            "--developer", show_default=False, help="Who made the learners, as in DEVELOPER/MODEL."
        ),
    ],
    evaluator: Annotated[
        str, typer.Option("--evaluator", help="Who measured them; default: the developer.")
    ] = "",
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write JSON by the schema of Every Eval Ever.

    It is version 0.3.0 of the schema. One file for each learner, with all of its numbers that have
    a better end, their intervals and their n.

    Example: harness export every-eval-ever suites/quickstart.yaml -o eee --developer mylab
    """
    words = {"developer": developer, "evaluator": evaluator}
    _export(source, "every-eval-ever", folder, words, store, set_, data_root, device)


@export_commands.command("eval-results")
def eval_results(
    source: SourceArgument,
    folder: Out,
    benchmark: Annotated[
        str,
        typer.Option(
            "--benchmark",
            metavar="OWNER/NAME",
            show_default=False,
            help="The dataset on the Hub that is the benchmark.",
        ),
    ],
    url: Annotated[str, typer.Option("--url", help="Where the results can be looked up.")] = "",
    user: Annotated[str, typer.Option("--user", help="User of the Hub who measured them.")] = "",
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write .eval_results for models on a hub.

    The hub is that of Hugging Face. A folder for each learner, whose content goes to the repository
    of that model.

    Example: harness export eval-results suites/quickstart.yaml -o hub --benchmark mylab/digits
    """
    words = {"benchmark": benchmark, "url": url, "user": user}
    _export(source, "eval-results", folder, words, store, set_, data_root, device)


@export_commands.command()
def dataset(
    source: SourceArgument,
    folder: Out,
    rows: Annotated[
        Rows, typer.Option("--rows", help="Format of the rows; parquet needs pyarrow.")
    ] = Rows.csv,
    licence: Annotated[
        str, typer.Option("--licence", help="Of the results, for the card, e.g. cc-by-4.0.")
    ] = "",
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write a folder of rows with a dataset card.

    For the Hugging Face Hub: numbers over seeds with intervals, and the records of each seed.

    Example: harness export dataset results/quickstart -o quickstart-results
    """
    words = {"rows": rows.value, "licence": licence}
    _export(source, "dataset", folder, words, store, set_, data_root, device)


@export_commands.command()
def mlflow(
    source: SourceArgument,
    folder: Out,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Add a run a learner to a folder of MLflow.

    Metrics run along budgets: step 0 is the smallest eps.

    Example: harness export mlflow suites/quickstart.yaml -o mlruns
    """
    _export(source, "mlflow", folder, {}, store, set_, data_root, device)


@export_commands.command()
def wandb(
    source: SourceArgument,
    folder: Out,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write offline runs of Weights & Biases.

    One for each learner. `wandb sync FOLDER/wandb/offline-run-*` sends them, if you want to.

    Example: harness export wandb suites/quickstart.yaml -o runs
    """
    _export(source, "wandb", folder, {}, store, set_, data_root, device)


def _export(
    source: str,
    form: str,
    folder: Path,
    words: dict[str, Any],
    store: str,
    sets: list[str] | None,
    data_root: Path | None,
    device: str,
) -> None:
    from harness.interactive.export import export

    written = export(
        source,
        form,
        folder,
        store=store,
        sets=sets or [],
        data_root=data_root,
        device=device,
        **words,
    )
    what = "run" if form in ("mlflow", "wandb") else "file"
    err.print(f"wrote {counted(len(written), what)} to {folder}")


@export_commands.command()
def croissant(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            show_default=False,
            help="A folder of results, of episode lists or of streams.",
        ),
    ],
    url: Annotated[
        str, typer.Option("--url", show_default=False, help="Page of the published data.")
    ],
    creator: Annotated[str, typer.Option("--creator", show_default=False, help="Who made them.")],
    licence: Annotated[
        str,
        typer.Option("--licence", show_default=False, help="Address or SPDX name of the licence."),
    ],
    name: Annotated[str, typer.Option("--name", help="Of the data; default: the folder's.")] = "",
    published: Annotated[
        str, typer.Option("--published", metavar="DATE", help="Default: today.")
    ] = "",
) -> None:
    """Describe a folder by Croissant metadata.

    Writes croissant.json, version 1.1, into it.

    Example: harness export croissant results/quickstart --url https://example.org --creator mylab
    --licence CC-BY-4.0
    """
    from harness.publish.exports import croissant as metadata

    path = metadata.write(
        folder, url=url, creator=creator, licence=licence, name=name, published=published
    )
    err.print(f"wrote {path}")
