"""Learners that train a body, on a body that is neither a Conv4 nor a perceptron."""

from __future__ import annotations

import sys

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from harness.batching import in_batches
from harness.cells import code
from harness.cells.entries import code_definitions
from harness.cells.plan import make
from harness.errors import SuiteError
from harness.learning.body import ChosenBody
from harness.learning.learner import Budget, Learner
from harness.registry import learners, without_plugins
from harness.rng import Rng
from harness.suite.load import load

MODULE = """
from torch import nn


def tiny(image_shape, width=6):
    return nn.Sequential(
        nn.Conv2d(image_shape[0], width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Dropout(0.2), nn.AvgPool2d(2), nn.Flatten(),
    )
"""

FEW_STEPS = {
    "anil": {"iterations": 2},
    "baseline": {"epochs": 1, "head_steps": 5},
    "baseline++": {"epochs": 1, "head_steps": 5},
    "cnn": {"epochs": 1, "adversarial_eps": "8/255", "adversarial_steps": 1},
    "fomaml": {"iterations": 2},
    "maml": {"iterations": 2},
    "matching-net": {"episodes": 4, "train_ways": 5},
    "meta-sgd": {"iterations": 2},
    "protonet": {"episodes": 4, "train_ways": 5},
    "relation-net": {"episodes": 4, "train_ways": 5, "width": 64},
    "reptile": {"iterations": 2},
}

SUITE = """
name: bodies
learners:
  mine: {{kind: protonet, body: "{module}:tiny", episodes: 2}}
  resnet: {{kind: protonet, body: resnet8, episodes: 2}}
  plain: {{kind: protonet, episodes: 2}}
  attacked: {{kind: cnn, body: resnet8, adversarial_eps: 8/255}}
protocols:
  few: {{kind: few_shot, dataset: glyphs, episodes: 4}}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module with a body."""
    name = f"bodies_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)
    code.forget()


def learner(kind: str, module: str, seed: int = 0) -> Learner:
    config = learners[kind].Config.model_validate({"body": f"{module}:tiny", **FEW_STEPS[kind]})
    return learners[kind](config, (1, 8, 8), 10, Rng(seed))


def test_every_learner_with_a_body_is_tested_here():
    fields = {kind: learners[kind].Config.model_fields for kind in learners}
    trained = {
        kind
        for kind, keys in fields.items()
        if "body" in keys and isinstance(keys["body"].default, ChosenBody)
    }
    assert trained == set(FEW_STEPS)


@pytest.mark.parametrize("kind", FEW_STEPS)
def test_any_body_is_trained_adapted_and_stored(kind, module, digits):
    train = digits[0].take(range(200))
    images = digits[1].take(range(40)).tensor()
    random_state = torch.get_rng_state()
    one, same, other = (learner(kind, module, seed) for seed in (0, 0, 1))
    for each in (one, same):
        each.fit(train, budget=Budget(300))
    state = {name: value.contiguous() for name, value in one.state_dict().items()}
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in state.items())
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))

    classifier = one.classifier()
    logits = in_batches(classifier, images, batch_size=40)
    assert logits.shape == (40, 10) and torch.equal(other.classifier()(images[:16]), logits[:16])
    assert torch.equal(in_batches(classifier, images, batch_size=16), logits)
    assert not any(part.training for part in classifier.modules())
    x = images[:16].clone().requires_grad_()
    assert torch.autograd.grad(classifier(x).square().sum(), x)[0].flatten(1).any(1).all()

    labels = torch.arange(5).repeat(2)
    with torch.no_grad():
        alone = one.adapt(images[:10], labels, 5)(images[10:20])
        together = one.adapt_many(images[None, :10], labels[None], 5)(images[None, 10:20])
    torch.testing.assert_close(together[0], alone, rtol=1e-3, atol=1e-3)
    assert one.embed(images).shape == (40, 96)
    assert all(bundle.weight.ndim == 2 for bundle in one.connectome()) and one.connectome()
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(
    ("kind", "keys", "says"),
    [
        ("protonet", {"body": "resnet12", "width": 32}, "`width` beside `body`"),
        ("cnn", {"body": "resnet20", "filters": 8}, "`filters` and `units` beside `body`"),
        ("cnn", {"body": "resnet20", "non_negative": True}, "need a plain lenet or conv4"),
        ("cnn", {"body": "resnet20", "certified_eps": 0.1}, "need a plain lenet or conv4"),
    ],
)
def test_keys_that_a_body_cannot_use_are_refused(kind, keys, says):
    with pytest.raises(ValidationError, match=says):
        learners[kind].Config.model_validate(keys)


def test_the_older_key_names_the_same_body_and_identities_keep_it():
    model = learners["protonet"].Config
    older, newer = model(backbone="mlp", width=8), model(body="mlp", width=8)
    assert older == newer
    assert newer.model_dump(mode="json")["backbone"] == "mlp"
    assert model.model_validate(newer.model_dump(mode="json")) == newer


# --------------------------------------------------------------------------------- in suites


def trainings(path) -> dict:
    cells = make(load(path), content_hash=lambda _: "hash").cells
    return {cell.learner: cell for cell in cells if cell.role == "train"}


def test_the_code_of_a_body_is_in_the_key_and_of_no_other(module, write_suite, tmp_path):
    path = write_suite(SUITE.format(module=module))
    before = trainings(path)
    source = tmp_path / f"{module}.py"
    source.write_text(MODULE.replace("nn.ReLU()", "nn.GELU()"))
    code.forget()
    after = trainings(path)
    assert [name for name in before if before[name].key != after[name].key] == ["mine"]


def test_the_code_of_a_registered_body_is_followed(module, write_suite):
    cells = trainings(write_suite(SUITE.format(module=module)))
    resnet, conv4 = "harness.bodies.resnet8:ResNet8", "harness.bodies.conv4:Conv4"
    followed = {name: set(code_definitions(cell.identity)) for name, cell in cells.items()}
    assert {resnet, "harness.learning.residual:basic_block"} <= followed["resnet"]
    assert {resnet, "harness.learning.modular:logits"} <= followed["attacked"]
    assert {conv4, "harness.learning.bodies:Conv4"} <= followed["plain"]
    assert conv4 not in followed["resnet"] and resnet not in followed["plain"]


def test_a_suite_of_a_stranger_does_not_import_a_body(module, write_suite):
    with without_plugins(), pytest.raises(SuiteError, match="is a plugin"):
        load(write_suite(SUITE.format(module=module)))


def test_images_too_small_for_a_body_are_said_before_anything_runs(write_suite):
    text = SUITE.replace('"{module}:tiny"', "resnet12").replace("glyphs", "digits")
    (few,) = load(write_suite(text.format(module=""))).protocols
    assert [entry.name for entry in few.learners] == ["resnet", "plain", "attacked"]
    assert "at least 16 x 16 pixels, and these are 8 x 8" in few.skipped["mine"]


def test_an_unknown_body_is_named_with_its_place(write_suite):
    path = write_suite(SUITE.format(module="a").replace("body: resnet8, e", "backbone: resnet7, e"))
    with pytest.raises(SuiteError, match=r":5:.*unknown body 'resnet7'"):
        load(path)
