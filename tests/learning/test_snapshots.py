"""States that are kept during training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data.base import Images
from harness.learning.snapshots import Snapshots, by_moment, next_moment
from harness.registry import learners
from harness.rng import Rng


@given(st.integers(0, 10**8))
def test_moments_are_half_decades(seen):
    moment = next_moment(seen)
    assert moment > seen and moment in {int(10 ** (k / 2)) for k in range(4, 20)}
    assert seen < 100 or moment <= 3.2 * seen + 1


def images(n: int = 400) -> Images:
    pixels = Rng(0).numpy("pixels").integers(0, 256, (n, 1, 12, 12)).astype(np.uint8)
    return Images(pixels, np.arange(n) % 4, np.arange(n), 4)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("ech", {"hidden": 20, "epochs": 3}),
        ("mlp", {"hidden": 20, "epochs": 3}),
        ("ech-stack", {"images": 800}),
        ("prototypes", {"hidden": 20}),
    ],
)
def test_watching_changes_nothing_and_sees_the_beginning_and_change(kind, config):
    cls = learners[kind]
    quiet, watched = (
        cls(cls.Config.model_validate(config), (1, 12, 12), 4, Rng(0)) for _ in range(2)
    )
    watched.watch = Snapshots()
    quiet.fit(images())
    log = watched.fit(images())
    for name, tensor in quiet.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name])
    states = by_moment(watched.watch.taken)
    moments = list(states)
    assert (
        moments[0] == 0
        and moments == sorted(moments)
        and moments[-1] <= log.images_seen
        and len(moments) > 2
    )
    then = cls(cls.Config.model_validate(config), (1, 12, 12), 4, Rng(0))
    embedded = []
    for state in states.values():
        then.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
        embedded.append(then.embed(images(8).tensor()))
    assert all(e.isfinite().all() for e in embedded) and not torch.equal(embedded[0], embedded[-1])
