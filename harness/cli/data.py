"""``harness data``: list, get, import, check and show datasets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import listing
from harness.cli.app import DATA, app, group
from harness.cli.options import AsJson, DataRoot, DatasetName, Switches
from harness.cli.output import err, print_json
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.data.base import Dataset

data_commands = group("List, get, import, check and show datasets.")
app.add_typer(data_commands, name="data", rich_help_panel=DATA)


@data_commands.command("list")
def list_(data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """List datasets: size, origin, whether they are here, licence.

    With --json also the classes of each split, and the citation.

    Example: harness data list
    """
    from harness.data import acquire, inventory

    rows = inventory.describe_all(acquire.data_root(data_root))
    if as_json:
        print_json(rows)
        return
    wide = ("classes by split", "citation")
    narrow = [{key: row[key] for key in row if key not in wide} for row in rows]
    listing.show(narrow, "datasets")


@data_commands.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET", help="Names; default: all that are here."),
    ] = None,
    set_: Switches = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Read datasets and compare them with what is known of them.

    Exit status 1 if a dataset differs.

    Example: harness data verify omniglot
    """
    from harness.data import acquire, inventory, verify

    if set_ and len(names or []) != 1:
        raise HarnessError(
            "switches belong to one dataset",
            where="--set",
            hint="name one, e.g. harness data verify cifar-fs --set train_images=150",
        )
    rows: list[dict[str, Any]] = []
    for name in names or inventory.present(acquire.data_root(data_root)):
        rows += verify.report(_dataset(name, set_, data_root))
    if as_json:
        print_json(rows)
    else:
        listing.show(rows, "verified", wraps=True)
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@data_commands.command()
def path(name: DatasetName, set_: Switches = None, data_root: DataRoot = None) -> None:
    """Print the files that a dataset is made from.

    Example: harness data path omniglot
    """
    for source in _dataset(name, set_, data_root).sources():
        print(source)


@data_commands.command()
def get(name: DatasetName, data_root: DataRoot = None) -> None:
    """Download a dataset into the data root.

    An interrupted download is resumed. Every file is verified before it is opened.

    Example: harness data get omniglot
    """
    from harness.data import acquire, install
    from harness.execute.display import transfer

    with transfer(err) as progress:
        written = install.get(name, acquire.data_root(data_root), progress)
    for file in written:
        print(file)
    if not written:
        err.print(f"{name} is here already: nothing to download")


@data_commands.command("import")
def import_(
    name: DatasetName,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="Files, archives or folders that you have.", show_default=False
        ),
    ],
    data_root: DataRoot = None,
) -> None:
    """Check files that you have and copy them into the data root.

    The dataset is built from them first: every image is read, sizes of splits and, where it is
    known, the content hash are compared. All files are copied, or none if something is missing or
    wrong.

    Example: harness data import omniglot ~/Downloads
    """
    from harness.data import acquire, install

    root = acquire.data_root(data_root)
    for copied in install.import_files(name, paths, root, partial(err.print, markup=False)):
        print(copied)


@data_commands.command()
def show(
    name: DatasetName,
    set_: Switches = None,
    data_root: DataRoot = None,
    splitting: Annotated[
        str | None,
        typer.Option("--splitting", help="Which splitting; default: the dataset's first."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--out", help="The PNG; default: NAME.png in this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet of a dataset, print its statistics.

    The sheet shows examples of each class, split by split.

    Example: harness data show omniglot --out omniglot.png
    """
    from harness.data import acquire, sheet

    dataset = _dataset(name, set_, data_root)
    if not dataset.are_pixels:
        raise HarnessError(
            f"{name} has embeddings, and a contact sheet shows images",
            hint=f"`harness data verify {name}` reads and checks them",
        )
    data, _ = acquire.load(dataset)
    rows = sheet.statistics(data, splitting)
    written = sheet.write(data, image or Path(f"{name}.png"), splitting)
    if as_json:
        remarks = dataset.remarks()
        print_json({"dataset": name, "sheet": str(written), "splits": rows, "remarks": remarks})
        return
    formatted = [{key: _number_list(value) for key, value in row.items()} for row in rows]
    listing.show(formatted, name)
    for remark in dataset.remarks():
        err.print(remark, markup=False)
    err.print(f"wrote {written}")


def _number_list(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(f"{number:.3f}" for number in value)
    return value


def _dataset(name: str, sets: Sequence[str] | None, root: Path | None) -> Dataset:
    """Make a dataset with the switches of the command line.

    Raises:
        HarnessError: an unknown dataset, an unknown switch or a value that is not allowed.
    """
    from pydantic import ValidationError

    from harness import registry
    from harness.data import acquire
    from harness.suite import override
    from harness.suite.explain import explain
    from harness.suite.marked_yaml import Source

    dataset = registry.datasets[name]
    switches = Source({})
    for assignment in sets or []:
        switches = override.apply(switches, assignment)
    try:
        config = dataset.Config.model_validate(switches.value)
    except ValidationError as error:
        first = explain(error, dataset.Config, switches.value, ())[0]
        raise HarnessError(first.message, where="--set", hint=first.hint or None) from error
    return dataset(config, acquire.data_root(root))
