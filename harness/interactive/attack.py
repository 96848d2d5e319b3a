"""``harness.attack``: perturbed images of a network at hand, by the attacks of suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from harness import budgets
from harness.attacks.base import TOLERANCE, Attack, Candidates, Task
from harness.attacks.config import expand_name
from harness.attacks.engine.sweep import sweep
from harness.attacks.engine.victim import Victim, judge
from harness.batching import padded
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.registry import attacks
from harness.rng import Rng
from harness.suite.explain import explain
from harness.suite.from_python import source_of

if TYPE_CHECKING:
    import pandas as pd

Budget = float | str
"""A number in pixel units, or a fraction such as ``"8/255"``."""

WHERE = "harness.attack"


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack found. Axes: eps (E), images (N).

    Attributes:
        attack: Its settings in words.
        eps: (E,) ascending.
        adversarial: float32 (E, N, C, H, W): for each image the perturbation within eps that misled
            the network, or else the one that came nearest to that.
        success: bool (E, N), whether it is misclassified. An image that the network gets wrong
            anyway counts, and is returned unchanged.
        distance: float32 (E, N), norm of the perturbation.
        clean: bool (N,), classified correctly without an attack.
    """

    attack: str
    eps: tuple[float, ...]
    adversarial: torch.Tensor
    success: torch.Tensor
    distance: torch.Tensor
    clean: torch.Tensor

    @property
    def accuracy(self) -> list[float]:
        """Robust accuracy at each eps."""
        return [float(share) for share in (~self.success).double().mean(1)]

    def frame(self) -> pd.DataFrame:
        """One row for each eps and image: eps, image, clean, success, distance."""
        import pandas as pd

        grid = np.meshgrid(self.eps, np.arange(len(self.clean)), indexing="ij")
        columns = {
            "eps": grid[0].ravel(),
            "image": grid[1].ravel(),
            "clean": np.tile(self.clean.cpu().numpy(), len(self.eps)),
            "success": self.success.cpu().numpy().ravel(),
            "distance": self.distance.cpu().numpy().ravel(),
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        clean = f"{100 * float(self.clean.double().mean()):.1f} %"
        robust = [
            f"{100 * share:.1f} % at eps {budgets.words(eps)}"
            for eps, share in zip(self.eps, self.accuracy, strict=True)
        ]
        return f"Attacked {len(self.clean)} images: {clean} correct, {', '.join(robust)}"


def attack(
    model: nn.Module,
    images: torch.Tensor | np.ndarray,
    labels: torch.Tensor | np.ndarray | Sequence[int],
    attack: str | Mapping[str, Any] = "pgd",
    *,
    eps: Budget | Sequence[Budget] | None = None,
    norm: str | None = None,
    normalise: Mapping[str, Sequence[float]] | None = None,
    output: str | int = "logits",
    seed: int = 0,
    batch_size: int = 256,
    **keys: Any,
) -> Attacked:
    """Attack a network at hand, in this process, by the code that suites use.

    The network is attacked in eval mode, and left as it is: mode, gradients, buffers, device.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> weight = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]]))
    >>> bias = model[1].bias.data.copy_(torch.tensor([0, 0.1]))
    >>> attack(model, torch.full((3, 1, 2, 2), 0.1), [0, 0, 1], "fgsm", eps=[0.05, 0.2])
    Attacked 3 images: 66.7 % correct, 66.7 % at eps 0.05, 0.0 % at eps 0.2

    Args:
        model: Images (B, C, H, W) in [0, 1] to logits (B, classes).
        images: Floats (N, C, H, W) in [0, 1].
        labels: Integers (N,).
        attack: Name of an attack (``harness list attacks``), or its keys as in a suite.
        eps: Budgets, ascending; one needs no list.
        norm: ``linf`` (the default of most attacks), ``l2``, ...
        normalise: ``{"mean": [...], "std": [...]}`` of each channel, if the network expects images
            that are normalised by them.
        output: What the network returns, if not logits; see ``kind: network``.
        seed: Of random starts.
        batch_size: Rows per forward pass; changes no value.
        keys: Further keys of the attack, e.g. ``steps=100, restarts=5``.

    Raises:
        HarnessError: The attack has no such key, or images and labels do not fit each other or the
            network.
    """
    chosen = _configured(attack_keys(attack, eps=eps, norm=norm, **keys))
    pixels, given = _checked(images, labels)
    device = next((each.device for each in model.parameters()), pixels.device)
    with _prepared(model, normalise, output) as network:
        return _attacked(network, pixels.to(device), given.to(device), chosen, seed, batch_size)


def _attacked(
    network: nn.Module,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    chosen: Attack,
    seed: int,
    batch_size: int,
) -> Attacked:
    classes = _number_of_classes(network, pixels, labels)
    for _, message, hint in chosen.faults(_shape(pixels), classes):
        raise HarnessError(message, where=WHERE, hint=hint)
    keeping = _Keeping(chosen, pixels)
    # It is an attack to the sweep, which only calls what ``Attack`` declares.
    result = sweep(
        network,
        pixels,
        labels,
        np.arange(len(pixels)),
        keeping,  # type: ignore[arg-type]
        Rng(seed),
        batch_size=batch_size,
    )
    best = [keeping.best(eps) for eps in result.eps]
    return Attacked(
        attack=chosen.words(),
        eps=result.eps,
        adversarial=torch.stack([images for images, _ in best]),
        success=torch.from_numpy(~result.worst).to(pixels.device),
        distance=torch.stack([sizes for _, sizes in best]),
        clean=torch.from_numpy(result.clean).to(pixels.device),
    )


class _Keeping:
    """An attack that keeps, at each eps, the best of what it returned for each image."""

    def __init__(self, attack: Attack, images: torch.Tensor) -> None:
        self.attack = attack
        self.images = images
        self.kept: dict[float, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.attack, name)

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Perturb the images of a task, and keep what is better than before."""
        candidates = self.attack.perturb(victim, task)
        if task.eps not in self.kept:
            none = torch.full((len(self.images),), float("inf"), device=self.images.device)
            self.kept[task.eps] = self.images.clone(), none, torch.zeros_like(none)
        images, scores, sizes = self.kept[task.eps]
        score = _score(victim.logits(candidates.adversarial), task.labels)
        rows = torch.from_numpy(task.identity).to(score.device)
        better = score < scores[rows]
        images[rows[better]] = candidates.adversarial[better]
        scores[rows[better]] = score[better]
        found = candidates.sizes_from(task.images, self.attack.config.norm)
        sizes[rows[better]] = found[better]
        return candidates

    def best(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The best within eps of each image, (N, C, H, W), and the size of its perturbation, (N,).

        If there is none, that is the image itself, and 0.
        """
        images = self.images.clone()
        best = torch.full((len(images),), float("inf"), device=images.device)
        size = torch.zeros_like(best)
        for kept, scores, sizes in self.kept.values():
            within = sizes <= eps + TOLERANCE
            better = within & (scores < best)
            images[better] = kept[better]
            best[better] = scores[better]
            size[better] = sizes[better]
        return images, size


def _score(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The margin of what is still correct; below any margin for what is misclassified."""
    correct, margin = judge(logits, labels)
    return torch.where(correct, margin.nan_to_num(), float("-inf"))


# ------------------------------------------------------------------------------------------ input


def attack_keys(attack: str | Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """The keys of an attack as in a suite; its own come before the given ones.

    >>> attack_keys("pgd", eps=0.1, norm=None)
    {'eps': 0.1, 'attack': 'pgd'}
    """
    own = {"attack": attack} if isinstance(attack, str) else dict(attack)
    return {key: value for key, value in given.items() if value is not None} | own


def _configured(written: dict[str, Any]) -> Attack:
    keys = expand_name(source_of(written).value)
    kind = attacks[str(keys.get("attack"))]
    try:
        chosen: Attack = kind(kind.Config.model_validate(keys))
    except ValidationError as error:
        problem = explain(error, kind.Config, keys, ())[0]
        raise HarnessError(problem.message, where=WHERE, hint=problem.hint or None) from None
    if chosen.surrogate is not None:
        raise HarnessError(
            f"{chosen.kind} trains a network of its own, which needs a dataset",
            where=WHERE,
            hint="use harness.evaluate",
        )
    for key in ("target", "certify", "save"):
        if getattr(chosen.config, key):
            raise HarnessError(
                f"`{key}` is for attack sweeps of a dataset", where=WHERE, hint="use a suite"
            )
    return chosen


def _checked(
    images: torch.Tensor | np.ndarray, labels: torch.Tensor | np.ndarray | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as float32 and labels as int64, after checks.

    Raises:
        HarnessError: Not images in [0, 1], or not their labels.
    """
    pixels = torch.as_tensor(images)
    given = torch.as_tensor(labels)
    fault, hint = _fault(pixels, given)
    if fault:
        raise HarnessError(fault, where=WHERE, hint=hint)
    return pixels.detach().float(), given.long()


def _fault(pixels: torch.Tensor, labels: torch.Tensor) -> tuple[str, str]:
    """What is wrong with images or labels, and what to do; empty if nothing is."""
    shape = tuple(pixels.shape)
    if pixels.dim() != 4 or not pixels.numel() or (shape[1] not in (1, 3) and shape[3] in (1, 3)):
        hint = "images are (N, C, H, W), with N >= 1: images.permute(0, 3, 1, 2), or reshape them"
        return f"the images have the shape {shape}", hint
    if not pixels.is_floating_point():
        return f"the images are {pixels.dtype}", "give floats in [0, 1]: images / 255"
    if not pixels.isfinite().all():
        return "some pixels are not finite", "images.isfinite() finds them"
    low, high = float(pixels.amin()), float(pixels.amax())
    if low < 0 or high > 1:
        return f"the images have pixels from {low:.4g} to {high:.4g}", (
            "give images in [0, 1], such as images / 255; mean and deviation go to `normalise`"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        return f"the labels are {labels.dtype}", "give integers"
    if tuple(labels.shape) != shape[:1]:
        return f"{shape[0]} images, and labels of shape {tuple(labels.shape)}", "one label an image"
    return "", ""


def _number_of_classes(network: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> int:
    """How many logits the network gives; checks that every label is one of them.

    Raises:
        HarnessError: The network does not take the images, or gives no logits for them.
    """
    size = "x".join(map(str, pixels.shape[1:]))
    try:
        with torch.no_grad():
            logits = network(padded(pixels[:1]))
    except HarnessError:
        raise
    except Exception as error:  # whatever the code of a user raises
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise HarnessError(
            f"the network does not take images of {size}: {reason}", where=WHERE
        ) from error
    if logits.dim() != 2 or logits.shape[1] < 2:
        shape = tuple(logits[:1].shape)
        raise HarnessError(
            f"for one image the network returns the shape {shape}, not (1, classes)",
            where=WHERE,
            hint="`output` says what it returns",
        )
    classes = logits.shape[1]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise HarnessError(
            f"label {wrong}, and the network has classes 0 to {classes - 1}", where=WHERE
        )
    return int(classes)


def _shape(pixels: torch.Tensor) -> tuple[int, int, int]:
    _, channels, height, width = pixels.shape
    return channels, height, width


@contextmanager
def _prepared(
    model: nn.Module, normalise: Mapping[str, Sequence[float]] | None, output: str | int
) -> Iterator[nn.Module]:
    """The network in eval mode, from images in [0, 1] to logits."""
    from harness.networks.outputs import Prepared
    from harness.networks.sources import in_eval_mode

    normalise = normalise or {"mean": (), "std": ()}
    with _left_as_it_is(model):
        network = Prepared(
            in_eval_mode(model), output, list(normalise["mean"]), list(normalise["std"])
        )
        first = next(model.parameters(), None)
        if first is not None:
            network.mean = network.mean.to(first.device)
            network.std = network.std.to(first.device)
        network.training = False
        yield network


@contextmanager
def _left_as_it_is(model: nn.Module) -> Iterator[None]:
    """Restore modes and buffers afterwards; ``sweep`` restores gradients and parameters."""
    modes = [(part, part.training) for part in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        if model.training != modes[0][1]:
            model.train(modes[0][1])  # which the class may have overridden
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
