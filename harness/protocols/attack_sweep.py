"""Adversarial robustness: accuracy over a grid of budgets, with trust checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.attacks.base import Attack
from harness.attacks.cascade import Cascade
from harness.attacks.config import config_error
from harness.attacks.engine.parts import shares
from harness.attacks.engine.sweep import Sweep, sweep, verdict_name
from harness.attacks.engine.victim import Victim
from harness.data.base import Images, Loaded
from harness.lazy import LazyModule, nn, torch
from harness.learning.learner import Learner
from harness.metrics.statistics import wilson
from harness.protocols.attack_settings import (
    BUDGETS,
    ROBUST,
    AttackEntry,
    AttacksConfig,
    attack_faults,
    attack_words,
    cascade_problems,
    cascades,
    knowledge,
    labelled,
)
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Relative,
    TrustContext,
)
from harness.protocols.classification import detectable_words
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit, one_class
from harness.protocols.requirements import classifier_of, rebuilt, require_logits
from harness.protocols.setting import Setting
from harness.protocols.subset import Some, number_of, of_config, subset, too_many, words
from harness.protocols.surrogates import prepared, surrogate_faults
from harness.protocols.targeted import aimed, remark
from harness.records import TrustCheck, Value
from harness.registry import attacks, protocols

certificates: Any = LazyModule("harness.protocols.certificates")
"""Imported by name: only the keys of certified sweeps have the code of proofs (``code``)."""
saving: Any = LazyModule("harness.protocols.saved")
"""The same for sweeps that keep images."""

SMALL_CNN = Relative("cnn", {"filters": 8, "units": 64, "epochs": 5}, images=20_000)
SMALL_MLP = Relative("mlp", {"hidden": 100, "epochs": 5}, images=20_000)
PROTOTYPES = Relative("prototypes", {"hidden": 100}, images=20_000)

CONVOLVED = 16
"""Smallest side of images on which the small network is convolutional."""


@dataclass(frozen=True)
class AttackSweepSetting(Setting):
    """One attack on some images.

    Attributes:
        entry: the attack, with its grid of budgets.
        splitting, split: whose images are attacked.
        images: which of them, as in ``subset``; None: all.
    """

    entry: AttackEntry
    splitting: str
    split: str
    images: int | str | None

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON."""
        return {
            **self.entry.to_identity(),
            "splitting": self.splitting,
            "split": self.split,
            "images": self.images,
        }

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """The setting that ``to_identity`` described."""
        entry = AttackEntry.from_identity(identity)
        return cls(entry, identity["splitting"], identity["split"], identity["images"])

    @property
    def label(self) -> str:
        """The attack's name in tables."""
        return self.entry.label


@protocols.register("attack_sweep")
class AttackSweep(OnASplit[AttackSweepSetting]):
    """Accuracy under attacks over a grid of budgets, with trust checks."""

    setting_type = AttackSweepSetting
    keys = ("eps", "part")

    class Config(AttacksConfig):
        """Keys of an attack sweep."""

        splitting: str | None = Field(
            None, description="which splits of the dataset; its first if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split whose images are attacked"
        )
        worst: Literal["derived", "cascade"] = Field(
            "derived",
            description="derived: every attack is a measurement, and the worst case follows from "
            "them; cascade: the attacks of a norm are one measurement, the worst case, in which "
            "each attacks what withstood those before it",
        )
        images: Some | None = Field(
            None,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order; the whole split if left out",
        )

        @model_validator(mode="after")
        def _can_be_a_cascade(self) -> Self:
            problems = cascade_problems(self.attacks) if self.worst == "cascade" else []
            if problems:
                raise config_error(problems)
            return self

    config: Config

    def settings(self) -> Iterator[AttackSweepSetting]:
        """Yield one setting for each attack, or for the cascade of each norm."""
        config = self.config
        for entry in (cascades if config.worst == "cascade" else labelled)(config.attacks):
            images = of_config(config.images)
            yield AttackSweepSetting(entry, self.splitting, config.split, images)

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, too large numbers of images, and attacks that do not fit them."""
        config = self.config
        named = ("splitting",) if config.splitting else ("dataset",)
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
                f"in {self.splitting!r} the classes of {config.split} are not those trained on",
                "an attack sweep needs a splitting whose splits share their classes",
            )
        if config.split not in splits:
            yield Fault(
                ("split",),
                f"no split {config.split!r} in {self.splitting!r}",
                f"there are: {', '.join(splits)}",
            )
            return
        split = splits[config.split]
        if split.classes < 2:
            yield one_class()
            return
        yield from too_many(config.images, split.images)
        yield from attack_faults(config.attacks, self.facts.image_shape, split.classes)
        for place, attack_config in enumerate(config.attacks):
            attack = attacks[attack_config.attack](attack_config)
            for path, message, hint in surrogate_faults(attack, splits):
                yield Fault(("attacks", place, "surrogate", *path), message, hint)

    @classmethod
    def code(cls, setting: AttackSweepSetting) -> list[type]:
        """The attack and its parts, the learner that it trains to attack from, and proofs."""
        attack = setting.entry.attack
        parts = [*map(type, attack.parts.values())] if isinstance(attack, Cascade) else []
        proofs = [certificates.Certificates] if setting.entry.config.certify else []
        kept = [] if setting.entry.config.save is None else [saving.Saved]
        return [*setting.entry.code(), *parts, *proofs, *kept]

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: AttackSweepSetting, context: Context
    ) -> Measurement:
        """Attack every image at every budget; accuracy at each with its Wilson interval.

        Raises:
            ValueError: the classifier is in train mode, or gives no logits of the right shape.
            FloatingPointError: some logits are not finite.
        """
        everything = _images(data, setting)
        attack = prepared(setting.entry.attack, data, setting.splitting, context)
        network = classifier_of(learner)
        logits = Victim(network, context.batch_size).logits(everything.tensor(context.device))
        require_logits(logits, (len(everything), everything.n_classes), learner)
        asked, images = _question(everything, attack, data, setting)
        model = asked(network)
        pixels = images.tensor(context.device)
        labels = torch.from_numpy(images.labels).to(context.device)
        proofs = None
        if attack.config.certify:
            proofs = certificates.Certificates.of(model, pixels, labels, attack)
        run = sweep if proofs is None else proofs.sweep
        kept = None
        if attack.config.save is not None:
            kept = saving.Saved.of(attack, images, everything, pixels)
        result = run(
            model,
            pixels,
            labels,
            images.index,
            attack if kept is None else kept.keeping,
            context.rng,
            batch_size=context.batch_size,
            progress=context.progress,
        )
        arrays = {**result.to_arrays(), "index": images.index}
        log = {"outside": result.outside, "changed": list(result.changed)}
        values = _values(result)
        if attack.reports_parts:
            values += _part_values(result)
        inference = of_classifier(network, pixels)
        remarks = inference.remarks
        if attack.config.target is not None:
            remarks = [*remarks, remark(attack.config.target, len(images), len(everything))]
        if proofs is not None:
            arrays |= proofs.to_arrays()
            values += proofs.values()
            remarks = [*remarks, proofs.remark]
        saved = {}
        if kept is not None:
            saved = kept.to_arrays(result, network, context.batch_size)
            names = data.split_classes(setting.splitting, setting.split)
            log["saved"] = kept.names(saved, names)
        return Measurement(values, arrays, inference.checks, log, remarks, saved)

    @property
    def checked(self) -> bool:
        """Whether trust checks follow each sweep."""
        return self.config.trust

    def relatives(self, setting: AttackSweepSetting) -> list[Relative]:
        """A small network and prototypes, if the attack could be misled by a gradient."""
        if not setting.entry.attack.climbs:
            return []
        large_enough = min(self.facts.image_shape[1:]) >= CONVOLVED
        network = SMALL_CNN if large_enough else SMALL_MLP
        return [network, PROTOTYPES]

    @classmethod
    def trust(
        cls,
        learner: Learner,
        data: Loaded,
        setting: AttackSweepSetting,
        context: TrustContext,
        measured: Measurement,
    ) -> list[TrustCheck]:
        """The trust checks of a sweep."""
        from harness.attacks.trust import check

        attack = prepared(setting.entry.attack, data, setting.splitting, context)
        asked, images = _question(_images(data, setting), attack, data, setting)
        network = classifier_of(learner)
        model = asked(network)

        def fresh() -> nn.Module:
            """A fresh copy as the attack sees it; the model itself: there is none."""
            copied = classifier_of(rebuilt(learner))
            return model if copied is network else asked(copied)

        result = Sweep.from_arrays(
            measured.arrays,
            tuple(attack.config.eps),
            tuple(map(str, attack.objectives)),
            measured.log["outside"],
            tuple(measured.log["changed"]),
        )
        return check(
            model,
            images.tensor(context.device),
            torch.from_numpy(images.labels).to(context.device),
            images.index,
            attack,
            context.rng,
            result,
            batch_size=context.batch_size,
            fresh=fresh,
            relatives={name: asked(other) for name, other in (context.relatives or {}).items()},
            plastic=learner.plastic,
        )

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same in every seed."""
        split = self.facts.splittings[self.splitting][self.config.split]
        chosen = of_config(self.config.images)
        images = split.images if chosen is None else number_of(chosen)
        return detectable_words(images, spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": words(of_config(config.images)),
            "threat model": f"{knowledge(config.attacks)}; {BUDGETS}",
            "robust": ROBUST,
            **attack_words(config.attacks),
            "trust checks": "after each sweep" if config.trust else "off",
        }


def _images(data: Loaded, setting: AttackSweepSetting) -> Images:
    return subset(data.split(setting.splitting, setting.split), setting.images)


def _question(
    images: Images, attack: Attack, data: Loaded, setting: AttackSweepSetting
) -> tuple[Callable[[nn.Module], nn.Module], Images]:
    """How the attack sees a network, and the images that it attacks."""
    if attack.config.target is None:
        return (lambda network: network), images
    return aimed(images, attack, data.split_classes(setting.splitting, setting.split))


def _values(result: Sweep) -> list[Value]:
    values = []
    for eps, robust in zip(result.eps, result.worst, strict=True):
        low, high = wilson(int(robust.sum()), len(robust))
        value = Value(
            "accuracy",
            float(robust.mean()),
            low,
            high,
            n=len(robust),
            unit="sample",
            setting={"eps": eps},
            verdicts=verdict_name(eps),
        )
        values.append(value)
    return values


def _part_values(result: Sweep) -> list[Value]:
    """Share of the images that each part of the attack broke, at each eps above 0."""
    return [
        Value(
            "broken",
            share,
            n=len(result.clean),
            unit="sample",
            setting={"eps": eps, "part": part},
        )
        for eps, broken in zip(result.eps, shares(result.correct, result.objectives), strict=True)
        for part, share in broken.items()
        if eps > 0
    ]
