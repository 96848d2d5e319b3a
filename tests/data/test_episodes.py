"""The sampler: valid and uniform episodes, independent of the part drawn, disjoint on request."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from harness.data.base import Images
from harness.data.episodes import PAD, Span
from harness.data.sampler import BLOCK, capacity, sample
from harness.errors import HarnessError
from harness.rng import Rng


def images_of(counts, seed=0):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return Images(
        np.zeros((len(labels), 1, 1, 1), np.uint8), labels, np.arange(len(labels)), len(counts)
    )


def assert_valid(images, episodes, ways, shots, queries):
    every = np.concatenate([episodes.support, episodes.query], 1)
    assert all(len(set(row)) == len(row) for row in every.tolist())
    assert all(len(set(row)) == ways for row in episodes.classes.tolist())
    for rows, labels, each in (
        (episodes.support, episodes.support_labels, shots),
        (episodes.query, episodes.query_labels, queries),
    ):
        assert rows.dtype == labels.dtype == np.int64 and rows.shape == labels.shape == (
            len(episodes),
            ways * each,
        )
        assert np.array_equal(images.labels[rows], np.take_along_axis(episodes.classes, labels, 1))
        assert (np.sort(labels, 1) == np.repeat(np.arange(ways), each)).all()


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
counts_lists = st.lists(st.integers(8, 14), min_size=5, max_size=9)


@settings(max_examples=40, deadline=None)
@given(shapes, counts_lists, st.integers(0, 99), st.booleans())
def test_episodes_are_valid(shape, counts, seed, grouped):
    ways, shots, queries = shape
    images = images_of(counts, seed)
    groups = np.arange(len(counts)) // 5 if grouped else None
    episodes = sample(
        images, ways=ways, shots=shots, queries=queries, episodes=20, rng=Rng(seed), groups=groups
    )
    assert_valid(images, episodes, ways, shots, queries)
    if grouped:
        assert (np.ptp(groups[episodes.classes], 1) == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.sampled_from(["replacement", "image_disjoint"]))
def test_ranges_of_ways_and_shots(seed, grouped, mode):
    """Each episode is valid in its own shape and within the ranges; disjoint ones share none."""
    images, groups = images_of([40] * 12, seed), np.arange(12) // 6 if grouped else None
    episodes = sample(
        images,
        ways="2-5",
        shots="1-4",
        queries=3,
        episodes=12,
        rng=Rng(seed),
        groups=groups,
        mode=mode,
    )
    assert episodes.support.shape == episodes.support_labels.shape == (
        12,
        5 * 4,
    ) and episodes.query.shape == (12, 5 * 3)
    seen = []
    for positions, alike in episodes.by_shape():
        ways = alike.classes.shape[1]
        assert 2 <= ways <= 5 and (alike.support >= 0).all()
        assert np.array_equal(
            images.labels[alike.support], np.take_along_axis(alike.classes, alike.support_labels, 1)
        )
        for way in range(ways):
            given = (alike.support_labels == way).sum(1)
            assert (
                given.min() >= 1
                and given.max() <= 4
                and ((alike.query_labels == way).sum(1) == 3).all()
            )
        every = np.concatenate([alike.support, alike.query], 1)
        assert all(len(set(row)) == len(row) for row in every.tolist())
        assert all(
            np.array_equal(row, padded[padded >= 0])
            for row, padded in zip(alike.support, episodes.support[positions], strict=True)
        )
        seen += positions.tolist()
    assert sorted(seen) == list(range(12))
    used = np.concatenate(
        [episodes.support[episodes.support >= 0], episodes.query[episodes.query >= 0]]
    )
    assert np.array_equal(episodes.rows(), np.unique(used))
    if mode == "image_disjoint":
        assert len(np.unique(used)) == used.size


def test_sizes_are_uniform_over_their_range():
    episodes = sample(
        images_of([9] * 6), ways="3-5", shots="1-4", queries=2, episodes=6000, rng=Rng(0)
    )
    ways = (episodes.classes >= 0).sum(1)
    assert chisquare(np.bincount(ways)[3:]).pvalue > 0.001
    shots = (episodes.support.reshape(6000, 5, 4) >= 0).sum(2)[:, :3]
    assert (
        chisquare(np.bincount(shots.ravel())[1:]).pvalue > 0.001
        and len(np.bincount(shots.ravel())) == 5
    )


@pytest.mark.parametrize("wrong", ["five", "3-2", "0-4", "4-4", "1-", "-2", "1 - 3", ""])
def test_a_range_is_two_numbers_in_order(wrong):
    with pytest.raises(ValueError):
        Span.of(wrong)
    with pytest.raises(HarnessError):
        sample(images_of([9] * 5), ways=2, shots=wrong, queries=1, episodes=1, rng=Rng(0))


def test_one_shape_is_one_part_without_padding():
    episodes = sample(images_of([9] * 5), ways=2, shots=3, queries=1, episodes=7, rng=Rng(0))
    ((positions, same),) = episodes.by_shape()
    assert np.array_equal(positions, np.arange(7))
    for name in vars(same):
        assert (
            np.array_equal(getattr(same, name), getattr(episodes, name))
            and (getattr(same, name) != PAD).all()
        )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 3 * BLOCK),
    st.integers(1, 2 * BLOCK),
    st.sampled_from(["replacement", "image_disjoint"]),
    st.sampled_from([1, "1-2"]),
)
def test_any_part_of_the_sequence_can_be_drawn_alone(first, episodes, mode, shots):
    images, asked = (
        images_of([4 * 1300] * 2),
        dict(ways=2, shots=shots, queries=2, rng=Rng(3), mode=mode),
    )
    whole = sample(images, episodes=5 * BLOCK, **asked)
    part = sample(images, first=first, episodes=episodes, **asked)
    for name in vars(whole):
        assert np.array_equal(getattr(whole, name)[first : first + episodes], getattr(part, name))


@pytest.mark.parametrize("change", [dict(rng=Rng(1)), dict(queries=2), dict(mode="image_disjoint")])
def test_what_episodes_depend_on(change):
    asked = dict(ways=3, shots=1, queries=3, episodes=5, rng=Rng(0))
    one, other = (sample(images_of([60] * 8), **(asked | more)) for more in ({}, change))
    assert not np.array_equal(one.classes, other.classes)


@pytest.mark.parametrize("mode", ["replacement", "image_disjoint"])
def test_every_image_is_as_likely_as_its_class_mates(mode):
    """chi-squared over images, in support and in query; p is of a fixed seed."""
    images = images_of([12] * 6)
    drawn = [
        sample(images, ways=2, shots=1, queries=2, episodes=12, rng=Rng(seed), mode=mode)
        for seed in range(300)
    ]
    for rows in ("support", "query"):
        counts = np.bincount(
            np.concatenate([getattr(d, rows).ravel() for d in drawn]), minlength=len(images)
        )
        assert chisquare(counts).pvalue > 0.001 and counts.min() > 0


def test_pairs_of_classes_and_their_order_are_uniform():
    episodes = sample(images_of([4] * 5), ways=2, shots=1, queries=1, episodes=20_000, rng=Rng(0))
    pairs = np.bincount(episodes.classes @ [5, 1], minlength=25).reshape(5, 5)
    assert chisquare(pairs[~np.eye(5, dtype=bool)]).pvalue > 0.001


def test_support_and_query_order_within_a_class_is_uniform():
    """The ways of picking 3 of 4 images in order, 24 of them, are equally frequent."""
    episodes = sample(images_of([4], 0), ways=1, shots=1, queries=2, episodes=24_000, rng=Rng(0))
    code = np.concatenate([episodes.support, episodes.query], 1) @ [16, 4, 1]
    counts = np.unique(code, return_counts=True)[1]
    assert len(counts) == 24 and chisquare(counts).pvalue > 0.001


def brute_force_longest(portions, ways):
    """Count up while sum(min(portions, E)) fills E episodes of ``ways`` classes."""
    longest = 0
    while np.minimum(portions, longest + 1).sum() >= ways * (longest + 1):
        longest += 1
    return longest


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=3, max_size=8), st.integers(1, 3), st.integers(0, 20))
def test_disjoint_modes_reach_their_capacity_and_no_more(counts, ways, seed):
    images, counts = images_of(counts, seed), np.array(counts)
    asked = dict(ways=ways, shots=1, queries=1)
    for mode, portions in (
        ("class_disjoint", np.ones_like(counts)),
        ("image_disjoint", counts // 2),
    ):
        most = capacity(counts, mode=mode, **asked)
        assert most == brute_force_longest(portions, ways)
        episodes = sample(images, mode=mode, episodes=most, rng=Rng(seed), **asked)
        assert_valid(images, episodes, ways, 1, 1)
        used = (
            episodes.classes
            if mode == "class_disjoint"
            else np.concatenate([episodes.support, episodes.query], 1)
        )
        assert len(np.unique(used)) == used.size
        with pytest.raises(HarnessError, match=f"at most {most}"):
            sample(images, mode=mode, episodes=most + 1, rng=Rng(seed), **asked)


def test_disjoint_within_groups():
    images, groups = images_of([8] * 10), np.repeat([0, 1, 2], [3, 3, 4])
    asked = dict(ways=3, shots=1, queries=1, groups=groups)
    assert capacity(np.full(10, 8), mode="class_disjoint", **asked) == 3
    episodes = sample(images, mode="class_disjoint", episodes=3, rng=Rng(0), **asked)
    assert (np.ptp(groups[episodes.classes], 1) == 0).all() and len(
        np.unique(groups[episodes.classes][:, 0])
    ) == 3
    assert capacity(np.full(10, 8), mode="replacement", **asked) is None


def test_groups_of_episodes_are_uniform_and_each_episode_keeps_to_its_own():
    """Groups of equal size are equally frequent; one too small for the ways is never used."""
    groups = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4, 4])
    episodes = sample(
        images_of([9] * 14), ways=3, shots=1, queries=1, episodes=4000, rng=Rng(0), groups=groups
    )
    of_way = groups[episodes.classes]
    assert (of_way == of_way[:, :1]).all()
    counts = np.bincount(of_way[:, 0], minlength=5)
    assert counts[4] == 0 and chisquare(counts[:4]).pvalue > 0.001


def test_a_large_group_is_no_more_likely_than_a_small_one():
    groups = np.repeat([0, 1], [3, 12])
    episodes = sample(
        images_of([6] * 15), ways=2, shots=1, queries=1, episodes=4000, rng=Rng(1), groups=groups
    )
    counts = np.bincount(groups[episodes.classes[:, 0]])
    assert chisquare(counts).pvalue > 0.001
    # Within the large group, every class is as likely as another.
    members = np.bincount(episodes.classes.ravel(), minlength=15)[3:]
    assert chisquare(members).pvalue > 0.001


@pytest.mark.parametrize("mode", ["class_disjoint", "image_disjoint"])
def test_disjoint_episodes_of_groups_come_in_random_order(mode):
    groups = np.repeat([0, 1, 2], 8)
    episodes = sample(
        images_of([20] * 24),
        ways=2,
        shots=1,
        queries=1,
        episodes=12,
        rng=Rng(2),
        groups=groups,
        mode=mode,
    )
    of_way = groups[episodes.classes]
    assert (of_way == of_way[:, :1]).all()
    # Ordered by group, the first four would all be of one group.
    assert len(np.unique(of_way[:4, 0])) > 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (dict(ways=9), "there are 8 classes"),
        (dict(queries=60), "61 images a class"),
        (dict(shots=0), "at least 1"),
        (dict(mode="sometimes"), "class_disjoint"),
        (dict(groups=np.array([0, 0, 0, 0, 1, 1, 1, 1]), ways=5), "largest group has 4"),
    ],
)
def test_impossible_episodes_are_refused(change, word):
    asked = dict(ways=3, shots=1, queries=3, episodes=5, rng=Rng(0)) | change
    with pytest.raises(HarnessError, match=word):
        sample(images_of([60] * 8), **asked)


def test_unlabelled_images_are_refused():
    with pytest.raises(HarnessError, match="labels"):
        sample(images_of([9] * 5).unlabelled(), ways=2, shots=1, queries=1, episodes=1, rng=Rng(0))


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()
    sample(
        images_of([9] * 5),
        ways=2,
        shots=1,
        queries=1,
        episodes=9,
        rng=Rng(0),
        mode="image_disjoint",
    )
    assert np.array_equal(before, np.random.get_state()[1])
