"""Dense associative memory: its scores, its step, and its limit of many powers."""

from __future__ import annotations

import numpy as np
import torch

from baselines.dense_associative_memory import Storing
from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng


def made(shape=(1, 3, 4), classes: int = 3, **keys):
    cls = learners["dense-associative-memory"]
    return cls(cls.Config(**keys), shape, classes, Rng(0))


def test_scores_are_the_energy_that_a_flip_of_the_class_unit_frees():
    """The paper's difference of energies, memory by memory and class by class, in numpy."""
    learner = made(memories=5, power=3, temperature=0.2)
    images = torch.rand(4, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    got = learner.classifier()(images).numpy()
    pixels = learner.tensors["pixels"].double().numpy()
    classes = learner.tensors["classes"].double().numpy()
    for i, image in enumerate(images.flatten(1).double().numpy()):
        for c in range(3):
            energy = []
            for sign in (1, -1):
                state = -np.ones(3)
                state[c] = sign
                drive = pixels @ (2 * image - 1) + classes @ state
                energy.append((np.maximum(drive / (0.2 * 12), 0) ** 3).sum())
            np.testing.assert_allclose(got[i, c], energy[0] - energy[1], rtol=1e-4, atol=1e-6)


def test_the_largest_change_of_every_memory_is_the_rate():
    learner = made(memories=6, power=2, loss_power=1, temperature=0.3, lr=0.01)
    images = torch.rand(12, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    before = torch.cat(list(learner.tensors.values()), 1).clone()
    rule = Storing(learner.tensors, learner.config, learner.energy, adapting=False)
    rule.step(images, torch.arange(12) % 3, 0.5)
    change = (torch.cat(list(learner.tensors.values()), 1) - before).abs().amax(1)
    torch.testing.assert_close(change, torch.full((6,), 0.005))


def test_a_step_descends_on_the_stated_loss():
    learner = made(memories=6, power=2, loss_power=2, temperature=0.3, lr=1e-4)
    images = torch.rand(12, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 3
    target = 2 * torch.nn.functional.one_hot(labels, 3) - 1

    def loss() -> float:
        return float((torch.tanh(learner.classifier()(images)) - target).abs().pow(4).sum())

    before = loss()
    Storing(learner.tensors, learner.config, learner.energy, adapting=False).step(
        images, labels, 0.0
    )
    assert loss() < before


def test_with_images_as_memories_and_a_large_power_it_is_the_nearest_neighbour(digits):
    train, test = digits
    stored = train.take(np.arange(400))
    learner = made(train.shape, 10, memories=400, power=40, temperature=1.0)
    v = 2 * stored.tensor().flatten(1) - 1
    learner.tensors = {
        "pixels": v / v.norm(dim=1, keepdim=True) * 8,  # of one length, so that matches compare
        "classes": (2.0 * torch.nn.functional.one_hot(torch.from_numpy(stored.labels), 10) - 1)
        * 0.01,
    }
    images = test.tensor()
    answers = learner.classifier()(images).argmax(1).numpy()
    cosine = torch.nn.functional.normalize(2 * images.flatten(1) - 1) @ v.T / v.norm(dim=1)
    nearest = stored.labels[cosine.argmax(1).numpy()]
    assert (answers == nearest).mean() > 0.9


def test_digits_are_learned_and_values_stay_within_bounds(digits):
    learner = made(digits[0].shape, 10, memories=60, power=6, loss_power=4, epochs=25)
    learner.fit(digits[0])
    images: Images = digits[1]
    answers = learner.classifier()(images.tensor()).argmax(1).numpy()
    assert (answers == images.labels).mean() > 0.85
    assert all(value.abs().max() <= 1 for value in learner.tensors.values())
