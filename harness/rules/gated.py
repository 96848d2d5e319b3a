"""Error-gated learning of a hidden layer: the third factor, for the rule and for its control."""

from __future__ import annotations

from dataclasses import dataclass

from harness.lazy import torch
from harness.rules import plasticity, readouts
from harness.rules.competition import Layer, compete, drive


@dataclass(frozen=True)
class Gate:
    """The read-out whose error gates learning, and the numbers of the rule.

    Attributes:
        readout: V, (H, C).
        feedback: Weights (H, C) that carry the error of the outputs to the hidden neurons.
        gain: Gain of the read-out.
        code_temperature: T of the code that the read-out reads.
        temperature: T of the competition that is gated.
        rate: eta_3.
        offset: The c of the log-step's denominator.
        scaling: Whether drives are divided by the length of the neuron's weights.
    """

    readout: torch.Tensor
    feedback: torch.Tensor
    gain: float
    code_temperature: float
    temperature: float
    rate: float
    offset: float
    scaling: bool = True


def step(layer: Layer, inputs: torch.Tensor, labels: torch.Tensor, gate: Gate, fade: float) -> None:
    """Take one step under the error of a read-out that stays as it is.

    Args:
        layer: One layer (E = 1), changed in place.
        inputs: (B, n).
        labels: int64 (B,).
        gate: The read-out and the numbers.
        fade: From 1 at the start to 0 at the end; scales the rate.
    """
    x = inputs.unsqueeze(0)
    targets = readouts.one_hot(labels, gate.readout.shape[1])
    codes = compete(layer, drive(layer, x, gate.scaling), gate.code_temperature)
    logits = readouts.logits(codes, gate.readout.unsqueeze(0), gate.gain)[0]
    error = (targets - torch.softmax(logits, dim=1)) @ gate.feedback.T
    plasticity.third_factor(
        layer,
        x,
        error.unsqueeze(0),
        gate.rate * fade,
        gate.temperature,
        gate.offset,
        gate.scaling,
    )


def centred(readout: torch.Tensor) -> torch.Tensor:
    """Feedback by the read-out's own weights V (H, C), less each neuron's mean."""
    return readout - readout.mean(1, keepdim=True)
