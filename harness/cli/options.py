"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _complete_suite(incomplete: str) -> list[str]:
    from harness.suite import shipped

    return [name for name in shipped.names() if name.startswith(incomplete)]


SOURCE_HELP = (
    "A suite, a store (folder or URL), a submission (*.zip), "
    "or a folder of results with its measured.zip"
)

SuitePath = Annotated[
    Path,
    typer.Argument(
        metavar="SUITE",
        help="The suite file, or a name that `harness list suites` shows.",
        show_default=False,
        autocompletion=_complete_suite,
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help=f"{SOURCE_HELP}.",
        show_default=False,
        autocompletion=_complete_suite,
    ),
]
StoreArgument = Annotated[
    str, typer.Argument(metavar="STORE", help="Folder or URL of finished cells.")
]
DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="A name that `harness data list` shows.", show_default=False
    ),
]

StorePath = Annotated[
    str,
    typer.Option(
        "--store", metavar="STORE", help="Folder or URL (s3://bucket/path) of finished cells."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="Override a value of the suite, e.g. protocols.few.episodes=50; may be repeated. "
        "Quote a name that has dots: 'learners.\"a.b\".epochs=3'.",
    ),
]
Switches = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="Set a switch of the dataset, e.g. rotations=true; may be repeated.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root", envvar="HARNESS_DATA", help="Folder of datasets that are not embedded."
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Cells computed side by side; default: one per core."),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Images measured at once; changes no value.")
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor", metavar="NAME", help="local: processes of this machine; ray: a cluster."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", show_default=False, help="ray: HOST:PORT, auto or local."
    ),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus", min=0, show_default=False, help="ray: GPUs per cell; 0.25 shares one among four."
    ),
]
Memory = Annotated[
    float | None,
    typer.Option("--memory", min=0, show_default=False, help="Memory that a cell needs, in GiB."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        min=0,
        show_default=False,
        help="Seconds that a cell may take; a cell that takes longer has failed.",
    ),
]
OutDir = Annotated[
    Path | None, typer.Option("--out", help="Folder for tables in every format, and figures.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
