"""One source of randomness, without state."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.rng import Rng, derive

purposes = st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 5)), max_size=4).map(tuple)


@given(st.integers(0, 2**40), purposes, purposes)
def test_purposes_have_streams_of_their_own(seed, one, other):
    assert (derive(seed, *one) == derive(seed, *other)) == (
        [(type(p), p) for p in one] == [(type(p), p) for p in other]
    ) or any("\x1f" in str(p) for p in (*one, *other))


def test_a_generator_comes_out_the_same_again_and_touches_no_global_state():
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy(), random.getstate()
    rng = Rng(3).child("a", 1)
    assert torch.equal(
        torch.rand(5, generator=rng.torch("x")), torch.rand(5, generator=rng.torch("x"))
    )
    assert (rng.numpy("x").random(5) == rng.numpy("x").random(5)).all()
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all() and before[2] == random.getstate()


@given(st.permutations(range(8)), st.integers(1, 7))
def test_noise_belongs_to_the_sample_whatever_the_order_and_the_batch(order, cut):
    rng = Rng(0)
    whole = rng.per_sample_uniform("start", range(8), 0, (2, 3))
    parts = [
        rng.per_sample_uniform("start", part, 0, (2, 3)) for part in (order[:cut], order[cut:])
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole[list(order)])


def test_noise_is_uniform_and_differs_between_samples_and_repeats():
    noise = Rng(1).per_sample_uniform("start", range(200), 0, (50,))
    assert (
        noise.min() >= -1
        and noise.max() < 1
        and abs(noise.mean()) < 0.02
        and abs(noise.std() - 3**-0.5) < 0.01
    )
    assert not np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], Rng(1).per_sample_uniform("start", [0], 1, (50,))[0])
