"""Few-shot heads against scikit-learn and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestCentroid

from harness.learning import heads

NAMES = ("nearest-mean", "cosine", "ridge", "logistic")


def episodes(
    count: int, ways: int, shots: int, queries: int, width: int, seed: int = 0, shift: float = 0.0
):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(count, ways, width, generator=generator)

    def around(n: int) -> torch.Tensor:
        return (
            shift
            + centres.repeat_interleave(n, 1)
            + 0.7 * torch.randn(count, ways * n, width, generator=generator)
        )

    labels = torch.arange(ways).repeat_interleave(shots).repeat(count, 1)
    order = torch.randperm(
        ways * shots, generator=generator
    )  # support sets need not come way by way
    return around(shots)[:, order], labels[:, order], around(queries)


sizes = {
    "ways": st.integers(2, 9),
    "shots": st.integers(1, 4),
    "width": st.integers(2, 40),
    "seed": st.integers(0, 99),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")  # sklearn's, at one shot
@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_nearest_mean_decides_as_sklearns_nearest_centroid(ways, shots, width, seed):
    support, labels, queries = episodes(2, ways, shots, 5, width, seed)
    logits = heads.fit("nearest-mean", support, labels, ways)(queries)
    for e in range(2):
        reference = NearestCentroid().fit(support[e].numpy(), labels[e].numpy())
        distances = torch.cdist(
            queries[e].double(), torch.from_numpy(reference.centroids_).double()
        ).square()
        gaps = logits[e].double() - logits[e, :, :1]
        expected = (
            distances[:, :1] - distances
        )  # logits are -distance up to a scale and a term all classes share
        scale = (gaps * expected).sum() / expected.square().sum()
        assert scale > 0
        torch.testing.assert_close(gaps, scale * expected, rtol=1e-3, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_ridge_is_sklearns_ridge(ways, shots, width, seed):
    support, labels, queries = episodes(1, ways, shots, 5, width, seed)
    x = support[0].double().numpy()
    penalty = heads.RIDGE * ((x - x.mean(0)) ** 2).sum()
    reference = Ridge(alpha=penalty).fit(x, np.eye(ways)[labels[0].numpy()])
    logits = heads.fit("ridge", support, labels, ways)(queries)[0]
    np.testing.assert_allclose(
        logits.numpy() / heads.SHARPNESS, reference.predict(queries[0].numpy()), atol=2e-4
    )


@settings(max_examples=15, deadline=None)
@given(**sizes)
def test_logistic_is_sklearns_logistic_regression(ways, shots, width, seed):
    """scikit-learn does not penalise the bias, so it gets a column of ones instead.

    For two classes, it has a single weight vector.
    """

    def seen(x: torch.Tensor) -> np.ndarray:
        x = torch.nn.functional.normalize(x, dim=1).double().numpy()
        return np.concatenate([x, np.ones((len(x), 1))], 1)

    support, labels, queries = episodes(1, ways, shots, 5, width, seed)
    strength = (2 if ways == 2 else 1) / (heads.LOGISTIC * ways * shots)
    reference = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=2000)
    reference.fit(seen(support[0]), labels[0].numpy())
    expected = (
        seen(queries[0])
        @ (
            reference.coef_ if ways > 2 else np.concatenate([-reference.coef_, reference.coef_]) / 2
        ).T
    )
    logits = heads.fit("logistic", support, labels, ways)(queries)[0].numpy()
    np.testing.assert_allclose(logits - logits[:, :1], expected - expected[:, :1], atol=2e-3)
    np.testing.assert_allclose(logits.sum(1), 0, atol=1e-3)


def test_unbalanced_support_sets_are_fitted_as_they_are():
    """The mean of one image and of four; ridge against scikit-learn."""
    support, _, queries = episodes(2, 5, 1, 3, 12)
    labels = torch.tensor([[0, 1, 1, 1, 1], [0, 0, 1, 0, 0]])
    head = heads.fit("nearest-mean", support, labels, 2)
    means = torch.stack(
        [torch.stack([support[e][labels[e] == way].mean(0) for way in (0, 1)]) for e in (0, 1)]
    )
    torch.testing.assert_close(
        head(queries), heads.from_means(means)(queries), rtol=1e-4, atol=1e-4
    )
    x = support[1].double().numpy()
    reference = Ridge(alpha=heads.RIDGE * ((x - x.mean(0)) ** 2).sum()).fit(
        x, np.eye(2)[labels[1].numpy()]
    )
    found = heads.fit("ridge", support, labels, 2)(queries)[1] / heads.SHARPNESS
    np.testing.assert_allclose(found.numpy(), reference.predict(queries[1].numpy()), atol=2e-4)


def test_cosine_does_not_see_the_length_of_an_embedding():
    support, labels, queries = episodes(3, 5, 2, 4, 16)
    head = heads.fit("cosine", support, labels, 5)
    torch.testing.assert_close(
        head(queries), head(queries * torch.rand(3, 20, 1).add(0.1)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_logits_stay_moderate_whatever_the_scale_of_the_embedding(name, scale):
    support, labels, queries = episodes(8, 5, 5, 5, 64)
    logits = heads.fit(name, scale * support, labels, 5)(scale * queries)
    assert 1 < (logits.max(2).values - logits.min(2).values).mean() < 50


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("ways", "shots", "queries"), [(5, 1, 5), (5, 5, 3), (20, 1, 1), (7, 3, 2)]
)
def test_an_episode_does_not_depend_on_its_neighbours(name, ways, shots, queries):
    support, labels, x = episodes(24, ways, shots, queries, 63)
    whole = heads.fit(name, support, labels, ways)(x)
    for size in (1, 5, 16):
        parts = zip(support.split(size), labels.split(size), x.split(size), strict=True)
        assert torch.equal(torch.cat([heads.fit(name, s, y, ways)(q) for s, y, q in parts]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_the_module_is_the_first_episodes_head(name):
    support, labels, queries = episodes(3, 4, 2, 4, 12)
    head = heads.fit(name, support, labels, 4)
    torch.testing.assert_close(
        head.on(torch.nn.Flatten())(queries[0]), head(queries)[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_identical_support_images_give_finite_logits(name):
    logits = heads.fit(name, torch.ones(1, 4, 8), torch.tensor([[0, 1, 2, 3]]), 4)(
        torch.ones(1, 2, 8)
    )
    assert logits.isfinite().all()
