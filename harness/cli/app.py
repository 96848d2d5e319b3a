"""The command tree, and how its help is grouped."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any

import typer
import typer.core

from harness.cli.output import err

RUN = "Run a suite"
WRITE = "Write a suite"
READ = "Read results"
PUBLISH = "Check and publish"
MAINTAIN = "Look after data and stores"

GROUPS = (RUN, WRITE, READ, PUBLISH, MAINTAIN)
"""Headings of the commands in the help, in this order."""


class Commands(typer.core.TyperGroup):
    """Commands under headings; an interrupt ends each of them in the same way.

    Contexts are ``Any`` because their class is click's or typer's, depending on typer's release.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            Exit: with status 130, when the command is interrupted.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted; finished cells are kept, run the same command to resume")
            raise typer.Exit(130) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per heading, with the descriptions aligned."""
        names = self.list_commands(ctx)
        width = max(len(name) for name in names)
        limit = formatter.width - width - 6
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for name in names:
            command = self.get_command(ctx, name)
            if command is None or command.hidden:
                continue
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            row = (name.ljust(width), command.get_short_help_str(limit))
            sections[heading].append(row)
        for heading in sorted(sections, key=_rank):
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


def _rank(heading: str) -> int:
    return GROUPS.index(heading) if heading in GROUPS else len(GROUPS)


def group(description: str) -> typer.Typer:
    """Make a command that has commands of its own.

    Args:
        description: one line of help.
    """
    return typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode=None, help=description)


app = typer.Typer(
    name="harness",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark brain-inspired learning rules beside their controls: few-shot episodes, "
    "attack sweeps, biology.",
)


def _print_version(requested: bool) -> None:
    if not requested:
        return
    from harness.execute.doctor.software import DISTRIBUTION, version

    print(f"{DISTRIBUTION} {version(DISTRIBUTION) or '(not installed)'}")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
