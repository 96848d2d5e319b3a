"""Black-box searches of the trust checks: feasible, independent per sample, strong enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.attacks.base import Objective, Task
from harness.attacks.engine.class_means import from_class_means
from harness.attacks.engine.sweep import sweep
from harness.attacks.engine.victim import Victim, judge
from harness.attacks.square import search_squares
from harness.rng import Rng


def task(digits, rows, eps):
    rows = np.asarray(rows)
    return Task(
        digits.images[rows],
        digits.labels[rows],
        None,
        rows,
        eps,
        Objective("margin"),
        0,
        None,
        Rng(2),
    )


def correct(model, digits, rows, found):
    return judge(Victim(model).logits(found), digits.labels[np.asarray(rows)])[0]


@pytest.mark.parametrize("eps", [0.03, 0.2])
def test_perturbations_stay_in_the_ball_and_the_box(mlp, digits, eps):
    rows = np.arange(40)
    given = task(digits, rows, eps)
    found = {
        "square": search_squares(Victim(mlp), given, 60),
        "linf": from_class_means(digits.images, digits.labels, given, "linf"),
        "l2": from_class_means(digits.images, digits.labels, given, "l2"),
    }
    for name, images in found.items():
        size = torch.linalg.vector_norm(
            (images - given.images).flatten(1), 2 if name == "l2" else float("inf"), dim=1
        )
        assert 0 < float(size.max()) <= eps + 1e-6 and images.min() >= 0 and images.max() <= 1


def test_square_is_the_samples_own_whatever_the_company_or_batch(mlp, digits):
    whole = search_squares(Victim(mlp, 16), task(digits, np.arange(50), 0.1), 60)
    some = search_squares(Victim(mlp, 256), task(digits, [3, 11, 40], 0.1), 60)
    assert torch.equal(whole[[3, 11, 40]], some)


def test_square_comes_near_that_of_torchattacks_and_more_queries_break_more(attack, mlp, digits):
    rows = np.arange(150)
    few, many = (
        int(
            correct(
                mlp, digits, rows, search_squares(Victim(mlp), task(digits, rows, 0.1), queries)
            ).sum()
        )
        for queries in (5, 200)
    )
    theirs = (
        sweep(
            mlp,
            digits.images[:150],
            digits.labels[:150],
            rows,
            attack("torchattacks", name="Square", eps=[0.1], params={"n_queries": 200}),
            Rng(1),
        )
        .worst[0]
        .sum()
    )
    print(few, many, theirs)
    assert many < few - 10 and many <= theirs + 10


def test_transfer_breaks_far_more_than_noise(attack, mlp, digits):
    rows = np.arange(150)
    moved = correct(
        mlp,
        digits,
        rows,
        from_class_means(digits.images, digits.labels, task(digits, rows, 0.2), "linf"),
    )
    noise = sweep(
        mlp,
        digits.images[:150],
        digits.labels[:150],
        rows,
        attack("noise", eps=[0.2], draws=5),
        Rng(1),
    ).worst[0]
    assert int(moved.sum()) < noise.sum() - 30


def test_transfer_leaves_the_global_randomness_and_copes_with_one_class(digits):
    state, rows = torch.get_rng_state(), np.flatnonzero(digits.labels.numpy() == 4)[:5]
    found = from_class_means(
        digits.images[rows], digits.labels[rows], task(digits, rows, 0.1), "linf"
    )
    assert found.isfinite().all() and torch.equal(state, torch.get_rng_state())
