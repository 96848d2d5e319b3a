"""The command line: ``harness COMMAND``. One file per group of commands.

A command parses its arguments, calls the library and prints. Answers go to stdout, progress to
stderr. Exit status: 0 done; 1 a cell or a check failed; 2 bad input; 130 interrupted (run the same
command again to resume).

Command files import little at the top: ``harness --help`` must not load torch, numpy or pandas.
"""

from harness.cli import (  # noqa: F401 - importing them registers their commands
    catalogue,
    checking,
    comparing,
    data,
    doctor,
    exporting,
    publishing,
    results,
    running,
    store,
    suites,
    summary,
)
from harness.cli.app import app
from harness.cli.entry import main

__all__ = ["app", "main"]
