"""A benchmark and robustness harness for brain-inspired learning rules.

The commands of the terminal as Python functions, and what they take and return:

* measure: ``run``, ``plan``, ``check`` a suite (its file or a mapping); ``evaluate`` a network at
  hand; ``attack`` it on tensors;
* read: ``load`` records as a frame, ``results``, ``table``, ``trust``, ``compare``, ``summary``,
  ``plot``, ``board``;
* pass on: ``export`` in the formats of others;
* write a learner: ``Learner``, ``Config``, ``Images``, ``TrainingLog``, ``Budget``, ``Rng``, ...

Every name is imported on first use, so that ``import harness`` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import (
        check,
        episodes,
        load,
        measured,
        plan,
        resolved,
        results,
        run,
        streams,
    )
    from harness.cells.plan import Plan
    from harness.cells.results import Results
    from harness.data.base import Images
    from harness.errors import HarnessError
    from harness.execute.session import Run
    from harness.interactive.attack import Attacked, attack
    from harness.interactive.evaluate import evaluate
    from harness.interactive.export import export
    from harness.interactive.views import board, compare, plot, summary, table, trust
    from harness.learning.files import File
    from harness.learning.learner import Budget, Learner, Synapses, TrainingLog
    from harness.registry import Config
    from harness.report.table import Table, Tables
    from harness.rng import Rng

_HOMES = {
    "harness.api": "check episodes load measured plan resolved results run streams",
    "harness.cells.plan": "Plan",
    "harness.cells.results": "Results",
    "harness.data.base": "Images",
    "harness.errors": "HarnessError",
    "harness.execute.session": "Run",
    "harness.interactive.attack": "Attacked attack",
    "harness.interactive.evaluate": "evaluate",
    "harness.interactive.export": "export",
    "harness.interactive.views": "board compare plot summary table trust",
    "harness.learning.files": "File",
    "harness.learning.learner": "Budget Learner Synapses TrainingLog",
    "harness.registry": "Config",
    "harness.report.table": "Table Tables",
    "harness.rng": "Rng",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [  # written out for editors, which run no code
    "Attacked",
    "Budget",
    "Config",
    "File",
    "HarnessError",
    "Images",
    "Learner",
    "Plan",
    "Results",
    "Rng",
    "Run",
    "Synapses",
    "Table",
    "Tables",
    "TrainingLog",
    "attack",
    "board",
    "check",
    "compare",
    "episodes",
    "evaluate",
    "export",
    "load",
    "measured",
    "plan",
    "plot",
    "resolved",
    "results",
    "run",
    "streams",
    "summary",
    "table",
    "trust",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return __all__
