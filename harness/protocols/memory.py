"""Memory: how many patterns a learner stores, and whether it extracts prototypes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from harness.data.base import Images, Loaded
from harness.fronts.learner import untrained
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics import associative
from harness.protocols.base import Context, Fault, Measurement, Protocol, ProtocolConfig
from harness.protocols.requirements import classifier_of
from harness.protocols.setting import Setting
from harness.records import Value
from harness.registry import distinct, protocols

UNITS = 10
"""Pixels of a module, of which one is active."""

FEWEST_MODULES = 4

INSTANCES = 10
"""Distorted instances of each prototype that are learned."""

SHARE = 0.3
"""Share of an instance's modules that have a wrong winner."""

CUES = 20
"""New distorted cues of each prototype."""


@dataclass(frozen=True)
class MemorySetting(Setting):
    """How many patterns are tried, and how they are learned."""

    most: int
    draws: int
    copies: int
    extracted: tuple[int, ...]


@protocols.register("memory")
class Memory(Protocol[MemorySetting]):
    """Storage capacity of random patterns, bits a synapse, and prototypes from distorted instances.

    Auto-association is not defined for a feed-forward learner. So a pattern is associated with a
    class of its own, and is recalled if a cue with a fifth of its modules wrong gets that class.
    Patterns have one active pixel in each module of ten, in images of the dataset's shape.
    """

    setting_type = MemorySetting
    keys = ("prototypes",)

    class Config(ProtocolConfig):
        """How many patterns, and how they are learned."""

        most: int = Field(256, ge=4, description="most patterns that are tried")
        draws: int = Field(2, ge=1, description="sets of patterns for each number")
        copies: int = Field(
            30,
            ge=1,
            description="times that a pattern is in the training images; learners with many small "
            "steps need more",
        )
        prototypes: Annotated[list[int], AfterValidator(distinct)] = Field(
            [10, 40], description="numbers of prototypes that are extracted"
        )

    config: Config

    def settings(self) -> Iterator[MemorySetting]:
        """Yield one setting."""
        config = self.config
        yield MemorySetting(config.most, config.draws, config.copies, tuple(config.prototypes))

    def training(self) -> None:
        """None: learners are trained on patterns alone."""
        return None

    def faults(self) -> Iterator[Fault]:
        """Yield images that are too small for patterns."""
        if math.prod(self.facts.image_shape) < FEWEST_MODULES * UNITS:
            yield Fault(
                ("dataset",),
                f"images of {math.prod(self.facts.image_shape)} pixels hold no patterns",
                f"{FEWEST_MODULES * UNITS} pixels are the least",
            )

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: MemorySetting, context: Context
    ) -> Measurement:
        """Find the capacity by bisection, then learn instances of prototypes."""
        if learner.comes_trained(learner.config):
            return Measurement([], remarks=["memory: not applicable, it is not trained here"])
        memory = _Memory(learner, setting, context)
        patterns = associative.capacity(memory.recalled, setting.most)
        values = [Value("memory_patterns", float(patterns), n=setting.draws)]
        synapses = memory.synapses(max(patterns, 2))
        if patterns > 1 and synapses:
            bits = associative.RECALLED * patterns * math.log2(patterns)
            values.append(Value("memory_bits", bits / synapses, n=synapses, unit="synapse"))
        for count in setting.extracted:
            share = float(np.mean([memory.extracted(count, i) for i in range(setting.draws)]))
            at = {"prototypes": count}
            values.append(Value("memory_prototypes", share, n=count * CUES, setting=at))
        largest = max(memory.tried, default=0)
        is_open = memory.tried.get(largest, 0.0) >= associative.RECALLED
        remarks = ["memory: the capacity is beyond the largest number tried"] if is_open else []
        return Measurement(values, remarks=remarks)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        return {
            "patterns": f"one of {UNITS} pixels active in each module, {config.copies} copies each",
            "capacity": f"most patterns of which {100 * associative.RECALLED:g} % get their own "
            f"class from cues with {100 * associative.DISTORTED:g} % of modules wrong; up to "
            f"{config.most}, {config.draws} draws",
            "bits a synapse": "of the recalled classes, over all synapses, directed",
            "prototypes": f"{INSTANCES} instances each, {100 * SHARE:g} % of modules wrong; share "
            "of new instances that get the right class; no prototype is shown",
        }


class _Memory:
    """Trains twins of a learner on patterns.

    Attributes:
        tried: Number of patterns -> share recalled.
    """

    def __init__(self, learner: Learner, setting: MemorySetting, context: Context) -> None:
        self.learner = learner
        self.setting = setting
        self.context = context
        self.modules = math.prod(learner.image_shape) // UNITS
        self.tried: dict[int, float] = {}

    def recalled(self, count: int) -> float:
        """Share of ``count`` patterns that are recalled, mean over draws."""
        draws = range(self.setting.draws)
        share = float(np.mean([self._recalled(count, draw) for draw in draws]))
        self.tried[count] = share
        self.context.progress(min(0.9, count / self.setting.most), f"{count} patterns")
        return share

    def _recalled(self, count: int, draw: int) -> float:
        generator = self.context.rng.numpy("patterns", count, draw)
        patterns = associative.random_patterns(count, self.modules, UNITS, generator)
        cues = associative.distort(patterns, UNITS, associative.DISTORTED, generator)
        seen = np.repeat(np.arange(count), self.setting.copies)
        return self._accuracy(patterns[seen], seen, cues, np.arange(count))

    def extracted(self, count: int, draw: int) -> float:
        """Share of new instances of ``count`` prototypes that get the right class."""
        generator = self.context.rng.numpy("prototypes", count, draw)
        originals = associative.random_patterns(count, self.modules, UNITS, generator)
        of_seen = np.repeat(np.arange(count), INSTANCES)
        seen = associative.distort(originals[of_seen], UNITS, SHARE, generator)
        of_cues = np.repeat(np.arange(count), CUES)
        cues = associative.distort(originals[of_cues], UNITS, SHARE, generator)
        return self._accuracy(seen, of_seen, cues, of_cues)

    def _accuracy(
        self, seen: np.ndarray, labels: np.ndarray, cues: np.ndarray, expected: np.ndarray
    ) -> float:
        classes = int(labels.max()) + 1
        twin = untrained(self.learner, classes).to(self.context.device)
        twin.fit(Images(self._pixels(seen), labels, np.arange(len(seen)), classes))
        shown = torch.from_numpy(self._pixels(cues)).to(self.context.device).float() / 255
        with torch.no_grad():
            answers = classifier_of(twin)(shown).argmax(1).cpu().numpy()
        return float((answers == expected).mean())

    def _pixels(self, patterns: np.ndarray) -> np.ndarray:
        """Patterns as images, uint8; pixels of no module stay black."""
        shape = self.learner.image_shape
        flat = np.zeros((len(patterns), math.prod(shape)), np.uint8)
        flat[:, : self.modules * UNITS] = 255 * associative.as_units(patterns, UNITS)
        return flat.reshape(-1, *shape)

    def synapses(self, classes: int) -> int:
        """Synapses of a learner with so many classes; 0 if it has none."""
        bundles = untrained(self.learner, classes).connectome()
        return sum(bundle.weight.numel() for bundle in bundles)
