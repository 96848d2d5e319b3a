"""Networks from code, exported programs and ONNX files."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.networks import sources

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    return nn.Sequential(*layers).eval()


def same_function(made: nn.Module, network: nn.Module) -> None:
    """Equal outputs and input gradients, at another batch size than the one that was traced."""
    gradients = []
    for each in (made, network):
        images = IMAGES.clone().requires_grad_()
        each(images).square().sum().backward()
        gradients.append(images.grad)
    torch.testing.assert_close(made(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def test_a_class_a_function_and_a_network_are_built():
    assert isinstance(sources.from_code("torch.nn:Flatten", {"start_dim": 2}), nn.Flatten)
    made = sources.from_code("torchvision.models:resnet18", {"num_classes": 7})
    assert made.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("no_such_module:net", {}, "No module named 'no_such_module'"),
        ("torch.nn:NoSuchClass", {}, "NoSuchClass"),
        ("torch.nn:Linear", {"in_features": 3}, "out_features"),
        ("builtins:dict", {}, "gives a dict"),
        ("torch", {}, "cannot build"),
    ],
)
def test_code_that_builds_no_network_gets_one_line(name, arguments, says):
    with pytest.raises(HarnessError) as raised:
        sources.from_code(name, arguments)
    assert says in raised.value.message and "\n" not in raised.value.message


def test_an_exported_program_computes_what_was_exported(tmp_path):
    path = tmp_path / "net.pt2"
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(small(), (IMAGES[:2],), dynamic_shapes=batch), path)
    with pytest.raises(HarnessError, match="unpickles") as raised:
        sources.from_file(path)
    assert "trust_pickle" in raised.value.hint
    made = sources.in_eval_mode(sources.from_file(path, trust_pickle=True))
    assert not any(part.training for part in made.modules())
    same_function(made, small())


def test_an_exported_program_that_is_not_trusted_runs_no_code(tmp_path, monkeypatch):
    (tmp_path / "net.pt2").write_bytes(b"PK")
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was unpickled"))
    with pytest.raises(HarnessError, match="unpickles"):
        sources.from_file(tmp_path / "net.pt2")


def test_an_onnx_file_computes_what_was_exported(tmp_path):
    pytest.importorskip("onnx2torch")
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            small(),
            (IMAGES[:2],),
            str(path),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
    same_function(sources.in_eval_mode(sources.from_file(path)), small())


@pytest.mark.parametrize("name", ["net.pt2", "net.onnx", "net.pt"])
def test_a_damaged_network_gets_one_line(name, tmp_path):
    if name.endswith("onnx"):
        pytest.importorskip("onnx2torch")
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(HarnessError) as raised:
        sources.from_file(path, trust_pickle=True)
    assert raised.value.where == str(path) and "\n" not in raised.value.message


def test_onnx_weights_in_another_file_are_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    shapes = [("x", ["b", 4]), ("y", ["b", 3])]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes
    ]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save_model(
        onnx.helper.make_model(graph),
        str(tmp_path / "net.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    with pytest.raises(HarnessError, match="1 of its weights are in another file, such as w"):
        sources.from_file(tmp_path / "net.onnx")


def test_weights_alone_are_no_network(tmp_path):
    torch.save(small().state_dict(), tmp_path / "net.pt")
    with pytest.raises(HarnessError, match="weights, and no network"):
        sources.from_file(tmp_path / "net.pt")


def test_a_model_of_timm_is_built_without_downloading():
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    made = sources.from_code("timm:resnet18", {"num_classes": 6})
    assert made.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 6)
