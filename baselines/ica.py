"""Independent components: the classical model of receptive fields from natural images."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.lazy import nn, torch
from harness.learning.hebbian import HebbianConfig, HiddenLayer
from harness.learning.learner import Progress, TrainingLog
from harness.registry import learners

MOST_STEPS = 200


@learners.register("ica", family="sparse codes")
class Ica(HiddenLayer):
    """Independent component analysis (Bell & Sejnowski 1997), by FastICA (Hyvarinen 1999).

    The code is W (x - mean), both signs, with W the filters that a unit reads pixels with: the
    unmixing matrix after whitening. There are at most as many units as pixels. No label is used.
    """

    typical_training_s = 600.0
    mini_batches = False

    class Config(HebbianConfig):
        """Keys of ``ica``."""

        hidden: int = Field(100, ge=2, description="components; at most the number of pixels")
        epochs: int = Field(1, ge=1, description="passes that count for budgets; FastICA has none")

    config: Config

    def start(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Random filters of length about one."""
        return torch.randn(n, self.config.hidden, generator=generator) / n**0.5

    def _reset(self) -> None:
        super()._reset()
        for name, dim in (("weight", 1), ("readout", 0)):
            tensor = self.tensors[name]
            units = min(self.config.hidden, len(self.tensors["weight"]))
            self.tensors[name] = tensor.narrow(dim, 0, units).contiguous()
        self.tensors["mean"] = torch.zeros(1, len(self.tensors["weight"]), device=self.device)

    def _fit_hidden(
        self, images: torch.Tensor, total: int, log: TrainingLog, progress: Progress
    ) -> None:
        from sklearn.decomposition import FastICA

        order = torch.randperm(len(images), generator=self.rng.torch("order"))
        rows = order[:total].to(images.device)
        x = images[rows].flatten(1).cpu().double().numpy()
        seed = self.rng.child("ica").seed % 2**32
        weight = torch.zeros_like(self.tensors["weight"])
        components = min(weight.shape[1], len(x) - 1)
        ica = FastICA(
            components, whiten="unit-variance", max_iter=MOST_STEPS, tol=1e-3, random_state=seed
        )
        ica.fit(x)
        weight[:, : len(ica.components_)] = torch.from_numpy(ica.components_.T).float()
        self.tensors["weight"] = weight
        self.tensors["mean"] = torch.from_numpy(ica.mean_).float().view(1, -1).to(self.device)
        log.images_seen += len(rows)
        log.add(self)
        progress(0.8, "components")

    def code(self, weight: torch.Tensor) -> nn.Module:
        """The sources, of both signs."""
        from harness.learning.nets import FrozenFunction

        return FrozenFunction(_sources, {"weight": weight, "mean": self.tensors["mean"]})


def _sources(images: torch.Tensor, tensors: dict[str, Any]) -> torch.Tensor:
    sources: torch.Tensor = (images.flatten(1) - tensors["mean"]) @ tensors["weight"]
    return sources
