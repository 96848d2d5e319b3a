"""Why feedback alignment must not be attacked through its feedback weights: it then looks robust.

    python tests/benchmarks/feedback_path.py      (one thread, embedded images, about a minute)

Some frameworks replace the backward pass in order to train with feedback alignment. An attack then
receives the same false gradient. Here the classifier is an ordinary forward network, so attacks
follow its true gradient; ``FeedbackPath`` makes the mistake on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

EPS, STEPS, IMAGES = (0.05, 0.1), 20, 500


class FeedbackPath(nn.Module):
    """The values of a ReLU perceptron, with gradients that come down through feedback weights.

    Args:
        parameters: ``[weight (in, out), bias, ...]`` of the perceptron.
        feedback: (senders, units) of each hidden layer, as ``layered`` feedback alignment has them.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], feedback: Sequence[torch.Tensor]):
        super().__init__()
        self.layers, self.feedback = list(parameters), list(feedback)
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(1) @ self.layers[0] + self.layers[1]
        for i, back in enumerate(self.feedback):
            h = F.relu(x)
            sent = h @ back.T  # the gradient by h is the error times back
            x = sent + (h @ self.layers[2 * i + 2] + self.layers[2 * i + 3] - sent).detach()
        return x


def under_attack(
    network: nn.Module, path: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float
) -> float:
    """Accuracy under PGD at Linf ``eps``; gradients come from ``path``, the best iterate counts."""
    point, right = images.clone(), network(images).argmax(1) == labels
    for _ in range(STEPS):
        point = point.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(path(point), labels), point)
        point = point.detach() + 2.5 / STEPS * eps * gradient.sign()
        point = torch.minimum(torch.maximum(point, images - eps), images + eps).clamp(0, 1)
        right &= network(point).argmax(1) == labels
    return right.float().mean().item()


def main() -> None:
    """Print both numbers at each eps."""
    from harness.data import acquire
    from harness.learning.perceptron import in_turn
    from harness.registry import datasets, learners
    from harness.rng import Rng

    torch.set_num_threads(1)
    cls = datasets["mnist5k"]
    data, _ = acquire.load(cls(cls.Config(), None))
    train, test = data.split("standard", "train"), data.split("standard", "test")
    kind = learners["feedback-alignment"]
    learner = kind(kind.Config(), train.shape, train.n_classes, Rng(0).child("learner"))
    learner.fit(train)
    images, labels = test.tensor()[:IMAGES], torch.from_numpy(test.labels[:IMAGES])
    network = learner.classifier()
    path = FeedbackPath(in_turn(learner.tensors), learner.feedback())
    print(f"feedback alignment on mnist5k, {len(labels)} test images, accuracy in %, PGD-{STEPS}")
    print(f"clean {100 * (network(images).argmax(1) == labels).float().mean():.1f}")
    for eps in EPS:
        wrong, right = (
            100 * under_attack(network, way, images, labels, eps) for way in (path, network)
        )
        print(
            f"eps {eps}: through the feedback weights {wrong:.1f}, by the true gradient {right:.1f}"
        )


if __name__ == "__main__":
    main()
