"""``harness.evaluate``: a network at hand, measured as a suite measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import api
from harness.errors import HarnessError
from harness.execute.session import Run
from harness.interactive.attack import Budget, attack_keys
from harness.learning.learner import Learner
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from torch import nn

Keys = Mapping[str, Any]
"""An entry of a suite."""


def evaluate(
    model: nn.Module | type[Learner] | Keys,
    *,
    dataset: str | Keys,
    attacks: str | Keys | Sequence[str | Keys] = (),
    eps: Budget | Sequence[Budget] | None = None,
    norm: str | None = None,
    images: int | None = None,
    protocols: Sequence[str] | Mapping[str, Keys] = (),
    normalise: Mapping[str, Sequence[float]] | None = None,
    output: str | int | None = None,
    name: str = "model",
    suite: str = "evaluate",
    seeds: Any = 0,
    store: str | Path = DEFAULT_STORE,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Measure a network: its accuracy, or its robustness and whatever protocols are named.

    The call is a suite of one learner, and what it gives is what a YAML file gives: finished cells
    in a store, records, tables, a trust report. The network is copied first and left as it is. A
    second call with the same weights and code finds the results in the store.

    Args:
        model: A network from images (B, C, H, W) to logits; or a learner as in a suite: a class, or
            a mapping such as ``{"kind": "mlp", "hidden": 100}``.
        dataset: Its name (``harness list datasets``), or its keys as in a suite.
        attacks: Names of attacks (``harness list attacks``), or their keys as in a suite. Each is a
            row of one attack sweep with trust checks.
        eps: Budgets of the attacks that have none of their own. Zero is added: it gives the
            accuracy without an attack on the same images.
        norm: Of the attacks that name none.
        images: Number of test images to attack, classes balanced; all if None.
        protocols: Kinds of further protocols, e.g. ``["corruption", "biology"]``; or a mapping from
            a name to keys as in a suite. Without attacks and protocols, the accuracy is measured.
        normalise: ``{"mean": [...], "std": [...]}`` of each channel, if the network expects images
            that are normalised by them.
        output: What the network returns, if not logits; see ``kind: network``.
        name: Of the model in tables.
        suite: Name of the suite in tables.
        seeds: A seed, or several as in a suite.
        store: Folder or URL of finished cells.
        progress: Show a line for each finished cell, or bars on a terminal.
        options: Further arguments of ``harness.run``: ``device``, ``workers``, ``data_root``, ...

    Raises:
        HarnessError: A faulty argument, named by its place in the suite; a missing dataset; a
            network that cannot be sent to a worker; or nothing could be measured.
    """
    learner = {"normalise": normalise, "output": output}
    given = {key: value for key, value in learner.items() if value is not None}
    if isinstance(model, Mapping):
        entry: Any = {**given, **model}
    elif isinstance(model, type):
        entry = {**given, "kind": model}
    else:
        entry = {**given, "kind": "network", "module": model}
    measured = {
        "name": suite,
        "seeds": [seeds] if isinstance(seeds, int) else seeds,
        "learners": {name: entry},
        "protocols": {
            **_attacked(dataset, attacks, eps, norm, images),
            **_further(dataset, protocols),
        },
    }
    if not measured["protocols"]:
        measured["protocols"] = {"clean": {"kind": "classification", "dataset": dataset}}
    run = api.run(measured, store=store, progress=progress, **options)
    if run.outcome.failed and not run.results.records:
        failure = next(iter(run.outcome.failed.values()))
        # Without the name of the exception, if it is one of ours.
        raise HarnessError(failure.removeprefix("HarnessError: "), where="harness.evaluate")
    return run


def _attacked(
    dataset: str | Keys,
    attacks: str | Keys | Sequence[str | Keys],
    eps: Budget | Sequence[Budget] | None,
    norm: str | None,
    images: int | None,
) -> dict[str, Keys]:
    """The attack sweep, if there are attacks."""
    written = [attacks] if isinstance(attacks, str | Mapping) else list(attacks)
    if not written:
        return {}
    grid = None if eps is None else _with_zero(eps)
    entries = [attack_keys(attack, eps=grid, norm=norm) for attack in written]
    sweep = {"kind": "attack_sweep", "dataset": dataset, "attacks": entries}
    return {"robust": sweep if images is None else {**sweep, "images": images}}


def _with_zero(eps: Budget | Sequence[Budget]) -> list[Budget]:
    grid = [eps] if isinstance(eps, str | float | int) else list(eps)
    return grid if grid[:1] == [0] else [0, *grid]


def _further(dataset: str | Keys, protocols: Sequence[str] | Mapping[str, Keys]) -> dict[str, Keys]:
    """The protocols that are named, on the dataset unless they name another."""
    if not isinstance(protocols, Mapping):
        names = [protocols] if isinstance(protocols, str) else protocols
        protocols = {name: {"kind": name} for name in names}
    return {name: {"dataset": dataset, **keys} for name, keys in protocols.items()}
