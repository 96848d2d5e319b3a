"""Transfer matrix: every learner's adversarial images, shown to every learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from harness.attacks.config import AttackConfig
from harness.attacks.engine.crafting import craft
from harness.attacks.pgd import PGD
from harness.batching import ROWS, in_batches
from harness.data.base import Images, Loaded
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics.statistics import wilson
from harness.protocols.attack_settings import BUDGETS, AnyAttack, AttackEntry, labelled
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.classification import detectable_words
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit
from harness.protocols.requirements import classifier_of, require_logits
from harness.protocols.setting import Setting
from harness.protocols.subset import Some, number_of, of_config, subset, too_many
from harness.protocols.subset import words as subset_words
from harness.records import NO_ATTACK, Value
from harness.registry import protocols

MOST_BYTES = 64 * 2**20
"""Most bytes of adversarial images that a store keeps for one learner and seed."""

IMAGES = 500
"""Images, unless a suite says otherwise."""


@dataclass(frozen=True)
class TransferSetting(Setting):
    """One attack on some images.

    Attributes:
        entry: the attack.
        splitting, split: whose images are attacked.
        images: which of them, as in ``subset``.
        source: name of the learner whose adversarial images are judged; empty where they are made.
    """

    entry: AttackEntry
    splitting: str
    split: str
    images: int | str | None
    source: str = ""

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON."""
        source = {"source": self.source} if self.source else {}
        return {
            **self.entry.to_identity(),
            "splitting": self.splitting,
            "split": self.split,
            "images": self.images,
            **source,
        }

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """The setting that ``to_identity`` described."""
        return cls(
            AttackEntry.from_identity(identity),
            identity["splitting"],
            identity["split"],
            identity["images"],
            identity.get("source", ""),
        )

    @property
    def label(self) -> str:
        """What is attacked, or whose images are judged."""
        return f"images of {self.source}" if self.source else self.entry.label


@protocols.register("transfer_matrix")
class TransferMatrix(OnASplit[TransferSetting]):
    """Every learner's adversarial images against every other learner."""

    setting_type = TransferSetting
    keys = ("source",)

    class Config(ProtocolConfig):
        """The attack, and the images."""

        attack: AnyAttack = Field(
            description="the attack on each learner, with one budget, "
            "e.g. {attack: pgd, eps: 0.1, steps: 20}"
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field(
            "test", description="the split whose images are attacked"
        )
        images: Some = Field(
            IMAGES,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order",
        )

    config: Config

    @property
    def entry(self) -> AttackEntry:
        """The attack; PGD climbs to its last step, as ``transfer`` does.

        A sweep stops at the first mistake, but images far behind a boundary transfer better.
        """
        attack = self.config.attack
        if isinstance(attack, PGD.Config):
            attack = attack.model_copy(update={"iterate": "last"})
        return labelled([attack])[0]

    @property
    def bytes_kept(self) -> int:
        """Bytes of the adversarial images of one learner and seed."""
        images = of_config(self.config.images)
        assert images is not None  # it has a default
        return 4 * number_of(images) * prod(self.facts.image_shape)

    @property
    def crossed(self) -> bool:
        """Each learner judges what was measured on each."""
        return True

    def settings(self) -> Iterator[TransferSetting]:
        """Yield one setting, of the attack on a learner."""
        config = self.config
        images = of_config(config.images)
        yield TransferSetting(self.entry, self.splitting, config.split, images)

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, too many images, and attacks without one budget of their own."""
        config = self.config
        faults = list(self.split_faults())
        yield from faults
        if faults:
            return
        split = self.facts.splittings[self.splitting][config.split]
        yield from too_many(config.images, split.images)
        if self.bytes_kept > MOST_BYTES:
            most = MOST_BYTES // (4 * prod(self.facts.image_shape))
            message = f"{self.bytes_kept / 2**20:.0f} MiB of adversarial images for each learner"
            yield Fault(("images",), message, f"at most {most} images of this size")
        attack = self.entry.attack
        if attack.minimal or attack.surrogate is not None:
            why = "looks for no fixed budget" if attack.minimal else "attacks a network of its own"
            yield Fault(("attack", "attack"), f"{attack.kind} {why}", "use pgd, apgd or fgsm")
        if len(config.attack.eps) != 1 or config.attack.eps[0] == 0:
            yield Fault(("attack", "eps"), "a matrix is at one eps above 0", "give one number")
        yield from _for_sweeps_only(config.attack)
        for path, message, hint in attack.faults(self.facts.image_shape, split.classes):
            yield Fault(("attack", *path), message, hint)

    @classmethod
    def code(cls, setting: TransferSetting) -> list[type]:
        """The attack."""
        return setting.entry.code()

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: TransferSetting, context: Context
    ) -> Measurement:
        """Make a learner's adversarial images, and keep them.

        Raises:
            ValueError: the classifier is in train mode, or gives no logits of the right shape.
            FloatingPointError: some logits are not finite.
        """
        images = _images(data, setting)
        model = classifier_of(learner)
        pixels = images.tensor(context.device)
        clean = _correct(learner, pixels, images, context)
        adversarial = craft(
            model,
            pixels,
            torch.from_numpy(images.known_labels).to(context.device),
            images.index,
            setting.entry.attack,
            context.rng,
            batch_size=context.batch_size,
            progress=context.progress,
        )
        arrays = {
            "correct": clean,
            "withstood": _correct(learner, adversarial, images, context),
            "adversarial": adversarial.cpu().numpy(),
            "index": images.index,
        }
        inference = of_classifier(model, pixels[:ROWS])
        value = _accuracy(clean, {"source": NO_ATTACK})
        return Measurement([value], arrays, inference.checks, remarks=inference.remarks)

    @classmethod
    def judge(
        cls,
        learner: Learner,
        data: Loaded,
        setting: TransferSetting,
        context: Context,
        measured: Mapping[str, np.ndarray],
    ) -> Measurement:
        """Judge the adversarial images of a learner, the source, on another one.

        Args:
            measured: the arrays that ``measure`` gave for the source.
        """
        images = _images(data, setting)
        clean = _correct(learner, images.tensor(context.device), images, context)
        adversarial = torch.from_numpy(measured["adversarial"]).to(context.device)
        withstood = _correct(learner, adversarial, images, context)
        values = [_accuracy(withstood)]
        broke_source = (measured["correct"] == 1) & (measured["withstood"] == 0)
        compared = broke_source & (clean == 1)
        count = int(compared.sum())
        if count:
            broken = int((withstood[compared] == 0).sum())
            low, high = wilson(broken, count)
            values.append(Value("transferred", broken / count, low, high, count))
        return Measurement(values, {"correct": withstood, "index": images.index})

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same for every pair."""
        images = of_config(self.config.images)
        assert images is not None  # it has a default
        return detectable_words(number_of(images), spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        entry = self.entry
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": subset_words(of_config(config.images)),
            "threat model": f"images made on the source, judged on the row's learner; {BUDGETS}",
            entry.label: entry.attack.words(),
            "transferred": "of the images that both classify correctly and that break the source, "
            "the share that breaks the row's learner",
            "kept": f"{self.bytes_kept / 2**20:.1f} MiB of images for each learner and seed",
        }


def _for_sweeps_only(config: AttackConfig) -> Iterator[Fault]:
    """Yield keys that only an attack sweep reads."""
    for key in ("target", "save"):
        if getattr(config, key) is not None:
            yield Fault(("attack", key), "a matrix has no such key", "use it in an attack_sweep")


def _images(data: Loaded, setting: TransferSetting) -> Images:
    return subset(data.split(setting.splitting, setting.split), setting.images)


def _correct(
    learner: Learner, pixels: torch.Tensor, images: Images, context: Context
) -> np.ndarray:
    """Which pixels (N, C, H, W), made from ``images``, are classified correctly: uint8 (N,)."""
    model = classifier_of(learner)
    with torch.no_grad():
        logits = in_batches(model, pixels, batch_size=context.batch_size)
    require_logits(logits, (len(images), images.n_classes), learner)
    right: np.ndarray = logits.argmax(1).cpu().numpy() == images.known_labels
    return right.astype(np.uint8)


def _accuracy(correct: np.ndarray, keys: dict[str, Any] | None = None) -> Value:
    low, high = wilson(int(correct.sum()), len(correct))
    mean = float(correct.mean())
    return Value("accuracy", mean, low, high, len(correct), "sample", keys, "correct")
