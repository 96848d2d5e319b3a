"""How much work a cell is, from its identity alone: in seconds, on one core of a usual machine.

It compares cells: twice the epochs, images or width of a training take about twice as long, and an
attack costs its gradients times its budgets times its images. What the comparison is off by, the
times of finished cells tell (``harness.cells.estimate``). Nothing of it enters a key or a result.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.cells.cell import Identity
from harness.cells.matching import TYPICAL_TRAININGS
from harness.data.base import Facts
from harness.errors import HarnessError
from harness.learning.learner import Learner
from harness.registry import Registry, datasets, learners

Keys = Mapping[str, Any]

OVERHEAD = 30_000
"""What handling an image costs beside the network's own work, in multiply-adds."""
MULTIPLY_ADDS_A_SECOND = 3e9
"""Of a gradient step on one core."""
CELL_S = 0.05
"""Seconds that a cell takes however little it has to do."""
UNKNOWN_S = 3.0
"""Seconds of a cell of which nothing is known."""
UNKNOWN_IMAGES = 5000
"""Images of a split of which nothing is known."""
UNTRAINED = 0.1
"""Epochs that a training of none takes: it may still fit a read-out."""
WIDTHS = ("hidden", "width", "memories", "channels")
"""Keys of learners that say how wide they are: a number, or one for each layer."""
LOOPS = ("inference_steps", "free_steps", "steps", "adversarial_steps", "draws")
"""Keys of learners for steps that each image takes."""
RUNS = {"autoattack": 28, "strong": 10}
"""Gradient runs of attacks that are several in one: AutoAttack has APGD, nine targets of it, and
nine of FAB, which takes two gradients a step."""
STEPS = 0.75
"""Power of an attack's steps in its cost: samples that are broken early take no further ones."""
FURTHER = 0.15
"""What a further run or budget costs, as a share of the first: broken samples are left out."""
QUERY = 0.05
"""What a query costs, in gradients: it has no backward pass, and most samples need few."""
CHECKED = 100
"""Images that trust checks look at, at most, and passes that they make over them."""
CHECKS = 50
AUDITED = 1500
"""Images to which the audit of the weights of a network comes."""
FROM_SCRATCH = 5
"""What an episode costs whose support set a learner trains on, as a multiple of others."""
CONVOLUTIONAL = 20
"""How often a convolution uses each weight of a first layer as wide as itself, roughly."""
FRONT = 4_000_000
"""Multiply-adds of a fixed transformation of the image before the learner, roughly."""
PASSES = {
    "biology": 15,
    "continual": 50,
    "corruption": 0.3,
    "few_shot": 0.2,
    "low_data": 2,
    "memory": 50,
    "receptive_fields": 20,
    "rsa": 10,
}
"""Passes over its images that a protocol makes without an attack; 1 for others."""


def cost(identity: Identity) -> float:
    """Rough seconds of a cell; of one whose identity says odd things, some.

    A store may hold cells of plugins, or of strangers: no module is imported for them.
    """
    try:
        seconds = _seconds(identity)
    except (ArithmeticError, AttributeError, HarnessError, LookupError, TypeError, ValueError):
        return UNKNOWN_S
    return seconds if 0 < seconds < math.inf else UNKNOWN_S


def _seconds(identity: Identity) -> float:
    role = identity["role"]
    if role in ("train", "match"):
        return CELL_S + _training(identity) * (TYPICAL_TRAININGS if role == "match" else 1)
    return CELL_S + _measuring(identity)


# ------------------------------------------------------------------------------------- training


def _training(identity: Identity) -> float:
    """Seconds of a training: the learner's typical ones, by how its keys and data differ."""
    kind = identity["learner"]["kind"]
    keys = identity["learner"]["config"]
    facts = _facts(identity)
    images = _images(facts, identity.get("splitting"), "train")
    shape = facts.image_shape if facts else MNIST_SHAPE
    work = _seen(keys, images, identity.get("budget")) * _weight(keys, shape)
    usual = _defaults(kind)
    typical = _seen(usual, MNIST_IMAGES, None) * _weight(usual, MNIST_SHAPE)
    cls = _loaded(learners, kind)
    return (cls or Learner).typical_training_s * work / typical


MNIST_IMAGES = 60_000
MNIST_SHAPE = (1, 28, 28)
"""What ``Learner.typical_training_s`` refers to."""


def _seen(keys: Keys, images: int, budget: int | None) -> float:
    """Images that a training looks at, repeats counted."""
    if "train_ways" in keys:
        episode = keys["train_ways"] * (keys.get("train_shots", 1) + keys.get("train_queries", 1))
        rounds = keys.get("episodes") or keys.get("iterations", 1) * keys.get("meta_batch", 1)
        return float(rounds * episode * keys.get("inner_steps", 1))
    rounds = keys.get("epochs", keys.get("iterations")) or 1
    if keys.get("epochs") == 0:
        rounds = UNTRAINED
    seen = images * rounds
    seen = seen if budget is None else min(seen, budget)
    return float(seen + keys.get("readout_steps", 0) * keys.get("readout_batch", 0) / 10)


def _weight(keys: Keys, shape: tuple[int, ...]) -> float:
    """Multiply-adds for each image, in proportion."""
    inside = [width for name in WIDTHS for width in _numbers(keys.get(name))] or [100]
    sizes = [math.prod(shape), *inside]
    weights = sum(first * second for first, second in zip(sizes, sizes[1:], strict=False))
    if keys.get("layers") or keys.get("channels") or "conv" in str(keys.get("backbone")):
        weights *= CONVOLUTIONAL
    if keys.get("front"):
        weights += FRONT
    loops = math.prod(max(1, int(keys.get(name) or 1)) for name in _loops(keys))
    return OVERHEAD + weights * loops


def _loops(keys: Keys) -> list[str]:
    trained_against = bool(keys.get("adversarial_eps"))
    return [name for name in LOOPS if trained_against or not name.startswith("adversarial")]


def _numbers(value: Any) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [int(each) for each in values if isinstance(each, int | float) and each > 0]


# ------------------------------------------------------------------------------------ measuring


def _measuring(identity: Identity) -> float:
    """Seconds of a measurement: passes through the network."""
    setting = identity["setting"]
    facts = _facts(identity)
    shape = facts.image_shape if facts else MNIST_SHAPE
    images = setting.get("images") or _images(facts, setting.get("splitting"), setting.get("split"))
    images = int(str(images).removeprefix("first "))
    if identity["protocol"]["kind"] == "biology":
        images = AUDITED  # fits to weights take the time, however many images there are
    if "episodes" in setting:
        images = _of_episodes(setting)
    passes = PASSES.get(identity["protocol"]["kind"], 1) * _repeats(setting)
    if setting.get("regime") == "from_scratch":
        passes *= FROM_SCRATCH
    if identity["role"] == "trust":
        images, passes = min(images, CHECKED), CHECKS
    elif "config" in setting:
        passes *= 3 * gradients(setting["config"])  # forward, and backward twice as much
    weight = _weight(identity["learner"]["config"], shape)
    return float(images * passes * weight / MULTIPLY_ADDS_A_SECOND)


def gradients(attack: Keys) -> float:
    """Gradients that an attack takes of each image, over all its budgets.

    >>> gradients({"attack": "fgsm", "eps": [0, 0.1], "loss": ["ce"]})
    1.0
    >>> round(gradients({"attack": "autoattack", "eps": [0.1], "steps": 100, "queries": 5000}))
    410
    """
    runs = RUNS.get(attack.get("attack", ""), 1) * max(1, len(attack.get("loss", [])))
    runs *= attack.get("restarts", 1) * max(1, attack.get("targets") or 1)
    runs *= max(1, len(attack.get("through", [])))
    budgets = sum(eps > 0 for eps in attack.get("eps", [1.0]))
    once = attack.get("steps", 1) ** STEPS * attack.get("samples", 1)
    runs_and_budgets = (1 + FURTHER * (runs - 1)) * (1 + FURTHER * max(0, budgets - 1))
    return float(once * runs_and_budgets + QUERY * attack.get("queries", 0) * budgets)


def _of_episodes(setting: Keys) -> float:
    """Images of all episodes."""
    ways, shots = _middle(setting.get("ways", 5)), _middle(setting.get("shots", 1))
    return float(setting["episodes"] * ways * (shots + setting.get("queries", 1)))


def _middle(span: int | str) -> float:
    """A number, or the middle of a range such as ``"5-20"``."""
    ends = [float(end) for end in str(span).split("-")]
    return sum(ends) / len(ends)


def _repeats(setting: Keys) -> float:
    """How often the images are looked at: under each corruption, in each stream."""
    lists = ("corruptions", "severities", "kinds", "streams", "outside")
    counts = [len(setting[name]) for name in lists if isinstance(setting.get(name), list | tuple)]
    return float(math.prod(max(1, count) for count in counts))


# ----------------------------------------------------------------------------------------- data


def _images(facts: Facts | None, splitting: str | None, split: str | None) -> int:
    if facts is None:
        return UNKNOWN_IMAGES
    splits = facts.splittings.get(splitting or "") or next(iter(facts.splittings.values()))
    facts_of = splits.get(split or "") or next(iter(splits.values()))
    return max(1, facts_of.images)


def _facts(identity: Identity) -> Facts | None:
    dataset = identity["dataset"]
    return _facts_of(dataset["kind"], json.dumps(dataset["config"], sort_keys=True))


@lru_cache(maxsize=256)
def _facts_of(kind: str, config: str) -> Facts | None:
    """Facts of a dataset; None if they are in files whose place the identity does not tell."""
    try:
        cls: Any = _loaded(datasets, kind)
        return cls(cls.Config.model_validate(json.loads(config)), None).facts()
    except (AttributeError, HarnessError, OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _defaults(kind: str) -> Keys:
    """The default keys of a learner; empty if some have none."""
    try:
        return _loaded(learners, kind).Config().model_dump(mode="json")
    except (AttributeError, ValueError):
        return {}


def _loaded(registry: Registry, kind: str) -> Any:
    """The class of a kind; None if it is in a module that has not been imported."""
    module = kind.partition(":")[0]
    return registry[kind] if kind == module or module in sys.modules else None
