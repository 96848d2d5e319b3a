"""Learners whose few-shot classifier is a head on a frozen embedding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol, cast

from harness.batching import in_batches
from harness.lazy import nn, torch
from harness.learning.fitting import TensorLearner
from harness.learning.heads import HeadName, fit
from harness.learning.learner import EpisodeClassifier

EMBED_BATCH = 256


class HasHead(Protocol):
    """A config with a key for the few-shot head."""

    @property
    def head(self) -> HeadName:
        """Name of the head."""
        ...


class EpisodeHead(Protocol):
    """Classifiers of E episodes on top of one embedding."""

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(E, Q, D) to logits (E, Q, n_way)."""
        ...

    def on(self, body: nn.Module) -> nn.Module:
        """The first episode's classifier on top of ``body``, as a module in eval mode."""
        ...


class FeatureLearner(TensorLearner):
    """A learner whose few-shot classifier is a head on a frozen embedding.

    A subclass defines ``body()``. It has ``head`` in its config, or overrides ``fit_head``.
    """

    @property
    def frozen_features(self) -> bool:
        """True: ``adapt`` reads images only through ``embed``."""
        return True

    @abstractmethod
    def body(self) -> nn.Module:
        """Images (B, C, H, W) to embeddings (B, D), as a frozen module in eval mode."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D)."""
        return self._eval_body()(images)

    def fit_head(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeHead:
        """The heads of E episodes, from embeddings (E, S, D) and labels (E, S)."""
        config = cast(HasHead, self.config)
        return fit(config.head, support, support_labels, n_way)

    def _eval_body(self) -> nn.Module:
        """The body in eval mode, even if a subclass forgot it: dropout must not act on features."""
        return self.body().eval()

    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """The head on the support set's embeddings, on top of the body."""
        body = self._eval_body()
        with torch.no_grad():
            support = in_batches(body, support_images, batch_size=EMBED_BATCH)
        return self.fit_head(support[None], support_labels[None], n_way).on(body)

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes: each image is embedded once, and heads are fitted together."""
        body = self._eval_body()

        def embedded(images: torch.Tensor) -> torch.Tensor:
            flat = in_batches(body, images.flatten(0, 1), batch_size=EMBED_BATCH)
            return flat.unflatten(0, images.shape[:2])

        with torch.no_grad():
            support = embedded(support_images)
        heads = self.fit_head(support, support_labels, n_way)
        return lambda queries: heads(embedded(queries))

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """The heads of E episodes, from embeddings (E, S, D)."""
        return self.fit_head(support, support_labels, n_way)
