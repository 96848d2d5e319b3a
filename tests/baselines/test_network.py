"""A network of a user's own: built, loaded, measured as it is or fine-tuned, and in the key."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from baselines.network import Network
from harness.cells.plan import make
from harness.data.base import Images
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import RunOptions
from harness.learning.training import AS_BUILT, ELSEWHERE
from harness.report.tables import build_all
from harness.rng import Rng
from harness.suite.load import load

MODULE = """
from torch import nn

class Small(nn.Module):
    def __init__(self, width=6, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.hidden = nn.Linear(64 * width, 12)
        self.fc = nn.Linear(12, classes)

    def forward(self, x):
        maps = nn.functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 8)
        return self.fc(self.hidden(maps.flatten(1)).relu())
"""

SUITE = """
name: own
learners:
  mine: {{kind: network, module: "{module}:Small", weights: small.pt}}
protocols:
  clean: {{kind: classification, dataset: digits}}
  {more}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module beside the suite, and its class."""
    name = f"models_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def small(module: str) -> nn.Module:
    __import__(module)
    torch.manual_seed(0)
    return sys.modules[module].Small()


def learner(module: str, shape=(1, 8, 8), **keys) -> Network:
    config = Network.Config.model_validate({"module": f"{module}:Small", **keys})
    return Network(config, shape, 10, Rng(0))


def images(count: int = 40) -> Images:
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 10
    pixels = generator.integers(0, 90, (count, 1, 8, 8)) + 16 * labels[:, None, None, None]
    return Images(pixels.clip(0, 255).astype(np.uint8), labels, np.arange(count), 10)


def test_it_computes_what_the_network_computes_after_normalising(module, tmp_path):
    network = small(module)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    made = learner(module, weights=str(tmp_path / "w.pt"), normalise={"mean": [0.25], "std": [0.5]})
    x = images().tensor()
    expected = network.eval()((x - 0.25) / 0.5)
    torch.testing.assert_close(made.classifier()(x), expected)
    assert not any(part.training for part in made.classifier().modules())


def test_its_features_are_what_its_last_layer_reads(module):
    made = learner(module)
    x = images().tensor()
    torch.testing.assert_close(made.classifier().network.fc(made.embed(x)), made.classifier()(x))
    named = learner(module, features="norm")
    assert named.embed(x).shape == (40, 6)


def test_few_examples_give_a_head_on_its_features(module):
    made = learner(module)
    train = images(60)
    labels = torch.from_numpy(train.labels)
    few = labels < 3
    adapted = made.adapt(train.tensor()[few], labels[few], 3)
    direct = made.head_many(made.embed(train.tensor()[few])[None], labels[few][None], 3)
    queries = train.tensor()[:10]
    torch.testing.assert_close(adapted(queries), direct(made.embed(queries)[None])[0])


def test_its_connections_are_those_of_its_layers(module):
    bundles = learner(module).connectome()
    assert [(each.name, tuple(each.weight.shape), each.presynaptic_sign) for each in bundles] == [
        ("conv", (9, 6), False),
        ("hidden", (384, 12), True),
        ("fc", (12, 10), True),
    ]


def test_without_epochs_it_is_not_trained_and_its_state_is_empty(module):
    made = learner(module)
    before = made.classifier()(images().tensor())
    log = made.fit(images())
    assert log.images_seen == 0 and list(made.state_dict()) == ["fitted"]
    assert torch.equal(made.classifier()(images().tensor()), before)


def test_random_weights_depend_on_the_seed_alone(module):
    first, again = learner(module), learner(module)
    state = torch.get_rng_state()
    other = Network(first.config, (1, 8, 8), 10, Rng(1))
    x = images().tensor()
    assert torch.equal(first.classifier()(x), again.classifier()(x))
    assert not torch.equal(first.classifier()(x), other.classifier()(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_fine_tuning_learns_and_its_state_gives_the_same_network(module):
    tuned = learner(module, epochs=30, lr=1e-2, batch_size=8)
    train = images()
    log = tuned.fit(train)
    x = train.tensor()
    logits = tuned.classifier()(x)
    assert log.images_seen == 1200 and (logits.argmax(1).numpy() == train.labels).mean() > 0.6
    assert not any(part.training for part in tuned.classifier().modules())
    copy = learner(module, epochs=30, lr=1e-2, batch_size=8)
    copy.load_state_dict(tuned.state_dict())
    assert torch.equal(copy.classifier()(x), logits)
    again = learner(module, epochs=30, lr=1e-2, batch_size=8)
    again.fit(train)
    assert torch.equal(again.classifier()(x), logits)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "name `module`"),
        ({"module": "a:b", "file": __file__}, "name `module`"),
        ({"file": __file__, "arguments": {"a": 1}}, "leave out"),
        ({"module": "torch"}, "package.module:name"),
        ({"module": "a:b", "normalise": {"mean": [0.1, 0.2], "std": [1.0]}}, "2 means and 1"),
        ({"module": "a:b", "weights": "no-such-file.pt"}, "no such file"),
    ],
)
def test_impossible_keys_get_one_line(keys, says):
    with pytest.raises(ValidationError, match=says):
        Network.Config.model_validate(keys)


def test_a_normalisation_for_other_channels_is_refused(module):
    made = learner(module, normalise={"mean": [0.1] * 3, "std": [1.0] * 3})
    with pytest.raises(HarnessError, match="3 channels, the images 1"):
        made.classifier()


def test_images_that_do_not_fit_the_network_are_said(module):
    with pytest.raises(HarnessError, match="does not take images of 3x8x8: RuntimeError"):
        learner(module, shape=(3, 8, 8)).classifier()


# ------------------------------------------------------------------------------------- in suites


@pytest.fixture
def suite(module, tmp_path, write_suite):
    """Writes the suite beside the module and a file of weights."""
    torch.save(small(module).state_dict(), tmp_path / "small.pt")

    def write(more: str = ""):
        return write_suite(SUITE.format(module=module, more=more))

    return write


def keys(path) -> list[str]:
    return [cell.key for cell in make(load(path), content_hash=lambda _: "hash").cells]


def test_it_is_measured_without_a_training(suite):
    cells = make(load(suite()), content_hash=lambda _: "hash").cells
    assert [(cell.role, cell.training) for cell in cells] == [("measure", None)]


def test_the_content_of_its_weights_and_its_code_are_in_the_key(suite, module, tmp_path):
    path = suite()
    before = keys(path)
    (tmp_path / "small.pt").rename(tmp_path / "moved.pt")
    path.write_text(path.read_text().replace("small.pt", "moved.pt"))
    assert keys(path) == before
    weights = small(module).state_dict()
    weights["fc.bias"] += 1
    torch.save(weights, tmp_path / "moved.pt")
    other_weights = keys(path)
    assert other_weights != before
    source = tmp_path / f"{module}.py"
    source.write_text(MODULE.replace("from torch", "# A comment.\nfrom torch"))
    assert keys(path) == other_weights
    source.write_text(MODULE.replace(".relu(), 8", ".tanh(), 8"))
    assert keys(path) != other_weights


def test_the_release_of_an_installed_package_is_in_the_key(write_suite):
    text = SUITE.format(module="torchvision.models", more="").replace("Small", "resnet18")
    path = write_suite(text.replace(", weights: small.pt", ""))
    cell = make(load(path), content_hash=lambda _: "hash").cells[0]
    assert cell.identity["learner"]["releases"].keys() == {"torchvision.models"}


def test_it_is_attacked_audited_and_given_episodes(suite, tmp_path):
    path = suite("""
  robust: {kind: attack_sweep, dataset: digits, images: 20, attacks: [{attack: fgsm, eps: [0.1]}]}
  weights: {kind: biology, dataset: digits}
  few: {kind: few_shot, dataset: glyphs, episodes: 10}""")
    ran = session.run(path, RunOptions(store=str(tmp_path / "store"), workers=1))
    assert not ran.outcome.failed
    assert {record.protocol for record in ran.results.records} == {
        "clean",
        "robust",
        "weights",
        "few",
    }


def test_tables_say_where_its_weights_come_from(suite, tmp_path):
    path = suite()
    for remark in (ELSEWHERE, AS_BUILT):
        ran = session.run(path, RunOptions(store=str(tmp_path / "store"), workers=1))
        (note,) = [each for each in build_all(ran.results, [])[0].notes if remark in each]
        assert note.endswith(f"{remark}.")
        path.write_text(path.read_text().replace(", weights: small.pt", ""))
