"""The control of rules with local receptive fields: their layers, with k-means as weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from harness import registry
from harness.lazy import torch
from harness.learning.clusters import kmeans_step
from harness.rules.competition import Layer
from harness.rules.local_stack import LocalStack
from harness.rules.stack_config import LocalStackConfig

if TYPE_CHECKING:
    from harness.rules.modules.local import Shown


@registry.learners.register("prototype-stack", family="controls")
class PrototypeStack(LocalStack):
    """The layers and read-outs of `ech-stack`, whose weights are k-means of patches.

    Whatever `ech-stack` has beyond this control is due to its plasticity; what both have is due to
    the architecture. It sees the same patches, gated by their length in the same way: w_k is the
    mean direction of a cluster of them, in which each counts as strongly as it is felt (spherical
    k-means, Dhillon & Modha 2001; of patches, Coates, Lee & Ng 2011). There are no homeostatic
    thresholds.
    """

    typical_training_s = 60.0

    class Config(LocalStackConfig):
        """Keys of ``prototype-stack``; those of the architecture are those of ``ech-stack``."""

        iterations: int = Field(15, ge=1, description="passes of k-means over the patches")
        pool: int = Field(
            200_000, ge=1, description="patches that are kept for these passes, at most"
        )

    config: Config

    def _learn_layer(
        self, layer: Layer, shown: Shown, learned: Callable[[int], None] = lambda _: None
    ) -> float:
        """Collect patches over all steps, then find the clusters of each network."""
        patches, gates = self._collected(shown, len(layer.weight), learned)
        explained = 0.0
        for network, (seen, gate) in enumerate(zip(patches, gates, strict=True)):
            centres, cosine = self._clusters(seen, gate, layer.weight.shape[1])
            layer.weight[network] = centres
            explained += cosine / len(patches)
        return explained

    def _clusters(
        self, seen: torch.Tensor, gate: torch.Tensor, neurons: int
    ) -> tuple[torch.Tensor, float]:
        """Centres (K, n) of patches (P, n) that are felt as their gates (P,) say, and the fit."""
        passes = self.config.iterations
        # As likely as each is felt, so that no centre starts as an empty patch.
        drawn = torch.multinomial(
            gate.cpu() + 1e-9,
            neurons * (passes + 1),
            replacement=True,
            generator=self.rng.torch("clusters"),
        )
        centres, *spare = seen[drawn.to(seen.device)].split(neurons)
        felt = seen * gate.unsqueeze(1)
        cosine = 0.0
        for each in spare:
            centres, cosine = kmeans_step(felt, centres, each)
        return centres, cosine

    def _collected(
        self, shown: Shown, networks: int, learned: Callable[[int], None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches (networks, P, n) of all steps and their gates (networks, P)."""
        places = networks // len(shown.sigma)
        most = max(1, self.config.pool // (shown.steps * places))
        patches, gates = [], []
        for step in range(shown.steps):
            inputs, gate, _ = shown.patches(step)
            patches.append(inputs[:, :most].clone())
            gates.append(gate[:, :most].clone())
            learned(step)
        return torch.cat(patches, 1), torch.cat(gates, 1)
