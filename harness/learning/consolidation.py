"""Backpropagation that protects what earlier tasks needed: EWC, synaptic intelligence, LwF.

A ``Consolidation`` acts on the steps of one call of ``go_on``. What it must remember is in
``carried``, by name, and travels in the learner's state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from harness.lazy import F, torch
from harness.learning.going_on import EXCLUDED
from harness.registry import Config, later_key

Tensors = dict[str, "torch.Tensor"]

Consolidate = Literal["none", "ewc", "online-ewc", "si", "lwf"]

FISHER_BATCH = 256
"""Images whose squared gradients are summed at once."""


class ConsolidationConfig(Config):
    """Keys of learners that can protect earlier tasks."""

    consolidate: Consolidate = later_key(
        "none",
        description="when it goes on: elastic weight consolidation, a running one, synaptic "
        "intelligence, or learning without forgetting",
    )
    strength: float = later_key(1e3, ge=0, description="lambda of the EWC penalty, c of SI's")
    ewc_decay: float = later_key(
        1.0, ge=0, le=1, description="gamma: share of older importance that online EWC keeps"
    )
    si_damping: float = later_key(0.1, gt=0, description="xi of synaptic intelligence")
    distil_temperature: float = later_key(
        2.0, gt=0, description="T of the teacher in learning without forgetting"
    )


class Consolidation:
    """What all methods share: they protect nothing until a subclass says how.

    Args:
        config: Keys of the learner.
        carried: What earlier tasks left; changed in place.
        forward: Images and tensors to logits.
        n_classes: Of the whole stream.
    """

    def __init__(
        self,
        config: ConsolidationConfig,
        carried: Tensors,
        forward: Callable[[torch.Tensor, Tensors], torch.Tensor],
        n_classes: int,
    ) -> None:
        self.config = config
        self.carried = carried
        self.forward = forward
        self.n_classes = n_classes

    def loss(self, loss: torch.Tensor, logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The loss of a step, from that of the present task, its logits and its images."""
        return loss

    def pull(self, name: str, weight: torch.Tensor) -> torch.Tensor | float:
        """Gradient of the penalty by one of the trained tensors; the loss leaves it out."""
        return 0.0

    def moved(self, name: str, gradient: torch.Tensor, change: torch.Tensor) -> None:
        """Take note of a step: the gradient of the loss alone, and the change that it led to."""

    def settle(
        self, weights: Tensors, importance: Callable[[], Tensors], classes: torch.Tensor
    ) -> None:
        """Protect the task that has just ended.

        Args:
            weights: The trained tensors.
            importance: Computes the Fisher information of each of them.
            classes: int64, the task's classes.
        """

    def get(self, kind: str, name: str) -> torch.Tensor | None:
        """What is remembered of one tensor."""
        return self.carried.get(f"{kind}.{name}")

    def put(self, kind: str, name: str, value: torch.Tensor) -> None:
        """Remember something of one tensor."""
        self.carried[f"{kind}.{name}"] = value


class Ewc(Consolidation):
    """Elastic weight consolidation (Kirkpatrick et al. 2017), with one penalty for each task.

        loss + lambda / 2 * sum_k sum_i F_ki (w_i - w*_ki)^2

    A sum of quadratics is a quadratic, so only sum_k F_k and sum_k F_k w*_k are kept. F is the
    exact diagonal of the Fisher information: see ``perceptron_fisher``.
    """

    def pull(self, name: str, weight: torch.Tensor) -> torch.Tensor | float:
        """Lambda (sum F w - sum F w*)."""
        importance = self.get("importance", name)
        if importance is None:
            return 0.0
        return self.config.strength * (importance * weight - self.carried[f"weighted.{name}"])

    def settle(
        self, weights: Tensors, importance: Callable[[], Tensors], classes: torch.Tensor
    ) -> None:
        """Add this task's quadratic."""
        for name, fisher in importance().items():
            weighted = fisher * weights[name]
            before = self.get("importance", name)
            if before is not None:
                fisher = fisher + before
                weighted = weighted + self.carried[f"weighted.{name}"]
            self.put("importance", name, fisher)
            self.put("weighted", name, weighted)


class OnlineEwc(Consolidation):
    """Online EWC (Schwarz et al. 2018): one quadratic around the latest weights.

    F <- gamma F + F_t,  w* = w
    """

    def pull(self, name: str, weight: torch.Tensor) -> torch.Tensor | float:
        """Lambda F (w - w*)."""
        importance = self.get("importance", name)
        if importance is None:
            return 0.0
        return self.config.strength * importance * (weight - self.carried[f"anchor.{name}"])

    def settle(
        self, weights: Tensors, importance: Callable[[], Tensors], classes: torch.Tensor
    ) -> None:
        """Fade older importance and move the anchor here."""
        for name, fisher in importance().items():
            before = self.get("importance", name)
            if before is not None:
                fisher = fisher + self.config.ewc_decay * before
            self.put("importance", name, fisher)
            self.put("anchor", name, weights[name].clone())


class SynapticIntelligence(Consolidation):
    """Synaptic intelligence (Zenke, Poole & Ganguli 2017): importance is gathered along the way.

    omega <- omega - g . delta w                         at each step; g without the penalty
    Omega <- Omega + max(omega, 0) / ((w - w*)^2 + xi)   at the end of a task; w* <- w
    loss + c sum Omega (w - w*)^2
    """

    def pull(self, name: str, weight: torch.Tensor) -> torch.Tensor | float:
        """2 c Omega (w - w*); remembers where the first task begins."""
        anchor = self.get("anchor", name)
        if anchor is None:
            self.put("anchor", name, weight.clone())
            self.put("path", name, torch.zeros_like(weight))
            self.put("importance", name, torch.zeros_like(weight))
            return 0.0
        importance = self.carried[f"importance.{name}"]
        return 2 * self.config.strength * importance * (weight - anchor)

    def moved(self, name: str, gradient: torch.Tensor, change: torch.Tensor) -> None:
        """What this step contributed to the fall of the loss."""
        self.put("path", name, self.carried[f"path.{name}"] - gradient * change)

    def settle(
        self, weights: Tensors, importance: Callable[[], Tensors], classes: torch.Tensor
    ) -> None:
        """Turn contributions into importance, and begin anew from here."""
        for name, weight in weights.items():
            anchor = self.get("anchor", name)
            if anchor is None:  # nothing was learned yet
                continue
            path = self.carried[f"path.{name}"]
            gained = path.clamp(min=0) / ((weight - anchor) ** 2 + self.config.si_damping)
            self.put("importance", name, self.carried[f"importance.{name}"] + gained)
            self.put("path", name, torch.zeros_like(path))
            self.put("anchor", name, weight.clone())


class WithoutForgetting(Consolidation):
    """Learning without forgetting (Li & Hoiem 2016), on the images of the present task.

        loss / t + (1 - 1 / t) T^2 KL(teacher || network)                 in the t-th task

    The teacher is a copy of the network from before the task; both are softened by T, over the
    classes that came before. The weights are those of van de Ven & Tolias (2018).
    """

    def loss(self, loss: torch.Tensor, logits: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add the distance to the teacher."""
        settled = int(self.carried.get("settled", 0))
        if not settled:
            return loss
        teacher = {
            name.removeprefix("teacher."): value
            for name, value in self.carried.items()
            if name.startswith("teacher.")
        }
        t = settled + 1
        temperature = self.config.distil_temperature
        is_old = self.carried["old_classes"]
        with torch.no_grad():
            target = F.log_softmax(self.forward(x, teacher)[:, is_old] / temperature, 1)
        softened = F.log_softmax(logits[:, is_old] / temperature, 1)
        distance = F.kl_div(softened, target, reduction="batchmean", log_target=True)
        return loss / t + (1 - 1 / t) * temperature**2 * distance

    def settle(
        self, weights: Tensors, importance: Callable[[], Tensors], classes: torch.Tensor
    ) -> None:
        """Let the network of this moment be the teacher."""
        for name, weight in weights.items():
            self.put("teacher", name, weight.clone())
        settled = int(self.carried.get("settled", 0)) + 1
        self.carried["settled"] = torch.tensor(settled, device=classes.device)
        is_old = self.carried.get("old_classes")
        if is_old is None:
            is_old = torch.zeros(self.n_classes, dtype=torch.bool, device=classes.device)
        self.carried["old_classes"] = is_old.index_fill(0, classes, True)


METHODS: dict[Consolidate, type[Consolidation]] = {
    "ewc": Ewc,
    "online-ewc": OnlineEwc,
    "si": SynapticIntelligence,
    "lwf": WithoutForgetting,
}


def perceptron_fisher(
    parameters: Sequence[torch.Tensor],
    x: torch.Tensor,
    among: torch.Tensor | None = None,
    *,
    inhibited: bool = False,
) -> list[torch.Tensor]:
    """The diagonal of the Fisher information of a ReLU perceptron, without sampling.

        F = mean over x of sum_c p_c (d log p_c / d w)^2

    The gradient of one image by the weights of a layer is the outer product of its input a and the
    error d behind it, so the sum of squares over images is one product, (a^2)^T (p_c d^2).

    Args:
        parameters: Weights (in, out) and biases (1, out) in turn.
        x: Flat images (N, D).
        among: bool (N, n_classes), the rivals of each image's class; None: all classes.
        inhibited: Whether each layer has a uniform inhibitory pool.

    Returns:
        F of each parameter.
    """
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for start in range(0, len(x), FISHER_BATCH):
        rows = slice(start, start + FISHER_BATCH)
        masks = None if among is None else among[rows]
        for sums, part in zip(
            total, _summed_squares(parameters, x[rows], masks, inhibited), strict=True
        ):
            sums += part / len(x)
    return total


def _summed_squares(
    parameters: Sequence[torch.Tensor],
    x: torch.Tensor,
    among: torch.Tensor | None,
    inhibited: bool,
) -> list[torch.Tensor]:
    """Sum over images and classes of p_c times the squared gradient of log p_c."""
    from harness.learning.nets import with_pool

    weights = [with_pool(w) if inhibited else w for w in parameters[::2]]
    biases = [with_pool(b) if inhibited else b for b in parameters[1::2]]
    inputs = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        inputs.append((inputs[-1] @ weight + bias).relu())
    logits = inputs[-1] @ weights[-1] + biases[-1]
    if among is not None:
        logits = logits.masked_fill(~among, EXCLUDED)
    p = torch.softmax(logits, 1)
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    for c in range(p.shape[1]):
        error = F.one_hot(torch.full((len(x),), c, device=x.device), p.shape[1]) - p
        for layer in reversed(range(len(weights))):
            reached = error - error.mean(1, keepdim=True) if inhibited else error
            weighted = p[:, c : c + 1] * reached.square()
            squares[2 * layer] += inputs[layer].square().T @ weighted
            squares[2 * layer + 1] += weighted.sum(0, keepdim=True)
            if layer:
                error = (error @ weights[layer].T) * (inputs[layer] > 0)
    return squares
