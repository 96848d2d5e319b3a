"""Adversarial images to keep: one for each image, whatever the network says of it."""

from __future__ import annotations

import numpy as np

from harness.attacks.base import Attack, Task
from harness.attacks.engine.victim import Victim, judge, restoring
from harness.lazy import nn, torch
from harness.learning.learner import Progress, silent
from harness.rng import Rng


def craft(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> torch.Tensor:
    """Attack every image at the attack's largest budget, for use against other networks.

    Images that the network gets wrong anyway are attacked too. Of several losses and restarts the
    image of smallest margin is kept.

    Args:
        model: the network that the gradients are of; left as it was.
        images: float32 (N, C, H, W) in [0, 1].
        labels: int64 (N,).
        identity: int (N,), seeds each sample's random starts.
        attack: the attack.
        rng: source of the starts.
        batch_size: rows per forward pass; changes no value.
        progress: called with the share of the images that is finished.

    Returns:
        float32 (N, C, H, W) in [0, 1], within the budget.
    """
    parts = []
    with restoring(model):
        victim = Victim.of(model, images, batch_size, attack.view, rng)
        for start in range(0, len(images), attack.block):
            rows = slice(start, start + attack.block)
            parts.append(_block(victim, attack, images[rows], labels[rows], identity[rows], rng))
            progress(min(1.0, (start + attack.block) / len(images)), attack.label)
    return torch.cat(parts)


def _block(
    victim: Victim,
    attack: Attack,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    rng: Rng,
) -> torch.Tensor:
    """The image of smallest margin that any run found, for some of the images."""
    runners_up = attack.target_order(victim, images, labels, victim.logits(images))
    best = images.clone()
    lowest = torch.full((len(images),), float("inf"), device=images.device)
    for restart in range(attack.restarts):
        for objective in attack.objectives:
            targets = runners_up[:, objective.target - 1] if objective.target else None
            task = Task(
                images=images,
                labels=labels,
                targets=targets,
                identity=identity,
                eps=attack.config.eps[-1],
                objective=objective,
                restart=restart,
                start=None,
                rng=rng,
            )
            found = attack.perturb(victim, task).adversarial
            margin = judge(victim.logits(found), labels)[1]
            better = margin < lowest
            best[better] = found[better]
            lowest[better] = margin[better]
    return best
