"""Adversarial robustness: accuracy against a grid of budgets, with the checks that say whether to believe it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from harness.attacks.base import Attack
from harness.attacks.engine.sweep import Sweep, sweep, verdict_name
from harness.attacks.engine.victim import Victim
from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.learner import Learner
from harness.protocols.attack_list import (
    BUDGETS,
    ROBUST,
    AttacksConfig,
    attack_faults,
    attack_of,
    attack_settings,
    attack_words,
    knowledge,
)
from harness.protocols.base import Context, Fault, Measurement, Protocol, TrainingData
from harness.protocols.checks import require_logits
from harness.protocols.classification import detectable_words
from harness.protocols.subset import subset
from harness.records import Value
from harness.registry import attacks, learners, protocols
from harness.rng import Rng


@protocols.register("attack_sweep")
class AttackSweep(Protocol):
    """Accuracy under attacks over a grid of budgets, with trust checks."""

    keys = ("eps",)

    class Config(AttacksConfig):
        """Keys of an attack sweep."""

        splitting: str | None = Field(
            None, description="which splits of the dataset; its first if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split whose images are attacked"
        )
        images: int | None = Field(
            None, ge=1, description="how many images, classes balanced; the whole split if left out"
        )

    @property
    def splitting(self) -> str:
        """The splitting asked for, or the dataset's first."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[dict[str, Any]]:
        for attacked in attack_settings(self.config.attacks):
            yield {
                **attacked,
                "splitting": self.splitting,
                "split": self.config.split,
                "images": self.config.images,
                "trust": self.config.trust,
            }

    def training(self) -> TrainingData:
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        named = ("splitting",) if self.config.splitting else ("dataset",)
        splits = self.facts.splittings.get(self.splitting)
        if splits is None:
            yield Fault(
                named,
                f"no splitting {self.splitting!r}",
                f"there are: {', '.join(self.facts.splittings)}",
            )
            return
        if self.splitting in self.facts.class_disjoint:
            yield Fault(
                named,
                f"in {self.splitting!r} the classes of {self.config.split} are not those trained on",
                "an attack sweep needs a splitting whose splits share their classes",
            )
        if self.config.split not in splits:
            yield Fault(
                ("split",),
                f"no split {self.config.split!r} in {self.splitting!r}",
                f"there are: {', '.join(splits)}",
            )
            return
        split = splits[self.config.split]
        if self.config.images and self.config.images > split.images:
            yield Fault(
                ("images",),
                f"{self.config.images} images of {split.images}",
                f"at most {split.images}",
            )
        yield from attack_faults(self.config.attacks, self.facts.image_shape, split.classes)
        for place, config in enumerate(self.config.attacks):
            for path, message, hint in _surrogate_faults(attacks[config.attack](config)):
                yield Fault(("attacks", place, "surrogate", *path), message, hint)

    def modules(self, setting: dict[str, Any]) -> list[str]:
        attack = attack_of(setting["config"])
        surrogate = (
            [] if attack.surrogate is None else [learners[attack.surrogate["kind"]].__module__]
        )
        return [*super().modules(setting), type(attack).__module__, *surrogate]

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        from harness.attacks.trust import check

        images = data.split(setting["splitting"], setting["split"])
        images = images if setting["images"] is None else subset(images, setting["images"])
        attack, model = attack_of(setting["config"]), learner.classifier()
        if attack.surrogate is not None:
            train = data.split(setting["splitting"], "train")
            attack.network = surrogate_network(attack.surrogate, train, context.device)
        pixels = images.tensor(context.device)
        labels = torch.from_numpy(images.labels).to(context.device)
        require_logits(
            Victim(model, context.batch_size).logits(pixels),
            (len(images), images.n_classes),
            learner,
        )
        result = sweep(
            model,
            pixels,
            labels,
            images.index,
            attack,
            context.rng,
            batch_size=context.batch_size,
            progress=context.progress,
        )
        trust = (
            check(
                model,
                pixels,
                labels,
                images.index,
                attack,
                context.rng,
                result,
                batch_size=context.batch_size,
            )
            if setting["trust"]
            else []
        )
        return Measurement(_values(result), _arrays(result, images), trust)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images."""
        return detectable_words(
            self.config.images or self.facts.splittings[self.splitting][self.config.split].images,
            spread,
        )

    def block(self) -> dict[str, str]:
        number = f"{self.config.images}, classes balanced" if self.config.images else "all"
        return {
            "split": f"{self.splitting}/{self.config.split}",
            "images": number,
            "threat model": f"{knowledge(self.config.attacks)}; {BUDGETS}",
            "robust": ROBUST,
            **attack_words(self.config.attacks),
            "trust checks": "after each sweep" if self.config.trust else "off",
        }


def _surrogate_faults(attack: Attack) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What is wrong with the learner that an attack names as its surrogate."""
    if attack.surrogate is None:
        return
    keys = dict(attack.surrogate)
    try:
        cls = learners[str(keys.pop("kind", None))]
    except HarnessError as error:
        yield (), error.message, error.hint or ""
        return
    try:
        cls.Config.model_validate(keys)
    except ValidationError as error:
        for problem in error.errors():
            yield (
                problem["loc"],
                problem["msg"],
                f"`harness list learners` tells what {cls.kind} takes",
            )


_SURROGATES: dict[str, nn.Module] = {}
"""The last one that this process trained: the victims of a suite are attacked from the same."""


def surrogate_network(spec: dict[str, Any], train: Images, device: str) -> nn.Module:
    """The network of an attacker's own learner, trained on ``train``; the same whatever the victim and its seed.

    Args:
        spec: kind and config of the learner.
    """
    content = hashlib.sha256(np.ascontiguousarray(train.pixels).data).hexdigest()
    key = json.dumps([spec, content, device], sort_keys=True)
    if key not in _SURROGATES:
        keys = dict(spec)
        cls = learners[keys.pop("kind")]
        learner = cls(
            cls.Config.model_validate(keys), train.shape, train.n_classes, Rng(0).child("surrogate")
        )
        learner.fit(train)
        _SURROGATES.clear()
        _SURROGATES[key] = learner.to(device).classifier()
    return _SURROGATES[key]


def _values(result: Sweep) -> list[Value]:
    from harness.metrics.statistics import wilson

    values = []
    for eps, stood in zip(result.eps, result.worst, strict=True):
        low, high = wilson(int(stood.sum()), len(stood))
        values.append(
            Value(
                "accuracy",
                float(stood.mean()),
                low,
                high,
                len(stood),
                "sample",
                {"eps": eps},
                verdict_name(eps),
            )
        )
    return values


def _arrays(result: Sweep, images: Images) -> dict[str, np.ndarray]:
    return {**result.to_arrays(), "index": images.index}
