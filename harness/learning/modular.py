"""A body and a linear layer on it, as a function of a dict of tensors.

It is reached lazily by the ``cnn`` baseline.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.func import functional_call

from harness.learning.bodies import connections, freeze
from harness.learning.nets import LinearHead, he_weights

Tensors = dict[str, torch.Tensor]

WEIGHT, BIAS = "weight/output", "bias/output"
"""Names of the output layer's tensors."""


def init(body: nn.Module, width: int, n_out: int, generator: torch.Generator) -> Tensors:
    """Initial tensors.

    Args:
        body: Images to embeddings (B, width).
        width: Values of an embedding.
        n_out: Number of outputs.
        generator: Draws the weights of the output layer.

    Returns:
        Of the body, by name after a prefix for their role: ``weight/`` (matrices and filters),
        ``bias/`` and ``scale/`` (vectors), ``state/`` (not trained). Those of the output layer are
        ``WEIGHT`` (width, n_out) and ``BIAS`` (1, n_out).
    """
    tensors = {}
    for name, parameter in body.named_parameters():
        tensors[f"{_role(name, parameter)}/{name}"] = parameter.detach().clone()
    for name, buffer in body.named_buffers():
        tensors[f"state/{name}"] = buffer.clone()
    tensors[WEIGHT] = he_weights(width, n_out, fan_in=width, generator=generator)
    tensors[BIAS] = torch.zeros(1, n_out)
    return tensors


def _role(name: str, parameter: torch.Tensor) -> str:
    if not parameter.requires_grad:
        return "state"
    if parameter.ndim > 1:
        return "weight"
    return "bias" if name.endswith("bias") else "scale"


def _of_body(tensors: Tensors) -> Tensors:
    return {
        name.partition("/")[2]: value
        for name, value in tensors.items()
        if name not in (WEIGHT, BIAS)
    }


def logits(body: nn.Module, x: torch.Tensor, tensors: Tensors, *, training: bool) -> torch.Tensor:
    """Logits (B, n_out) of images x (B, C, H, W).

    Args:
        body: Only its structure is used.
        x: Images.
        tensors: As ``init`` returns them; running statistics are updated in place in training.
        training: Whether the body is in train mode.
    """
    embedded = functional_call(body.train(training), _of_body(tensors), (x,))
    return embedded @ tensors[WEIGHT] + tensors[BIAS]


def network(body: nn.Module, tensors: Tensors, *, activity: bool) -> nn.Module:
    """A frozen module from images to logits or, with ``activity``, to embeddings."""
    own = copy.deepcopy(body).to(tensors[WEIGHT].device)
    own.load_state_dict(_of_body(tensors))
    freeze(own)
    return own if activity else LinearHead(own, tensors[WEIGHT], tensors[BIAS])


def layers(body: nn.Module, tensors: Tensors) -> dict[str, tuple[torch.Tensor, bool]]:
    """Name of each layer -> weight (pre, post), and whether it is dense; the output layer last."""
    found = connections(network(body, tensors, activity=True))
    return {**found, "output": (tensors[WEIGHT], True)}
