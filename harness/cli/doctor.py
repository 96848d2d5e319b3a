"""``harness doctor``: what works in this environment."""

from __future__ import annotations

import typer

from harness.cli.app import MAINTAIN, app
from harness.cli.options import AsJson, DataRoot, StorePath
from harness.cli.output import out, print_json
from harness.storage.location import DEFAULT_STORE


@app.command(rich_help_panel=MAINTAIN)
def doctor(
    store: StorePath = DEFAULT_STORE, data_root: DataRoot = None, as_json: AsJson = False
) -> None:
    """Examine the environment: releases, devices, data, store.

    Names combinations of releases that are known to fail. Exit status 1 if something fails.

    Example: harness doctor
    """
    from harness.execute.doctor.examine import examine

    findings = examine(store, data_root)
    if as_json:
        print_json([finding.to_dict() for finding in findings])
    else:
        for finding in findings:
            out.print(f"{finding.level} {finding.name}: {finding.detail}")
            if finding.hint:
                out.print(f"     {finding.hint}")
    if any(finding.level == "FAIL" for finding in findings):
        raise typer.Exit(1)
