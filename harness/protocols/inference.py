"""Inference: does the answer to one image depend on the other images that come with it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from harness.attacks.engine.random_state import isolated_random_state
from harness.batching import ROWS
from harness.data.base import Images
from harness.data.episodes import Episodes
from harness.lazy import torch
from harness.learning.learner import EpisodeClassifier, Learner
from harness.records import TrustCheck

CHECK = "inference"
"""Name of the trust check that warns of undeclared dependence."""

EPISODES = 2
"""Episodes whose queries are classified alone and together."""

ALONE = 4
"""Images of each that are classified alone."""

ROUNDING = 1e-3
"""Share of the largest centred logit by which answers may differ through rounding.

Whole batches give the same answers to 1e-6 or so; batch statistics change them by a tenth or more.
"""

DEPENDS = "transductive: its answer to an image depends on the other images of the batch"
RANDOM = "answers at random: two passes over the same images differ"
UNTRUE_CLAIM = "declared transductive, but it classifies each query on its own"


@dataclass(frozen=True)
class Inference:
    """How a learner classifies, as far as it was tried.

    Attributes:
        remarks: For readers of the numbers; empty for an inductive learner.
        checks: A warning if a learner is transductive and does not say so.
    """

    remarks: list[str] = field(default_factory=list)
    checks: list[TrustCheck] = field(default_factory=list)


def of_classifier(model: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor) -> Inference:
    """Try a classifier on a few images, alone and together.

    Args:
        model: Images (B, C, H, W) to logits (B, n_classes).
        pixels: Images (N, C, H, W), of which the first are used.
    """
    return _tried(lambda images: model(images[0])[None], pixels[None, :ROWS], declared=False)


def of_episodes(
    learner: Learner, images: Images, episodes: Episodes, device: str | torch.device
) -> Inference:
    """Try the classifiers of the first episodes on their queries, alone and together."""
    _, first = next(episodes.take(slice(0, EPISODES)).by_shape())
    labels = torch.from_numpy(first.support_labels).to(device)
    n_way = first.classes.shape[1]

    def shown(rows: np.ndarray) -> torch.Tensor:
        return torch.stack([images.take(each).tensor(device) for each in rows])

    with torch.no_grad(), isolated_random_state(0):
        classify = _adapted(learner, shown(first.support), labels, n_way)
    return _tried(classify, shown(first.query), declared=learner.transductive)


def _adapted(
    learner: Learner, support: torch.Tensor, labels: torch.Tensor, n_way: int
) -> EpisodeClassifier:
    """What a protocol on episodes calls, from images (E, Q, C, H, W) to logits."""
    if not learner.frozen_features:
        return learner.adapt_many(support, labels, n_way)

    def embedded(images: torch.Tensor) -> torch.Tensor:
        return learner.embed(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    classify = learner.head_many(embedded(support), labels, n_way)
    return lambda images: classify(embedded(images))


def _tried(classify: EpisodeClassifier, images: torch.Tensor, *, declared: bool) -> Inference:
    """Classify images (E, Q, ...) together, again, and some of them alone."""
    with torch.no_grad(), isolated_random_state(0):
        together = _centred(classify(_full(images)))
        again = _centred(classify(_full(images)))
        tried = range(0, images.shape[1], max(1, images.shape[1] // ALONE))
        alone = [_centred(classify(_full(images[:, i : i + 1])))[:, :1] for i in tried]
    scale = float(together.abs().max().clamp_min(torch.finfo(together.dtype).tiny))
    if float((again - together).abs().max()) > ROUNDING * scale:
        return Inference([RANDOM])
    difference = float((torch.cat(alone, 1) - together[:, list(tried)]).abs().max()) / scale
    if difference <= ROUNDING:
        return Inference([UNTRUE_CLAIM] if declared else [])
    if declared:
        return Inference([DEPENDS])
    detail = (
        f"alone, an image gets logits that differ by {100 * difference:.2g} % of the largest; "
        "a learner that means to do so sets `transductive = True`"
    )
    return Inference([DEPENDS], [TrustCheck(CHECK, "WARN", detail)])


def _full(images: torch.Tensor) -> torch.Tensor:
    """Repeat the first image of each episode until there are a multiple of 16.

    Then rounding is the same however many there are (``harness.batching``).
    """
    missing = -images.shape[1] % ROWS
    padding = images[:, :1].expand(-1, missing, *images.shape[2:])
    return torch.cat([images, padding], 1)


def _centred(logits: torch.Tensor) -> torch.Tensor:
    """Logits (E, Q, n) less their mean over classes, which decides nothing."""
    exact = logits.double()
    return exact - exact.mean(-1, keepdim=True)
