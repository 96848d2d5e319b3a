"""A head alone, or on a frozen body whose weights are in a file."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import save_file

from baselines.head import Head
from harness.batching import in_batches
from harness.errors import HarnessError
from harness.learning import heads
from harness.learning.frozen_body import RANDOM_BODY
from harness.networks import sources
from harness.rng import Rng


def head(shape=(1, 8, 8), **keys) -> Head:
    return Head(Head.Config.model_validate(keys), shape, 10, Rng(0))


@pytest.mark.parametrize("name", heads.VIEWS)
def test_without_a_body_it_is_the_head_on_the_images(name, digits):
    train, test = digits[0].take(range(400)), digits[1].take(range(100))
    learner = head(head=name, images=300)
    log = learner.fit(train)
    assert log.images_seen == 300 and not log.remarks
    logits = in_batches(learner.classifier(), test.tensor(), batch_size=100)
    # The logarithm of a pixel that is black is no feature: only that it runs counts there.
    at_least = 0.2 if name == "log-ridge" else 0.75
    assert (logits.argmax(1).numpy() == test.labels).mean() > at_least


@pytest.fixture
def weights(tmp_path):
    """All weights of a network of timm, its head included, in a file."""
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = sources.from_code("timm:resnet10t", {"in_chans": 1, "num_classes": 7})
    path = tmp_path / "resnet.safetensors"
    save_file(network.state_dict(), path)
    return network, path


def test_a_model_of_timm_is_read_without_its_head_and_frozen(weights, digits):
    network, path = weights
    learner = head(body="timm:resnet10t", weights=str(path), normalise={"mean": [0.5], "std": [2]})
    images = digits[0].take(range(48)).tensor()
    with torch.no_grad():
        expected = network.eval().forward_head(
            network.forward_features((images - 0.5) / 2), pre_logits=True
        )
    torch.testing.assert_close(learner.embed(images), expected, rtol=1e-4, atol=1e-4)
    before = {name: value.clone() for name, value in learner.frozen_body.state_dict().items()}
    log = learner.fit(digits[0].take(range(48)))
    after = learner.frozen_body.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not log.remarks and learner.classifier()(images).shape == (48, 10)
    assert not any(p.requires_grad for p in learner.classifier().parameters())


def test_a_body_without_weights_is_remarked(digits):
    log = head(body="conv4").fit(digits[0].take(range(48)))
    assert log.remarks == [RANDOM_BODY]


def test_weights_of_another_body_are_refused(weights):
    with pytest.raises(HarnessError, match="its weights are not those of the network"):
        head(body="timm:resnet14t", weights=str(weights[1]))
