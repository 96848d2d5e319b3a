"""Adversarial images that a sweep keeps: which ones, and what is stored of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import numpy as np

from harness.attacks.base import Attack, Fault
from harness.attacks.config import AttackConfig
from harness.attacks.engine.keeping import Keeping
from harness.attacks.engine.sweep import Sweep, verdict_name
from harness.attacks.engine.victim import Victim
from harness.data.base import Images
from harness.lazy import nn, torch

MOST_BYTES = 2**26
"""Most bytes of the perturbed images that a sweep holds and stores; 64 MiB."""


@dataclass(frozen=True)
class Saved:
    """The first images that a sweep attacks, in the order of their split.

    Attributes:
        images: those images, with the labels of the dataset.
        keeping: the attack, which keeps what it makes of them.
    """

    images: Images
    keeping: Keeping

    @classmethod
    def of(cls, attack: Attack, attacked: Images, labelled: Images, pixels: torch.Tensor) -> Self:
        """Start to keep the first images.

        Args:
            attack: one with ``save``.
            attacked: the images that the sweep attacks.
            labelled: images with the labels of the dataset, those attacked among them.
            pixels: float32 (N, C, H, W), the attacked images.
        """
        index = attacked.index[: attack.config.save]
        rows = np.flatnonzero(np.isin(labelled.index, index))
        keeping = Keeping(attack, index, pixels[: len(index)])
        return cls(labelled.take(rows), keeping)

    def to_arrays(self, result: Sweep, network: nn.Module, batch_size: int) -> dict[str, Any]:
        """What is stored: K images, and their strongest perturbations at each eps above 0.

        Args:
            result: of the sweep.
            network: float32 (B, C, H, W) to logits of the dataset's classes.
            batch_size: rows per forward pass.

        Returns:
            ``index`` int64 (K,) in the dataset, ``label`` int64 (K,), ``clean`` (K, C, H, W); and
            at each eps ``adversarial`` float32 (K, C, H, W), ``answered`` int64 (K,), the class
            that the network answers, and ``correct`` uint8 (K,), the verdict of the sweep.
        """
        arrays = {
            "index": self.images.index,
            "label": self.images.known_labels,
            "clean": self.images.pixels,
        }
        victim = Victim(network, batch_size)
        for place, eps in enumerate(result.eps):
            if eps == 0:
                continue
            adversarial = self.keeping.strongest(result, place)
            answered = victim.logits(adversarial).argmax(1)
            arrays |= {
                verdict_name(eps, "adversarial"): adversarial.cpu().numpy(),
                verdict_name(eps, "answered"): answered.cpu().numpy(),
                verdict_name(eps): result.worst[place, : len(adversarial)].astype(np.uint8),
            }
        return arrays

    def names(self, arrays: dict[str, np.ndarray], classes: Sequence[str]) -> dict[str, str]:
        """The names of the classes in what is stored: number -> name.

        Args:
            arrays: of ``to_arrays``.
            classes: the name of each class.
        """
        numbers = [each for name, each in arrays.items() if name.startswith(("label", "answered"))]
        return {str(number): classes[number] for number in np.unique(np.concatenate(numbers))}


def save_faults(config: AttackConfig, image_shape: Sequence[int], runs: int) -> Iterator[Fault]:
    """Find numbers of images that take too much memory.

    Args:
        config: of the attack.
        image_shape: (C, H, W).
        runs: runs at one eps, for each objective and restart.
    """
    if config.save is None:
        return
    each = 4 * prod(image_shape) * len(config.eps) * runs
    if config.save * each > MOST_BYTES:
        message = f"{config.save} images at {len(config.eps)} budgets of {runs} runs take "
        message += f"{config.save * each / 2**20:.0f} MiB"
        hint = f"at most {MOST_BYTES // each} of them fit into {MOST_BYTES >> 20} MiB"
        yield ("save",), message, hint
