"""Poisoning: an attack on the support set of an episode, before a learner adapts to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.attacks.engine.poisoning import Classify, passes_gradient, poison
from harness.budgets import Budgets
from harness.data.base import Images
from harness.data.episodes import Episodes
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.learner import Learner
from harness.protocols.base import Context
from harness.records import TrustCheck
from harness.registry import Config, distinct

LOGIT_TOLERANCE = 1e-3
"""Two ways of computing one classifier differ by rounding, other classifiers by more."""

KNOWN = "the support attack sees the adaptation"
"""Name of the check that warns where the support set was attacked by transfer."""


class SupportAttack(Config):
    """Keys of an attack on the support set."""

    norm: Literal["linf", "l2", "l1"] = Field(
        "linf", description="how the perturbation of a support image is measured"
    )
    eps: Annotated[Budgets, AfterValidator(distinct)] = Field(
        description="budgets of each support image, in pixel units: a cell each"
    )
    steps: int = Field(20, ge=1, le=10_000, description="gradient steps, of 2.5 / steps of eps")


def poisoned(
    learner: Learner,
    images: Images,
    episodes: Episodes,
    number: int,
    support: torch.Tensor,
    labels: torch.Tensor,
    *,
    ways: int,
    norm: str,
    eps: float,
    steps: int,
    others: int,
    context: Context,
) -> tuple[torch.Tensor, TrustCheck]:
    """Attack the support set of one episode.

    Args:
        number: of the episode.
        support: float (S, C, H, W), with int64 labels (S,).
        norm, eps, steps: of the attack.
        others: images for each class whose loss is raised; 0: the measured queries themselves.

    Returns:
        the poisoned support set, and a check of whether the attack saw the adaptation.
    """
    rows, classes = attackers_images(images, episodes, number, others, context)
    shown = images.take(rows).tensor(context.device)
    wanted = torch.from_numpy(classes).to(context.device)
    classify, sees, means = _proxy(learner, support, labels, shown, ways)
    outcome = poison(classify, support, wanted, norm=norm, eps=eps, steps=steps)
    detail = (
        f"attacked through {means}: cross-entropy of the attacker's images {outcome.before:.2f}, "
        f"then {outcome.after:.2f}"
    )
    return outcome.images, TrustCheck(KNOWN, "PASS" if sees else "WARN", detail)


def attackers_images(
    images: Images, episodes: Episodes, number: int, others: int, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the images whose loss the attacker raises.

    Args:
        images: of the split.
        episodes: all of them.
        number: of the episode attacked.
        others: images for each class, not used in the episode; 0: the measured queries themselves.
        context: gives the randomness.

    Returns:
        rows of ``images``, and labels in the episode, of the same length.
    """
    if not others:
        return episodes.query[number], episodes.query_labels[number]
    used = np.concatenate([episodes.support[number], episodes.query[number]])
    generator = context.rng.numpy("support attack", number)
    rows = []
    for label in episodes.classes[number]:
        free = np.setdiff1d(np.flatnonzero(images.labels == label), used)
        rows.append(generator.permutation(free)[:others])
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), others)


def _proxy(
    learner: Learner, support: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, n_way: int
) -> tuple[Classify, bool, str]:
    """Choose a differentiable stand-in for the adapted classifier.

    Args:
        learner: the learner attacked.
        support: float (S, C, H, W), with int64 labels (S,).
        labels: of the support set.
        others: images that the classifier is applied to.
        n_way: number of classes.

    Returns:
        support set -> logits of ``others``; whether it equals the adaptation; and its name.

    Raises:
        ValueError: no gradient reaches the support set.
    """

    def adapted(images: torch.Tensor) -> torch.Tensor:
        return learner.adapt(images, labels, n_way)(others)

    if passes_gradient(adapted, support):
        return adapted, True, "the adaptation"
    with torch.no_grad():
        clean = learner.adapt(support, labels, n_way)
    for embed, name in (
        (learner.embed, "class means on its embedding"),
        (clean, "class means on its clean logits"),
    ):
        classify = _class_means(embed, labels, others, n_way)
        if not passes_gradient(classify, support):
            continue
        with torch.no_grad():
            is_same = torch.allclose(
                classify(support), clean(others), rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE
            )
        if is_same:
            return classify, True, f"{name}, which is how it adapts"
        return classify, False, f"{name} (transfer)"
    raise ValueError(
        f"{learner.kind}: no gradient reaches its support set, neither by adapt(), nor by embed(), "
        "nor by the classifier that adapt() gives; leave `support` out"
    )


def _class_means(
    embed: Callable[[torch.Tensor], torch.Tensor] | nn.Module,
    labels: torch.Tensor,
    others: torch.Tensor,
    n_way: int,
) -> Classify:
    """Nearest class mean on an embedding (Snell et al. 2017), as a function of the support set."""

    def classify(images: torch.Tensor) -> torch.Tensor:
        means = heads.class_means(embed(images)[None], labels[None], n_way)
        return heads.from_means(means)(embed(others)[None])[0]

    return classify
