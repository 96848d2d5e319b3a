"""Adversarial robustness: accuracy against a grid of budgets, with the checks that say whether to believe it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializeAsAny, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from harness.attacks.base import Attack, AttackConfig, faulty, spelt_out
from harness.attacks.sweep import Sweep, sweep
from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learner import Learner
from harness.protocols.base import Context, Fault, Measurement, Protocol, ProtocolConfig, TrainingData
from harness.protocols.classification import detectable_words
from harness.protocols.subset import subset
from harness.records import Value
from harness.registry import attacks, learners, protocols
from harness.rng import Rng


class _Registered:
    """A mapping whose ``attack`` key names the registered config that validates it; errors keep their own place."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        families = [name for name in attacks if attacks[name].members()]
        return {"oneOf": [*map(self._schema_of, attacks), *map(self._schema_of_members, families)]}

    @staticmethod
    def _schema_of(name: str) -> JsonSchemaValue:
        schema = attacks[name].Config.model_json_schema()
        schema["properties"]["attack"] = {"const": name, "description": attacks.describe(name)}
        return schema

    @classmethod
    def _schema_of_members(cls, family: str) -> JsonSchemaValue:
        """The spelling ``attack: family.member``, which leaves no name to give."""
        schema = cls._schema_of(family)
        schema["properties"]["attack"] = {"enum": [f"{family}.{member}" for member in attacks[family].members()],
                                          "description": attacks.describe(family)}
        del schema["properties"]["name"]
        schema["required"].remove("name")
        return schema

    @staticmethod
    def _validate(value: Any, _: Any) -> AttackConfig:
        if isinstance(value, AttackConfig):
            return value
        if not isinstance(value, dict):
            raise ValueError("an attack is a mapping, e.g. {attack: fgsm, eps: [0, 0.1]}")
        if not isinstance(value.get("attack"), str):
            raise faulty([(("attack",), f"name the attack, one of: {', '.join(attacks)}", value.get("attack"))])
        value = spelt_out(value)
        try:
            attack = attacks[value["attack"]]
        except HarnessError as error:
            text = f"{error.message}; {error.hint}" if error.hint else error.message
            raise faulty([(("attack",), text, value["attack"])]) from None
        except (AttributeError, TypeError):  # the registry marks what it loads, and some things cannot be marked
            attack = None
        if not (isinstance(attack, type) and issubclass(attack, Attack)):
            raise faulty([(("attack",), f"{value['attack']} is not a subclass of {Attack.__module__}.Attack", value["attack"])])
        return attack.Config.model_validate(value)


AnyAttack = Annotated[SerializeAsAny[AttackConfig], _Registered()]


@protocols.register("attack_sweep")
class AttackSweep(Protocol):
    """Accuracy under attacks over a grid of budgets, with trust checks."""

    keys = ("eps",)

    class Config(ProtocolConfig):
        """Keys of an attack sweep."""

        attacks: list[AnyAttack] = Field(min_length=1, description="the attacks; each is a row of keys of its own")
        splitting: str | None = Field(None, description="which splits of the dataset; its first if left out")
        split: Literal["train", "val", "test"] = Field("test", description="the split whose images are attacked")
        images: int | None = Field(None, ge=1, description="how many images, classes balanced; the whole split if left out")
        trust: bool = Field(True, description="whether each sweep is followed by the trust checks")

        @model_validator(mode="after")
        def _labels_differ(self) -> AttackSweep.Config:
            given = [attack.label for attack in self.attacks]
            errors = [(("attacks", place, "label"), f"label {label!r} stands twice", label)
                      for place, label in enumerate(given) if label and label in given[:place]]
            if errors:
                raise faulty(errors)
            return self

    @property
    def splitting(self) -> str:
        """The splitting asked for, or the dataset's first."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def attacks(self) -> dict[str, Attack]:
        """Label -> attack. A made-up label that is taken gets a number."""
        labelled: dict[str, Attack] = {}
        taken = {config.label for config in self.config.attacks}
        for config in self.config.attacks:
            attack = attacks[config.attack](config)
            label, number = attack.label, 1
            while label in labelled or (config.label is None and label in taken):
                number += 1
                label = f"{attack.label} ({number})"
            labelled[label] = attack
        return labelled

    def settings(self) -> Iterator[dict[str, Any]]:
        for label, attack in self.attacks().items():
            yield {"attack": label, "norm": attack.config.norm, "config": attack.config.model_dump(mode="json"),
                   "splitting": self.splitting, "split": self.config.split, "images": self.config.images,
                   "trust": self.config.trust}

    def training(self) -> TrainingData:
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        named = ("splitting",) if self.config.splitting else ("dataset",)
        splits = self.facts.splittings.get(self.splitting)
        if splits is None:
            yield Fault(named, f"no splitting {self.splitting!r}", f"there are: {', '.join(self.facts.splittings)}")
            return
        if self.splitting in self.facts.class_disjoint:
            yield Fault(named, f"in {self.splitting!r} the classes of {self.config.split} are not those trained on",
                        "an attack sweep needs a splitting whose splits share their classes")
        if self.config.split not in splits:
            yield Fault(("split",), f"no split {self.config.split!r} in {self.splitting!r}", f"there are: {', '.join(splits)}")
            return
        split = splits[self.config.split]
        if self.config.images and self.config.images > split.images:
            yield Fault(("images",), f"{self.config.images} images of {split.images}", f"at most {split.images}")
        for place, config in enumerate(self.config.attacks):
            for path, message, hint in attacks[config.attack](config).faults(self.facts.image_shape, split.classes):
                yield Fault(("attacks", place, *path), message, hint)
            for path, message, hint in _surrogate_faults(attacks[config.attack](config)):
                yield Fault(("attacks", place, "surrogate", *path), message, hint)

    def modules(self, setting: dict[str, Any]) -> list[str]:
        attack = _attack(setting["config"])
        surrogate = [] if attack.surrogate is None else [learners[attack.surrogate["kind"]].__module__]
        return [*super().modules(setting), type(attack).__module__, *surrogate]

    @classmethod
    def measure(cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context) -> Measurement:
        from harness.attacks.trust import Found, check

        images = data.split(setting["splitting"], setting["split"])
        images = images if setting["images"] is None else subset(images, setting["images"])
        attack, model = _attack(setting["config"]), learner.classifier()
        if attack.surrogate is not None:
            train = data.split(setting["splitting"], "train")
            attack.network = surrogate_network(attack.surrogate, train, context.device)
        pixels = images.tensor(context.device)
        labels = torch.from_numpy(images.labels).to(context.device)
        found = Found.of(model)
        result = sweep(model, pixels, labels, images.index, attack, context.rng, batch_size=context.batch_size,
                       progress=context.progress)
        trust = check(model, pixels, labels, images.index, attack, context.rng, result, found,
                      batch_size=context.batch_size) if setting["trust"] else []
        return Measurement(_values(result), _arrays(result, images), trust)

    def detectable(self) -> str:
        """From the number of images."""
        return detectable_words(self.config.images or self.facts.splittings[self.splitting][self.config.split].images)

    def _knowledge(self) -> str:
        """What the attacks know: white box where they climb gradients, black box where they see outputs only."""
        labels = {"white box": [], "black box": []}
        for label, attack in self.attacks().items():
            labels["white box" if attack.climbs else "black box"].append(label)
        present = {words: names for words, names in labels.items() if names}
        return ", ".join(words + (f" ({', '.join(names)})" if len(present) > 1 else "") for words, names in present.items())

    def block(self) -> dict[str, str]:
        number = f"{self.config.images}, classes balanced" if self.config.images else "all"
        trust = "after each sweep" if self.config.trust else "off"
        return {
            "split": f"{self.splitting}/{self.config.split}",
            "images": number,
            "threat model": f"{self._knowledge()}; budgets in pixel units, box [0, 1]; normalisation inside the network",
            "robust": "correct unattacked and in the worst case over losses, restarts and smaller eps",
            **{label: attack.words() for label, attack in self.attacks().items()},
            "trust checks": trust,
        }


def _attack(config: dict[str, Any]) -> Attack:
    """The attack that a setting describes."""
    kind = attacks[config["attack"]]
    return kind(kind.Config.model_validate(config))


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
            yield problem["loc"], problem["msg"], f"`harness list learners` tells what {cls.kind} takes"


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
        learner = cls(cls.Config.model_validate(keys), train.shape, train.n_classes, Rng(0).child("surrogate"))
        learner.fit(train)
        _SURROGATES.clear()
        _SURROGATES[key] = learner.to(device).classifier()
    return _SURROGATES[key]


def verdict_name(eps: float) -> str:
    """Name of the stored verdicts at one eps, e.g. ``correct/eps=0.1``."""
    return f"correct/eps={eps:.12g}"


def _values(result: Sweep) -> list[Value]:
    from harness.metrics.statistics import wilson

    values = []
    for eps, stood in zip(result.eps, result.worst, strict=True):
        low, high = wilson(int(stood.sum()), len(stood))
        values.append(Value("accuracy", float(stood.mean()), low, high, len(stood), "sample", {"eps": eps}, verdict_name(eps)))
    return values


def _arrays(result: Sweep, images: Images) -> dict[str, np.ndarray]:
    worst = {verdict_name(eps): stood.astype(np.uint8) for eps, stood in zip(result.eps, result.worst, strict=True)}
    return {
        **worst,
        "attack/correct": result.correct,
        "attack/margin": result.margin,
        "attack/norm": result.norm,
        "clean/correct": result.clean.astype(np.uint8),
        "clean/margin": result.clean_margin,
        "index": images.index,
    }
