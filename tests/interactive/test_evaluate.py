"""``harness.evaluate``: a network at hand gives what its files give in a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import harness
from harness.attacks.engine.network_state import NetworkState
from harness.errors import HarnessError

MODULE = """
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        return self.out(self.norm(x).flatten(1))
"""

SUITE = """
name: evaluate
learners: {{model: {{kind: network, module: "{module}:Small", weights: weights.pt}}}}
protocols:
  robust:
    kind: attack_sweep
    dataset: digits
    images: 20
    attacks: [{{attack: fgsm, eps: [0, 8/255]}}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def model(folder):
    """A network of a module file, and its weights beside it."""
    sys.path.append(str(folder))
    (folder / "nets_to_evaluate.py").write_text(MODULE)
    import nets_to_evaluate

    torch.manual_seed(0)
    made = nets_to_evaluate.Small()
    torch.save(made.state_dict(), folder / "weights.pt")
    made.out.weight.grad = torch.ones_like(made.out.weight)
    yield made
    sys.path.remove(str(folder))


def evaluated(model, folder, **more):
    given = {"attacks": "fgsm", "eps": "8/255", "images": 20, "workers": 1, **more}
    return harness.evaluate(model, dataset="digits", store=folder / "store", **given)


@pytest.fixture(scope="module")
def run(model, folder):
    return evaluated(model, folder, progress=False)


def test_it_gives_the_records_and_the_trust_report_of_the_same_suite(run, folder):
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(module="nets_to_evaluate"))
    of_files = harness.run(suite, store=folder / "store", workers=1)
    assert len(of_files.outcome.done) == 2  # the keys differ: one has files, the other none
    for there, here in zip(of_files.results.records, run.results.records, strict=True):
        assert (there.setting, there.value, there.trust) == (here.setting, here.value, here.trust)
    there, here = harness.trust(of_files), harness.trust(run)
    assert there.drop(columns="cell").equals(here.drop(columns="cell"))
    assert str(harness.table(of_files)) == str(harness.table(run))


def test_a_store_calls_it_by_its_class_and_a_part_of_its_hash(run, folder):
    learners = {record.learner for record in harness.results(folder / "store").records}
    sha256 = run.plan.suite.learners[0].config.module.sha256
    assert f"network (module=Small {sha256[:12]})" in learners


def test_a_second_call_finds_its_results_and_shows_no_progress(run, model, folder, capfd):
    before = NetworkState.of(model)
    again = evaluated(model, folder, progress=True)
    assert len(again.outcome.found) == 2 and not again.outcome.done
    assert before.changed(model) == []
    assert capfd.readouterr().err == ""


def test_other_weights_are_measured_anew_with_a_line_of_text_a_cell(run, model, folder, capfd):
    model.out.bias.data += 1
    try:
        again = evaluated(model, folder)
    finally:
        model.out.bias.data -= 1
    assert len(again.outcome.done) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line[:5] for line in lines] == ["[1/2]", "[2/2]"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "digts"}, r"suite\['protocols'\]\['clean'\]\['dataset'\]: unknown dataset"),
        ({"attacks": "pgt", "eps": 0.1}, "unknown attack 'pgt'"),
        ({"attacks": ["fgsm"]}, "key 'eps' is missing"),
        ({"protocols": ["robustness"]}, "unknown protocol 'robustness'"),
        ({"normalise": {"mean": [0.1]}}, "key 'std' is missing"),
        ({"name": "my model"}, "learners"),
    ],
)
def test_a_faulty_argument_is_named_by_its_place(given, message):
    with pytest.raises(HarnessError, match=message):
        harness.evaluate(nn.Flatten(), **{"dataset": "digits", **given})


RESNET = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()

def resnet(classes=2):
    stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    return nn.Sequential(stem, Block(4), Block(4), *head)
"""

SCRIPT = """
model = resnet()
model.load_state_dict(torch.load("resnet.pt", weights_only=True))
run = harness.evaluate(model, dataset=dataset, attacks=autoattack, eps="8/255", store="store")
print(harness.table(run), harness.trust(run))
page = harness.board(run, folder="site")
"""


def test_five_lines_measure_a_checkpoint_under_autoattack(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__", "harness": harness}
    exec(compile(RESNET, "<cell>", "exec", dont_inherit=True), names)
    torch.manual_seed(0)
    torch.save(names["resnet"]().state_dict(), "resnet.pt")
    names["dataset"] = colours(tmp_path / "images")
    names["autoattack"] = {"attack": "autoattack", "steps": 2, "queries": 5}
    assert len(SCRIPT.strip().splitlines()) == 5
    exec(compile(SCRIPT, "<cell>", "exec", dont_inherit=True), names)
    assert "autoattack-2-5" in capsys.readouterr().out
    assert "eps 0 equals clean" in set(harness.trust(names["run"])["check"])
    parts = {*harness.load(names["run"])["setting_part"].dropna()}
    assert parts == {"apgd-ce", "apgd-t", "fab-t", "square"}
    pages = names["page"].parent.rglob("*.html")
    assert any("autoattack" in page.read_text() for page in pages)


def colours(folder: Path) -> dict:
    """Images of 32 x 32 in a folder, of two classes."""
    from PIL import Image

    folder.mkdir()
    rows = ["filename,label,split"]
    for place in range(16):
        shade = (255, 40 * (place // 2), 0) if place % 2 else (0, 40 * (place // 2), 255)
        Image.new("RGB", (32, 32), shade).save(folder / f"{place}.png")
        rows.append(f"{place}.png,{place % 2},{'train' if place < 8 else 'test'}")
    (folder / "list.csv").write_text("\n".join(rows))
    csv = str(folder / "list.csv")
    return {"kind": "image-folder", "folder": str(folder), "csv": csv, "classes": "shared"}


def test_a_network_that_does_not_fit_the_dataset_is_an_error(folder):
    with pytest.raises(HarnessError, match="does not take images of 1x8x8: RuntimeError"):
        harness.evaluate(
            nn.Conv2d(3, 2, 3), dataset="digits", store=folder / "store", workers=1, progress=False
        )


def test_protocols_are_kinds_or_entries_of_a_suite(monkeypatch):
    suites = []
    finished = SimpleNamespace(outcome=SimpleNamespace(failed={}))
    monkeypatch.setattr("harness.api.run", lambda suite, **_: suites.append(suite) or finished)
    harness.evaluate(
        nn.Flatten(),
        dataset="digits",
        attacks="autoattack",
        eps=[0.1],
        protocols={"own": {"kind": "corruption", "dataset": "mnist5k"}},
        normalise={"mean": [0.5], "std": [0.5]},
    )
    assert suites[0]["protocols"] == {
        "robust": {
            "kind": "attack_sweep",
            "dataset": "digits",
            "attacks": [{"eps": [0, 0.1], "attack": "autoattack"}],
        },
        "own": {"dataset": "mnist5k", "kind": "corruption"},
    }
    harness.evaluate({"kind": "mlp"}, dataset="digits", protocols=["biology"])
    assert suites[1]["learners"] == {"model": {"kind": "mlp"}}
    assert suites[1]["protocols"] == {"biology": {"dataset": "digits", "kind": "biology"}}
