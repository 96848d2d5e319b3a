"""Where a network comes from: code and weights, an exported program, or an ONNX file."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.imports import import_with_torchvision
from harness.networks import weights

TIMM = "timm:"
"""Prefix of models that timm builds, e.g. ``timm:resnet18``."""


def from_code(
    module: str, arguments: Mapping[str, Any], also: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a network by calling what ``package.module:name`` is, or take it if it is a network.

    Args:
        module: A class, a function that returns a network, or a network; ``timm:NAME`` for one of
            timm's models.
        arguments: Passed by name.
        also: Passed by name if the code has parameters of these names.

    Raises:
        HarnessError: It cannot be imported or built, or is no network.
    """
    hint = "write package.module:name; the module is installed or beside the suite"
    try:
        made = _built(module, arguments, also or {})
    # Importing and calling the code of a user may raise anything.
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise HarnessError(f"cannot build the network {module!r}: {reason}", hint=hint) from error
    if not isinstance(made, nn.Module):
        raise HarnessError(f"{module!r} gives a {type(made).__name__}, not a network", hint=hint)
    return made


def body_from_code(
    module: str, arguments: Mapping[str, Any], image_shape: tuple[int, int, int]
) -> nn.Module:
    """Build a network that maps images to embeddings.

    Args:
        module: As for ``from_code``; models of timm come without their head.
        arguments: Passed by name. Code with a parameter ``image_shape`` gets that too.
        image_shape: (C, H, W).

    Raises:
        HarnessError: It cannot be imported or built, or is no network.
    """
    if module.startswith(TIMM):
        return from_code(module, {"num_classes": 0, "in_chans": image_shape[0], **arguments})
    return from_code(module, arguments, also={"image_shape": image_shape})


def _built(module: str, arguments: Mapping[str, Any], also: Mapping[str, Any]) -> Any:
    if module.startswith(TIMM):
        timm = import_with_torchvision("timm")
        return timm.create_model(module.removeprefix(TIMM), pretrained=False, **arguments)
    place, _, name = module.partition(":")
    found = getattr(import_with_torchvision(place), name)
    if isinstance(found, nn.Module):
        return found
    parameters = inspect.signature(found).parameters if also else {}
    known = {name: value for name, value in also.items() if name in parameters}
    return found(**{**known, **arguments})


def with_weights(
    network: nn.Module,
    path: Path,
    *,
    key: str | None = None,
    trust_pickle: bool = False,
    without_head: bool = False,
) -> nn.Module:
    """Load a network's weights from a file.

    Args:
        network: Changed in place.
        path: See ``harness.networks.weights.read``, as for the other arguments.
        key: Where a checkpoint keeps the weights.
        trust_pickle: Whether the file may run code.
        without_head: See ``harness.networks.weights.load_into``.

    Raises:
        HarnessError: The file cannot be read, or its weights are of another network.
    """
    read = weights.read(path, key=key, trust_pickle=trust_pickle)
    if isinstance(read, nn.Module):
        read = dict(read.state_dict())
    weights.load_into(network, read, path, without_head=without_head)
    return network


def from_file(path: Path, *, trust_pickle: bool = False) -> nn.Module:
    """Read a network that needs no code: ``.onnx``, or ``.pt2`` of ``torch.export``.

    Args:
        path: The file; with ``trust_pickle`` also a ``.pt2``, or one of ``torch.save(network)``.
        trust_pickle: Whether the file may run code.

    Raises:
        HarnessError: It is damaged, of another format or not trusted, or a converter is missing.
    """
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".pt2":
        return _exported(path, trust_pickle)
    read = weights.read(path, trust_pickle=trust_pickle)
    if isinstance(read, nn.Module):
        return read
    raise HarnessError(
        "it holds weights, and no network",
        where=str(path),
        hint="name the code too: `module: package.module:name` and `weights:` this file",
    )


def _exported(path: Path, trust_pickle: bool) -> nn.Module:
    if not trust_pickle:
        raise HarnessError(
            "torch.export.load unpickles parts of it without restriction",
            where=str(path),
            hint="set `trust_pickle: true`, which runs whatever code the file names; or use ONNX",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path).module()
    except Exception as error:  # whatever a damaged archive makes of it
        raise _unreadable(path, error, "save it by torch.export.save") from None


def _onnx(path: Path) -> nn.Module:
    try:
        onnx = import_with_torchvision("onnx")
        converter = import_with_torchvision("onnx2torch")
    except ImportError:
        raise HarnessError(
            "reading ONNX needs onnx and onnx2torch, which are not installed",
            where=str(path),
            hint="pip install 'bioharness[onnx]'",
        ) from None
    try:
        model = onnx.load_model(str(path), load_external_data=False)
        elsewhere = [
            weight.name
            for weight in model.graph.initializer
            if weight.data_location == onnx.TensorProto.EXTERNAL
        ]
    except Exception as error:  # whatever protobuf makes of a damaged file
        raise _unreadable(path, error, "it is damaged, or of another format") from None
    if elsewhere:
        raise HarnessError(
            f"{len(elsewhere)} of its weights are in another file, such as {elsewhere[0]}",
            where=str(path),
            hint="export it with `external_data=False`: the content of one file is in the key",
        )
    try:
        network: nn.Module = converter.convert(model)
    except Exception as error:  # unknown operators, above all
        hint = "it has operators that onnx2torch lacks; name its code and weights instead"
        raise _unreadable(path, error, hint) from None
    return network


def _unreadable(path: Path, error: Exception, hint: str) -> HarnessError:
    reason = f"{type(error).__name__}: {error}".partition("\n")[0][:120]
    return HarnessError(f"cannot read the network: {reason}", where=str(path), hint=hint)


def in_eval_mode(network: nn.Module) -> nn.Module:
    """Put a network in eval mode. An exported program has only the mode that it was exported in."""
    try:
        return network.eval()
    except NotImplementedError:
        for part in network.modules():
            part.training = False
        return network
