"""Descriptions of the registered datasets, as ``harness data list`` shows them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.base import Dataset, SplitFacts
from harness.errors import DataError
from harness.registry import datasets


def describe(name: str, root: Path | None) -> dict[str, Any]:
    """Describe a dataset under its default config, as plain values.

    Args:
        name: name of the dataset.
        root: the data root.
    """
    dataset = _default(name, root)
    shape: tuple[int, ...] = ()
    splittings: dict[str, dict[str, SplitFacts]] = {}
    disjoint: list[str] = []
    remarks: list[str] = []
    try:
        facts = dataset.facts()
        remarks = dataset.remarks()
    except DataError:
        pass  # the facts of the user's own images are not known before the images are there
    else:
        shape = facts.image_shape
        splittings = {key: dict(splits) for key, splits in facts.splittings.items()}
        disjoint = sorted(facts.class_disjoint)
    default = next(iter(splittings), "")
    splits = splittings.get(default, {}).values()
    counts = [split.classes for split in splits]
    fields = type(dataset.config).model_fields
    return {
        "name": name,
        "description": datasets.describe(name),
        "origin": dataset.origin,
        "present": dataset.is_present,
        "shape": list(shape),
        "splittings": {
            key: {split: _sizes(facts) for split, facts in splits.items()}
            for key, splits in splittings.items()
        },
        "class_disjoint": disjoint,
        "classes": sum(counts) if default in disjoint else max(counts, default=0),
        "images": sum(split.images for split in splits),
        "switches": {key: field.description for key, field in fields.items()},
        "licence": dataset.licence,
        "citation": dataset.citation,
        "how_to_get": dataset.how_to_get,
        "remarks": remarks,
    }


def describe_all(root: Path | None) -> list[dict[str, Any]]:
    """Describe each registered dataset by one row of plain values."""
    rows = []
    for name in datasets:
        described = describe(name, root)
        splits = []
        for splitting, sizes in described["splittings"].items():
            classes = "/".join(str(split["classes"]) for split in sizes.values())
            splits.append(f"{splitting} {classes}")
        rows.append(
            {
                "name": name,
                "classes": described["classes"],
                "images": described["images"],
                "shape": "x".join(map(str, described["shape"])),
                "classes by split": ", ".join(splits),
                "origin": described["origin"],
                "present": described["present"],
                "licence": described["licence"],
                "citation": described["citation"],
            }
        )
    return rows


def present(root: Path | None) -> list[str]:
    """Name the datasets whose files are present under their default configs."""
    return [name for name in datasets if _default(name, root).is_present]


def absent(wanted: Iterable[Dataset]) -> dict[str, str]:
    """Name the datasets that are not on this machine: name -> the command that gets it."""
    missing = {}
    for dataset in wanted:
        for part in dataset.parts:
            if not part.is_present:
                name = part.kind
                missing[name] = (
                    f"harness data get {name}"
                    if part.remotes
                    else f"harness data import {name} PATH"
                )
    return missing


def _default(name: str, root: Path | None) -> Dataset:
    cls: type[Dataset] = datasets[name]
    return cls(cls.Config(), root)


def _sizes(facts: SplitFacts) -> dict[str, int]:
    return {"classes": facts.classes, "per_class": facts.per_class, "images": facts.images}
