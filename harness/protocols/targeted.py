"""Attacks towards a class: which images are attacked, and what counts as success."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from harness.attacks.base import Attack, Fault
from harness.attacks.config import AttackConfig, Target, class_words
from harness.data.base import Images
from harness.errors import HarnessError, did_you_mean
from harness.lazy import nn

CLASSES = 2
"""What an attack towards a class tells apart: this class, and any other."""


def aimed(
    images: Images, attack: Attack, names: Sequence[str]
) -> tuple[Callable[[nn.Module], nn.Module], Images]:
    """How an attack towards a class sees a network, and the images that it attacks.

    Images of the class are left out. The labels of the others are 0, "not the class", and the
    attack's own network, if it transfers from one, is asked for the class too.

    Args:
        images: with labels.
        attack: one with a target.
        names: the name of each class.

    Raises:
        HarnessError: there is no such class, or every image is of it.
    """
    from harness.attacks.engine.towards import Towards

    target = _index(attack.config.target, names)
    others = np.flatnonzero(images.known_labels != target)
    if not len(others):
        raise HarnessError(
            f"every image is of {class_words(attack.config.target)}, towards which it is attacked",
            hint="attack more images, or towards another class",
        )
    kept = images.take(others)
    labels = np.zeros(len(kept), np.int64)
    if attack.surrogate is not None:
        own = getattr(attack, "network")  # noqa: B009 - see ``Attack.surrogate``
        setattr(attack, "network", Towards(own, target))  # noqa: B010 - the same
    seen = partial(Towards, target=target)
    return seen, Images(kept.pixels, labels, kept.index, CLASSES)


def remark(target: Target, attacked: int, images: int) -> str:
    """What the numbers of an attack towards a class count."""
    words = class_words(target)
    return (
        f"towards {words}: accuracy is the share of images that are not classified as {words}; "
        f"{images - attacked} of {images} are of it and are left out"
    )


def target_faults(config: AttackConfig, n_classes: int) -> Iterator[Fault]:
    """Find targets that are impossible with so many classes."""
    target = config.target
    if isinstance(target, int) and target >= n_classes:
        message = f"class {target} of {n_classes} classes"
        yield ("target",), message, f"classes are numbered from 0 to {n_classes - 1}"
    if target is not None and config.certify:
        yield ("certify",), "proofs are of the right class, not of one target", "leave one out"


def _index(target: Target | None, names: Sequence[str]) -> int:
    """The number of a class, given by number or by name."""
    if isinstance(target, int):
        return target
    if target is None or target not in names:
        hint = did_you_mean(str(target), names)
        raise HarnessError(f"no class is called {target!r}", where="target", hint=hint)
    return list(names).index(target)
