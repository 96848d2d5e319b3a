"""A dataset with test images of others beside it: what is outside of its distribution."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from harness.data import acquire
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.errors import DataError
from harness.registry import datasets

Spec = dict[str, Any]
"""``kind`` of a dataset, and its keys."""


def made(spec: Spec, root: Path | None) -> Dataset:
    """The dataset that a mapping names."""
    keys = {key: value for key, value in spec.items() if key != "kind"}
    cls = datasets[spec["kind"]]
    return cls(cls.Config.model_validate(keys), root)


def beside(dataset: Dataset, others: list[str]) -> Beside:
    """A dataset with others beside it, by their names."""
    inside = {"kind": dataset.kind, **dataset.config.model_dump(mode="json")}
    keys: dict[str, Any] = {
        "inside": json.dumps(inside, sort_keys=True),
        "outside": " ".join(others),
        "where": dataset.config.places() or None,
    }
    return Beside(Beside.Config.model_validate(keys), dataset.root)


def split_outside(facts: Facts) -> tuple[str, SplitFacts]:
    """The first splitting of a dataset, and the facts of its test images."""
    splitting = next(iter(facts.splittings))
    return splitting, facts.splittings[splitting]["test"]


@datasets.register("beside")
class Beside(Dataset):
    """A dataset with the test images of others as further splits; for out_of_distribution.

    Protocols make it; there is no need to name it in a suite. Labels of outside images are 0 and
    mean nothing.
    """

    class Config(Dataset.Config):
        """Which datasets. All as text, because a worker looks up what it has loaded by its keys."""

        inside: str = Field(
            '{"kind": "mnist5k"}', description="the dataset: a JSON object with `kind` and its keys"
        )
        outside: str = Field("", description="names of the datasets beside it, with spaces between")
        where: dict[str, Any] | None = Field(
            None, description="the paths that keys of the dataset name; they are in no key"
        )

        def places(self) -> dict[str, Any]:
            """The paths of the dataset inside."""
            return {"where": self.where} if self.where else {}

    config: Config
    origin = "embedded"  # by default; otherwise its parts say what is missing
    licence = "those of its parts"
    citation = "those of its parts"
    how_to_get = "the protocol out_of_distribution makes it from datasets that are there"

    @property
    def inside(self) -> Dataset:
        """The dataset itself."""
        return made({**json.loads(self.config.inside), **(self.config.where or {})}, self.root)

    @property
    def outside(self) -> dict[str, Dataset]:
        """The datasets beside it, by the names of their splits."""
        return {name: made({"kind": name}, self.root) for name in self.config.outside.split()}

    @property
    def parts(self) -> list[Dataset]:
        """All of them."""
        return [self.inside, *self.outside.values()]

    @property
    def title(self) -> str:
        """The names of all of them."""
        return " beside ".join(each.title for each in self.parts)

    def facts(self) -> Facts:
        """Shape and splits.

        Raises:
            DataError: images of a dataset have another size.
        """
        own = self.inside.facts()
        splitting = next(iter(own.splittings))
        splits = dict(own.splittings[splitting])
        for name, dataset in self.outside.items():
            other = dataset.facts()
            if other.image_shape != own.image_shape:
                shapes = ("x".join(map(str, each.image_shape)) for each in (other, own))
                raise DataError("images of {} beside images of {}".format(*shapes), where=name)
            count = split_outside(other)[1].images
            splits[name] = SplitFacts(1, count, count)
        return replace(own, splittings={**own.splittings, splitting: splits})

    def sources(self) -> list[Path]:
        """The files of all of them."""
        return [path for dataset in self.parts for path in dataset.sources()]

    def build(self) -> Loaded:
        """Put the test images of the others behind those of the dataset."""
        own = acquire.load(self.inside)[0]
        splitting = next(iter(own.splittings))
        splits = dict(own.splittings[splitting])
        pixels = [own.pixels]
        count = len(own.pixels)
        for name, dataset in self.outside.items():
            data = acquire.load(dataset)[0]
            images = data.split(split_outside(dataset.facts())[0], "test")
            splits[name] = np.arange(count, count + len(images))
            pixels.append(images.pixels)
            count += len(images)
        labels = np.concatenate([own.labels, np.zeros(count - len(own.labels), np.int64)])
        return replace(
            own,
            pixels=np.concatenate(pixels),
            labels=labels,
            splittings={**own.splittings, splitting: splits},
        )
