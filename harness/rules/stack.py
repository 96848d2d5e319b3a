"""Stacks of competitive excitatory layers with local receptive fields, for deeper networks.

Each layer is the hidden layer of ``ech`` (this project's reconstruction; ``harness.rules.ech`` says
which parts are published), applied at every place of an image (``harness.rules.local_stack``). All
of this but the published parts named in ``ech`` is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness import registry
from harness.lazy import torch
from harness.rules import plasticity
from harness.rules.competition import Layer
from harness.rules.local_stack import LocalStack
from harness.rules.stack_config import StackConfig

if TYPE_CHECKING:
    from harness.rules.modules.local import Shown


@registry.learners.register("ech-stack", family="excitatory rules")
class EchStack(LocalStack):
    """Excitatory competitive Hebbian layers, local fields (reconstruction of arXiv 2603.03234)."""

    class Config(StackConfig):
        """Every ingredient has a switch: a rate of 0, false or null turns it off."""

    config: Config

    @property
    def scaling(self) -> bool:
        """Whether each neuron's drive is divided by the length of its weights."""
        return self.config.synaptic_scaling

    def _learn_layer(
        self, layer: Layer, shown: Shown, learned: Callable[[int], None] = lambda _: None
    ) -> float:
        """A plastic step for each batch, while competition sharpens and the rate falls to 0."""
        config = self.config
        explained = []
        for step in range(shown.steps):
            done = step / shown.steps
            inputs, gate, generator = shown.patches(step)
            temperature = config.temperature(done)
            cosine = plasticity.learn(layer, inputs, temperature, 1 - done, config, generator, gate)
            explained.append(cosine.mean())
            learned(step)
        return torch.stack(explained).mean().item()
