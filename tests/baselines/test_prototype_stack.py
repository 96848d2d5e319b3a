"""The control of `ech-stack`: clusters of the patches that the rule sees, in its architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng

CONTROL, RULE = learners["prototype-stack"], learners["ech-stack"]
SMALL = {"images": 400, "patches": 64, "layers": [{"neurons": 12, "kernel": 5, "grid": 3}]}
PRIVATE = {
    "images": 400,
    "layers": [{"shared": False, "neurons": 6, "kernel": 5, "stride": 3, "grid": None}],
}


def new(cls, config: dict, shape=(1, 12, 12), seed: int = 0):
    return cls(cls.Config.model_validate(config), shape, 4, Rng(seed))


@pytest.fixture(scope="module")
def bars() -> Images:
    """A horizontal or vertical bar in one of two halves: four classes."""
    generator, labels = Rng(0).numpy("bars"), np.arange(200) % 4
    pixels = generator.integers(0, 40, (200, 1, 12, 12)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        at = generator.integers(0, 5) + 6 * (label // 2)
        (image[0, at] if label % 2 else image[0, :, at])[:] = 220
    return Images(pixels, labels, np.arange(200), 4)


@pytest.mark.parametrize("config", [SMALL, PRIVATE], ids=["shared", "private"])
def test_it_classifies(config, bars):
    one = new(CONTROL, config)
    one.fit(bars)
    right = one.classifier()(bars.tensor()).argmax(1).numpy() == bars.labels
    assert right.mean() > 0.9


def test_keys_of_the_architecture_have_the_defaults_of_the_rule():
    control, rule = CONTROL.Config().model_dump(), RULE.Config().model_dump()
    shared = control.keys() & rule.keys()
    assert control.keys() - shared == {"iterations", "pool"}
    assert {key: control[key] for key in shared} == {key: rule[key] for key in shared}


def test_code_and_readout_are_those_of_the_rule(bars):
    """With the same layers it is the same classifier."""
    rule, control = new(RULE, SMALL | {"homeostasis": 0}), new(CONTROL, SMALL)
    rule.fit(bars)
    control.load_state_dict(rule.state_dict())
    images = bars.tensor()[:20]
    assert torch.equal(control.classifier()(images), rule.classifier()(images))


def test_weights_are_clusters_of_the_patches_that_the_rule_sees(bars, monkeypatch):
    """Each is the mean direction of the patches nearest to it, which count as they are felt."""
    one, seen = new(CONTROL, SMALL | {"iterations": 60}), []

    def collected(*arguments):
        seen.append(collect(*arguments))
        return seen[-1]

    collect = one._collected
    monkeypatch.setattr(one, "_collected", collected)
    one.fit(bars)
    patches, gate = (each[0].double().numpy() for each in seen[0])
    weight = F.normalize(one.layers[0].weight[0].double(), dim=1).numpy()
    nearest = (patches @ weight.T).argmax(1)
    for k in range(12):
        total = (gate[:, None] * patches)[nearest == k].sum(0)
        np.testing.assert_allclose(weight[k], total / np.linalg.norm(total), atol=1e-5)


def test_the_first_patches_of_the_rule_are_among_them(bars):
    rule, control = new(RULE, SMALL), new(CONTROL, SMALL)
    firsts = []
    for one in (rule, control):
        sigma = one._semi_saturation(one._input(bars, 0), 0)
        shown = one._shown(0, lambda _: one._input(bars, 0), sigma, 3)  # noqa: B023
        firsts.append(shown.patches(1)[0])
    assert torch.equal(*firsts)


def test_no_prototype_is_an_empty_patch():
    pixels = np.zeros((40, 1, 12, 12), np.uint8)
    pixels[:, 0, 4, 4] = 200  # nearly every receptive field sees nothing
    one = new(CONTROL, SMALL | {"images": 80})
    one.fit(Images(pixels, np.arange(40) % 4, np.arange(40), 4))
    assert (one.layers[0].weight.norm(dim=2) > 0.5).all()


def test_the_pool_is_the_most_that_it_keeps(bars):
    one = new(CONTROL, SMALL | {"pool": 100})
    sigma = one._semi_saturation(one._input(bars, 0), 0)
    shown = one._shown(0, lambda _: one._input(bars, 0), sigma, 20)
    assert one._collected(shown, 1, lambda _: None)[0].shape[1] == 100


def test_an_episodes_clusters_do_not_depend_on_other_episodes(bars):
    one, images = new(CONTROL, SMALL), bars.tensor()
    support, labels = images[:24].view(3, 8, 1, 12, 12), torch.arange(8).remainder(4).repeat(3, 1)
    queries = images[24:54].view(3, 10, 1, 12, 12)
    together = one.adapt_many(support, labels, 4)(queries)
    for place in range(3):
        part = slice(place, place + 1)
        alone = one.adapt_many(support[part], labels[part], 4)(queries[part])
        torch.testing.assert_close(alone[0], together[place])
