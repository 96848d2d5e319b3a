"""Imports that every worker needs.

Workers are forked from a process that has imported this module, and so need not import it
themselves.
"""

import torch  # noqa: F401 - imported for its effect

from harness import registry

for entries in (
    registry.learners,
    registry.fronts,
    registry.datasets,
    registry.attacks,
    registry.protocols,
):
    list(entries)  # imports the module of every entry
