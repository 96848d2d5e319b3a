"""Checks of protocols: their dataset, their learners, and combinations that are impossible."""

from __future__ import annotations

from typing import Any

from harness.data.base import Dataset
from harness.errors import DataError, did_you_mean
from harness.learning.body import ChosenBody
from harness.protocols.base import CARVE, NO_TRAIN, Protocol
from harness.registry import datasets, protocols
from harness.suite.check.context import Checking, Steps
from harness.suite.model import LearnerEntry, ProtocolEntry, SuiteConfig

ON_EMBEDDINGS = ("biology", "calibration", "classification", "few_shot", "low_data")
"""Protocols that measure any numbers; all others are for images."""


def checked_protocols(
    checking: Checking, top: SuiteConfig, learners: list[LearnerEntry]
) -> list[ProtocolEntry]:
    """The protocols of a suite that are sound enough to be referred to."""
    entries = []
    for name in top.protocols:
        entry = _protocol(checking, name, top, learners)
        if entry is not None:
            entries.append(entry)
    return entries


def _protocol(
    checking: Checking, name: str, top: SuiteConfig, learners: list[LearnerEntry]
) -> ProtocolEntry | None:
    path = ("protocols", name)
    entry = checking.kind(protocols, path)
    if entry is None:
        return None
    cls, keys = entry
    config = checking.validated(cls.Config, keys, path)
    if config is None:
        return None
    dataset = _dataset(checking, config.dataset, (*path, "dataset"))
    if dataset is None:
        return None
    if not dataset.are_pixels and ":" not in cls.kind and cls.kind not in ON_EMBEDDINGS:
        checking.report(
            (*path, "dataset"),
            f"{cls.kind} is for images, and {dataset.kind} has embeddings",
            f"protocols on embeddings: {', '.join(ON_EMBEDDINGS)}",
        )
        return None
    try:
        protocol = cls(config, dataset.facts())
    except DataError as error:  # the facts of a user's own images are in a file
        message = str(error).partition("\n")[0]
        checking.report((*path, "dataset"), message, error.hint or "")
        return None
    if getattr(config, "over_time", False) and not top.snapshots:
        checking.report(
            (*path, "over_time"),
            "over_time needs the states during training",
            "set `snapshots: true` in the suite",
        )
    for fault in protocol.faults():
        checking.report((*path, *fault.path), fault.message, fault.hint)
    reference = protocol.compared_with()
    measured = config.learners or list(top.learners)
    if reference is not None and reference not in measured:
        message = f"{reference!r} is not among the learners that it measures"
        checking.report((*path, "reference"), message, did_you_mean(reference, measured))
    chosen, skipped = _chosen(checking, path, config.learners, protocol, learners, top)
    return ProtocolEntry(name, protocol, dataset, chosen, config.seeds or top.seeds, skipped)


def _dataset(checking: Checking, value: str | dict[str, Any], path: Steps) -> Dataset | None:
    if isinstance(value, dict):
        entry = checking.kind(datasets, path)
        if entry is None:
            return None
        cls, keys = entry
    elif value in datasets:
        cls, keys = datasets[value], {}
    else:
        checking.report(path, f"unknown dataset {value!r}", did_you_mean(value, datasets))
        return None
    config = checking.validated(cls.Config, keys, path)
    return None if config is None else cls(config, checking.data_root)


def _chosen(
    checking: Checking,
    path: Steps,
    wanted: list[str] | None,
    protocol: Protocol,
    learners: list[LearnerEntry],
    top: SuiteConfig,
) -> tuple[list[LearnerEntry], dict[str, str]]:
    """Learners that a protocol measures, and those it skips because it cannot, with the reason.

    Args:
        wanted: names that the protocol lists; None: all learners.
    """
    for index, name in enumerate(wanted or []):
        checking.is_learner((*path, "learners", index), name, top)
    chosen = []
    skipped = {}
    for entry in learners:
        if wanted is not None and entry.name not in wanted:
            continue
        refusal = (
            protocol.refuses(entry.cls)
            or _untrainable(entry, protocol)
            or _unmatched(entry, protocol, learners)
            or _too_small(entry, protocol)
        )
        absent = entry.cls.absent()
        if refusal and wanted is not None:
            place = (*path, "learners", wanted.index(entry.name))
            checking.report(place, f"cannot measure {entry.name!r}: {refusal}")
        elif refusal:
            skipped[entry.name] = refusal
        elif absent:
            skipped[entry.name] = absent
        else:
            chosen.append(entry)
    if learners and not chosen and (skipped or wanted is None):
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
        checking.report(path, "it can measure none of the learners", reasons)
    return chosen, skipped


def _too_small(entry: LearnerEntry, protocol: Protocol) -> str | None:
    """Why a learner's body does not take the images of a protocol, or None."""
    body = getattr(entry.config, "body", None)
    return body.refuses(protocol.facts.image_shape) if isinstance(body, ChosenBody) else None


def _untrainable(entry: LearnerEntry, protocol: Protocol) -> str | None:
    """Why a learner cannot be trained for a protocol, or None."""
    data = protocol.training()
    if data is None or entry.cls.comes_trained(entry.config):
        return None
    splits = protocol.facts.splittings.get(data.splitting)
    if splits is None or "train" in splits:
        return None
    return f"it is trained, and {NO_TRAIN}: {CARVE}"


def _unmatched(entry: LearnerEntry, protocol: Protocol, learners: list[LearnerEntry]) -> str | None:
    """Why a learner cannot be matched for a protocol, or None."""
    if entry.match is None:
        return None
    data = protocol.training()
    if data is None:
        return "`match` chooses among trained learners, and this protocol trains none"
    splits = protocol.facts.splittings.get(data.splitting, {})
    has_validation = (
        data.labelled and "val" in splits and data.splitting not in protocol.facts.class_disjoint
    )
    if entry.match.measure == "clean_accuracy" and not has_validation:
        return (
            f"{data.splitting} has no validation images of the classes that are trained on, "
            "to match the clean accuracy with"
        )
    target = next((each for each in learners if each.name == entry.match.target), None)
    if target is None:
        return None
    reason = protocol.refuses(target.cls) or _unmatched(target, protocol, learners)
    return f"it is matched to {target.name}: {reason}" if reason else None
