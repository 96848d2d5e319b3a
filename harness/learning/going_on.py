"""Learning that goes on: what learners share whose ``go_on`` adds to what they have learned."""

from __future__ import annotations

from collections.abc import Sequence

from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.connectome import READOUT
from harness.learning.fitting import TensorLearner
from harness.learning.heads import Heads, View
from harness.learning.learner import Learner, Synapses
from harness.learning.optimisers import ProximalOptimiser
from harness.registry import Config
from harness.rng import Rng

CARRIED = "carried."
"""Begins the names of the carried tensors in the state."""

EXCLUDED = -1e9
"""Logit of a class that is no rival: its share is zero, and the log of that is finite."""

UNKNOWN = -1e4
"""Logit of a class without images: below that of every other class, and precise in float32."""


class Carrying(Learner):
    """A learner that goes on learning; a subclass defines ``go_on`` and has a state.

    Attributes:
        carried: What a later call needs (optimiser moments, counters), by name; it must be part of
            the state. ``fit`` starts anew and must empty it.
    """

    goes_on = True

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.carried: dict[str, torch.Tensor] = {}

    def next_call(self) -> Rng:
        """The randomness of this call of ``go_on``; counts the calls in the state."""
        calls = int(self.carried.get("calls", 0))
        self.carried["calls"] = torch.tensor(calls + 1, device=self.device)
        return self.rng.child("part", calls)

    def carried_state(self) -> dict[str, torch.Tensor]:
        """``carried`` as part of a state."""
        return {f"{CARRIED}{name}": value for name, value in self.carried.items()}

    def load_carried(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Load ``carried`` from a state; returns the rest of it."""
        self.carried = {
            name.removeprefix(CARRIED): value.to(self.device, copy=True)
            for name, value in state.items()
            if name.startswith(CARRIED)
        }
        return {name: value for name, value in state.items() if not name.startswith(CARRIED)}


class Imprinting(Carrying):
    """A learner that reads classes from the mean codes of their images, once it has gone on.

    ``carried`` has the ``means`` (n_classes, D) of codes of length one, and the ``counts`` of the
    images that they are means of.
    """

    def imprint(self, codes: torch.Tensor, labels: torch.Tensor) -> None:
        """Add codes (N, D) of labelled images (N,) to the mean codes of their classes."""
        means = self.carried.get("means", codes.new_zeros(self.n_classes, codes.shape[1]))
        counts = self.carried.get("counts", labels.new_zeros(self.n_classes))
        means, counts = add_to_means(means, counts, heads.viewed(codes, "unit"), labels)
        self.carried |= {"means": means, "counts": counts}

    def nearest_imprint(self, body: nn.Module) -> nn.Module:
        """The classifier by the largest cosine with a mean code, on top of ``body``."""
        means, counts = self.carried["means"], self.carried["counts"]
        return heads_of_known(means, counts, "unit").on(body)

    def imprinted(self) -> Synapses:
        """The mean codes as synapses."""
        return Synapses(READOUT, self.carried["means"].T)


class GoingOn(Carrying, TensorLearner):
    """A learner with its state in ``tensors`` that goes on; a subclass defines ``go_on``."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that was learned, and what the next call of ``go_on`` needs."""
        return {**super().state_dict(), **self.carried_state()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then goes on as the one that gave it."""
        super().load_state_dict(self.load_carried(state))


def among_rivals(
    logits: torch.Tensor, labels: torch.Tensor, rivals: torch.Tensor | None
) -> torch.Tensor:
    """Logits for a loss that runs over the rivals of each image's class only.

    >>> logits = torch.tensor([[1.0, 2.0, 3.0]])
    >>> pairs = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    >>> among_rivals(logits, torch.tensor([0]), pairs).argmax(1)
    tensor([1])

    Args:
        logits: (B, n_classes).
        labels: int64 (B,).
        rivals: bool (n_classes, n_classes), true on the diagonal; None: all are rivals.
    """
    if rivals is None:
        return logits
    return logits.masked_fill(~rivals.to(logits.device)[labels], EXCLUDED)


def optimiser_state(optimiser: ProximalOptimiser, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The moments and the number of steps of an optimiser, to be carried.

    Args:
        optimiser: The optimiser.
        names: A name for each of its parameters.
    """
    state = {f"first.{name}": value for name, value in zip(names, optimiser.first, strict=True)}
    if optimiser.second is not optimiser.first:
        pairs = zip(names, optimiser.second, strict=True)
        state |= {f"second.{name}": value for name, value in pairs}
    device = optimiser.parameters[0].device
    return {**state, "steps": torch.tensor(optimiser.steps, device=device)}


def restore_optimiser(
    optimiser: ProximalOptimiser, names: Sequence[str], state: dict[str, torch.Tensor]
) -> None:
    """Go on from ``optimiser_state``; a state without it leaves the optimiser at its start."""
    if "steps" not in state:
        return
    optimiser.steps = int(state["steps"])
    has_second = optimiser.second is not optimiser.first
    for i, name in enumerate(names):
        optimiser.first[i].copy_(state[f"first.{name}"])
        if has_second:
            optimiser.second[i].copy_(state[f"second.{name}"])


def add_to_means(
    means: torch.Tensor, counts: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Running class means.

    Args:
        means: (n_classes, D).
        counts: int64 (n_classes,), points that they are means of.
        points: (N, D), new points.
        labels: int64 (N,).

    Returns:
        New means, of the dtype of ``means``, and new counts.
    """
    # Sums in float64, so that the order of the parts is lost in rounding.
    sums = means.double() * counts[:, None]
    sums = sums.index_add(0, labels, points.double())
    counts = counts + torch.bincount(labels, minlength=len(counts))
    return (sums / counts.clamp_min(1)[:, None]).to(means.dtype), counts


def heads_of_known(means: torch.Tensor, counts: torch.Tensor, view: View = "identity") -> Heads:
    """The nearest-mean head of the classes that have images; the others are never predicted.

    Args:
        means: (n_classes, D).
        counts: int64 (n_classes,).
        view: What the head reads of an embedding.
    """
    is_known = counts > 0
    if is_known.all():
        return heads.from_means(means[None], view)
    weight = means.new_zeros(1, means.shape[1], len(means))
    bias = means.new_full((1, 1, len(means)), UNKNOWN)
    if is_known.sum() == 1:  # no distance between means to scale by, and nothing to distinguish
        bias[:, :, is_known] = 0
    else:
        known = heads.from_means(means[is_known][None], view)
        weight[:, :, is_known] = known.weight
        bias[:, :, is_known] = known.bias
    return Heads(weight, bias, view)
