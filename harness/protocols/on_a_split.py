"""Protocols that measure one split of images, of the classes that learners are trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from harness.protocols.base import Fault, Protocol, TrainingData
from harness.protocols.setting import Setting
from harness.protocols.subset import First, too_many

Asked = TypeVar("Asked", bound=Setting)


class TrainsOnASplit(Protocol[Asked]):
    """A protocol that trains on the labelled train split of its config's key ``splitting``."""

    config: Any

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def training(self) -> TrainingData:
        """The labelled train split."""
        return TrainingData(self.splitting)

    def splitting_faults(self) -> Iterator[Fault]:
        """Yield a splitting that the dataset does not have."""
        splittings = self.facts.splittings
        if self.splitting not in splittings:
            yield Fault(
                ("splitting",),
                f"no splitting {self.splitting!r}",
                f"allowed: {', '.join(splittings)}",
            )


class OnASplit(TrainsOnASplit[Asked]):
    """A protocol that trains on the train split, and measures images of one other.

    Its config has the keys ``splitting`` and ``split``.
    """

    def split_faults(self, images: int | First | None = None) -> Iterator[Fault]:
        """Yield unknown splits, classes not trained on, and too large numbers of images.

        Args:
            images: how many are measured; None for all.
        """
        splitting, split = self.splitting, self.config.split
        named = self.config.splitting is not None
        faults = list(shared_class_faults(self, splitting, split, named=named))
        yield from faults
        if not faults:
            yield from too_many(images, self.facts.splittings[splitting][split].images)


def one_class() -> Fault:
    """The fault of a dataset in which no answer can be wrong."""
    return Fault(
        ("dataset",),
        "it has one class, so that every answer is right",
        "classification needs at least 2 classes",
    )


def shared_class_faults(
    protocol: Protocol, splitting: str, split: str, *, named: bool
) -> Iterator[Fault]:
    """Yield faults of a protocol that measures on the classes it trains on.

    Args:
        protocol: the protocol; its dataset is checked.
        splitting, split: used by the protocol.
        named: whether the suite names the splitting; a fault is then reported at that key.
    """
    splittings = protocol.facts.splittings
    if splitting not in splittings:
        yield Fault(
            ("splitting",),
            f"no splitting {splitting!r}",
            f"allowed: {', '.join(splittings)}",
        )
    elif split not in splittings[splitting]:
        yield Fault(
            ("split",),
            f"no split {split!r} in {splitting!r}",
            f"allowed: {', '.join(splittings[splitting])}",
        )
    elif splittings[splitting][split].classes < 2:
        yield one_class()
    elif splitting in protocol.facts.class_disjoint:
        yield Fault(
            ("splitting",) if named else ("dataset",),
            f"learners are not trained on the classes of {splitting}/{split}",
            "measure it with kind: few_shot, or name a splitting with shared classes",
        )
