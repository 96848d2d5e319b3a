"""The command tree, and how its help is grouped."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Annotated, Any

import typer
import typer.core

from harness.cli.output import err

START = "Start"
RUN = "Run"
LOOK = "Look at results"
SHARE = "Check and share"
DATA = "Data"
MAINTAIN = "Maintain"

GROUPS = (START, RUN, LOOK, SHARE, DATA, MAINTAIN)
"""Headings of the commands in the help, in this order."""


TYPES = {"int": "NUMBER", "float": "NUMBER", "path": "PATH", "str": "TEXT"}
"""What Python calls the value of an option -> what the help calls it."""


def plain(text: str) -> str:
    """A help text without the types and brackets that typer writes, its columns kept aligned.

    >>> plain("Usage: harness run [OPTIONS] {SUITE}")
    'Usage: harness run [OPTIONS] SUITE'
    >>> plain("  SUITE <path>           A suite."), plain("  --workers <int range>  Cells.")
    ('  SUITE                  A suite.', '  --workers NUMBER       Cells.')
    """
    text = re.sub(r"\{([A-Z][\w./-]*)\}", r"\1", text)

    def without(match: re.Match[str]) -> str:
        return match[1].ljust(len(match[0]))

    def named(match: re.Match[str]) -> str:
        return TYPES[match[1]].ljust(len(match[0]))

    text = re.sub(r"^(  [A-Z][\w.]*) <[a-z ]+>(?:\.\.\.)?", without, text, flags=re.MULTILINE)
    return re.sub(rf"<({'|'.join(TYPES)})(?: range)?>", named, text)


class Command(typer.core.TyperCommand):
    """A command whose help says what to write, not how Python reads it."""

    def get_help(self, ctx: Any) -> str:
        """The help text."""
        return plain(super().get_help(ctx))


class App(typer.Typer):
    """A typer application whose commands are of that kind."""

    def command(self, *words: Any, **keys: Any) -> Any:
        """Register a function as a command."""
        return super().command(*words, **{"cls": Command, **keys})


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
    return App(cls=Commands, no_args_is_help=True, rich_markup_mode=None, help=description)


app = App(
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
