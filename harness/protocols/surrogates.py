"""Networks of an attacker's own, from which adversarial images transfer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness.attacks.base import Attack
from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.lazy import nn
from harness.learning.files import files_in
from harness.protocols.base import CARVE, NO_TRAIN, Context
from harness.protocols.requirements import classifier_of
from harness.registry import learners
from harness.rng import Rng


def prepared(attack: Attack, data: Loaded, splitting: str, context: Context) -> Attack:
    """The attack, with the network that it transfers from, if any, trained."""
    if attack.surrogate is not None:
        train = data.split(splitting, "train")
        network = surrogate_network(attack.surrogate, train, context.device)
        # Only attacks with a surrogate have this attribute (see ``Attack.surrogate``).
        setattr(attack, "network", network)  # noqa: B010 - not declared by the base class
    return attack


def surrogate_faults(
    attack: Attack, splits: Collection[str]
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield faults of an attack's surrogate learner: (path, message, hint)."""
    if attack.surrogate is None:
        return
    if "train" not in splits:
        yield (), f"a surrogate is trained, and {NO_TRAIN}", CARVE
    keys = dict(attack.surrogate)
    try:
        cls = learners[str(keys.pop("kind", None))]
    except HarnessError as error:
        yield (), error.message, error.hint or ""
        return
    try:
        config = cls.Config.model_validate(keys)
        for file in files_in(config):
            hint = "use one that is trained from data"
            yield (), f"a surrogate cannot read files, and it names {file.path}", hint
    except ValidationError as error:
        hint = f"`harness list learners {cls.kind}` shows its keys"
        for problem in error.errors():
            yield problem["loc"], problem["msg"], hint


_SURROGATES: dict[str, nn.Module] = {}
"""The surrogate trained last in this process; all victims of a suite share it."""


def surrogate_network(spec: dict[str, Any], train: Images, device: str) -> nn.Module:
    """Train an attacker's own network; it depends on neither the victim nor its seed.

    Args:
        spec: kind and config of the learner.
        train: what it is trained on.
    """
    content = hashlib.sha256(np.ascontiguousarray(train.pixels).data).hexdigest()
    key = json.dumps([spec, content, device], sort_keys=True)
    if key not in _SURROGATES:
        keys = dict(spec)
        cls = learners[keys.pop("kind")]
        rng = Rng(0).child("surrogate")
        learner = cls(cls.Config.model_validate(keys), train.shape, train.n_classes, rng)
        learner.fit(train)
        _SURROGATES.clear()
        _SURROGATES[key] = classifier_of(learner.to(device))
    return _SURROGATES[key]
