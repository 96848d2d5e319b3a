"""How ``ech`` divides a budget of images between its stages of training, and draws batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.lazy import torch
from harness.learning.learner import Budget


@dataclass(frozen=True)
class TrainingPlan:
    """How much each stage trains.

    Attributes:
        hidden_steps: Plastic steps without labels.
        gated_steps: Third-factor steps.
        batch: Images per step.
        readout_images: Images that each training of the read-out sees.
    """

    hidden_steps: int
    gated_steps: int
    batch: int
    readout_images: int


def plan_training(
    images: int, batch: int, *, epochs: int, gated_epochs: int, labelled: bool, budget: Budget
) -> TrainingPlan:
    """Plan the training that is asked for, or as much of it as the budget allows.

    The hidden layer gives up images for the labels, up to half of the budget.

    Args:
        images: Training images.
        batch: Images per step, if there are as many.
        epochs: Passes of the hidden layer over the images.
        gated_epochs: Passes with the third factor; the read-out is trained again after them.
        labelled: Whether the images have labels.
        budget: Cap on the images seen.
    """
    batch = min(batch, images)
    steps_per_epoch = images // batch
    hidden_steps = epochs * steps_per_epoch
    gated_steps = gated_epochs * steps_per_epoch if labelled else 0
    readouts = 0
    if labelled:
        readouts = 2 if gated_steps else 1
    requested = (hidden_steps + gated_steps) * batch + readouts * images
    left = budget.cap(requested)
    if left == requested:
        return TrainingPlan(hidden_steps, gated_steps, batch, images)
    batch = max(1, min(batch, left // 2 if labelled else left))
    readout_images = images
    if labelled:
        readout_images = max(1, min(images, left // (2 * readouts)))
    left -= readouts * readout_images
    gated_steps = min(gated_steps, left // 2 // batch)
    hidden_steps = max(1, left // batch - gated_steps)
    return TrainingPlan(hidden_steps, gated_steps, batch, readout_images)


def shuffled_batches(
    images: int, batch: int, steps: int, generator: Callable[[int], torch.Generator]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Draw the batch of each step.

    Every epoch is shuffled on its own, and its last batch is skipped if it is incomplete.

    Args:
        images: Training images.
        batch: Images per step.
        steps: Number of steps.
        generator: Epoch to what shuffles it.

    Yields:
        Epoch, from 1, and rows, int64 (batch,).
    """
    epoch = 0
    while steps > 0:
        epoch += 1
        order = torch.randperm(images, generator=generator(epoch))
        for rows in order[: images - images % batch].split(batch)[:steps]:
            yield epoch, rows
        steps -= images // batch
