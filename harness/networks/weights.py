"""Weights from files: safetensors, and what ``torch.save`` writes.

Files of ``torch.save`` are pickles. They are read by torch's restricted unpickler, which accepts
tensors and plain containers. Anything else needs ``trust_pickle``, because unpickling runs whatever
code the file names.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError

Weights = dict[str, torch.Tensor]

USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Where checkpoints usually keep a network's weights; the first that is there is taken."""

MOST_LISTED = 3
"""Names listed in a message."""


def read(path: Path, *, key: str | None = None, trust_pickle: bool = False) -> Weights | nn.Module:
    """Read the weights of a network.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` (``.pt``, ``.pth``, ``.ckpt``, ...).
        key: Where a checkpoint keeps the weights, if not in one of the usual places.
        trust_pickle: Whether the file may run code.

    Returns:
        Weights by name, on the CPU; or the whole network, where a trusted file holds that.

    Raises:
        HarnessError: The file cannot be read, or has no weights.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _unpickled(path, trust_pickle)
    if isinstance(content, nn.Module):
        return content
    return _weights_in(content, key, path)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unpickled(path: Path, trust_pickle: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if trust_pickle:
            raise _unreadable(path, error) from None
        raise HarnessError(
            "it holds Python objects besides weights, or is damaged",
            where=str(path),
            hint="save state_dict() alone, or as safetensors; or set `trust_pickle: true`, which "
            "runs whatever code the file names",
        ) from None
    except Exception as error:  # a damaged file, or trusted code in it, may raise anything
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> HarnessError:
    reason = str(error).strip().partition("\n")[0][:120]
    return HarnessError(
        f"cannot read weights: {type(error).__name__}: {reason}",
        where=str(path),
        hint="the file is damaged, or of another format: safetensors and torch.save are read",
    )


def _weights_in(content: Any, key: str | None, path: Path) -> Weights:
    """The weights in what a file holds: all of it, or what is under one key."""
    if key is not None:
        if not isinstance(content, Mapping) or key not in content:
            raise HarnessError(
                f"it has no {key!r}", where=str(path), hint=f"it has {_listed(content)}"
            )
        content = content[key]
    if _is_weights(content):
        return dict(content)
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    if isinstance(content, Mapping) and key is None:
        for usual in USUAL_KEYS:
            if _is_weights(content.get(usual)):
                return dict(content[usual])
    raise HarnessError(
        f"it holds no weights by name, but {_listed(content)}",
        where=str(path),
        hint="save state_dict(); or say where a checkpoint keeps it: `weights_key: ema`",
    )


def _is_weights(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(value, torch.Tensor) for value in content.values())
    )


def _listed(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    names = [repr(str(name)[:40]) for name in content]
    shown = ", ".join(names[:MOST_LISTED])
    more = len(names) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown or "nothing"


def load_into(
    network: nn.Module, weights: Weights, path: Path, *, without_head: bool = False
) -> None:
    """Load weights into a network, every one of them.

    Names may share a prefix that the network's own lack, such as ``module.`` of data-parallel
    training or ``model.`` of Lightning. Weights of other parts of a checkpoint are then left out.

    Args:
        network: Changed in place.
        weights: By name.
        path: Where they come from, for messages.
        without_head: The network is a body: weights of parts that it lacks as a whole, such as
            ``fc``, are left out.

    Raises:
        HarnessError: They are not this network's, or not finite.
    """
    own = network.state_dict()
    given = _without_prefix(weights, own)
    if without_head:
        there = {name.partition(".")[0] for name in own}
        given = {name: v for name, v in given.items() if name.partition(".")[0] in there}
    missing = sorted(own.keys() - given.keys())
    surplus = sorted(given.keys() - own.keys())
    if missing or surplus:
        parts = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
        parts += [f"{len(surplus)} unknown ({_some(surplus)})"] if surplus else []
        raise HarnessError(
            f"its weights are not those of the network: {', '.join(parts)}",
            where=str(path),
            hint="`module` and `arguments` must build the network that was trained",
        )
    for name, value in own.items():
        if given[name].shape != value.shape:
            raise HarnessError(
                f"{name} is {tuple(given[name].shape)} in the file and {tuple(value.shape)} in the "
                "network",
                where=str(path),
                hint="`arguments` must be those of the training, e.g. the number of classes",
            )
        if value.is_floating_point() and not given[name].isfinite().all():
            raise HarnessError(
                f"{name} is not finite", where=str(path), hint="the training has diverged"
            )
    network.load_state_dict(given)


def _without_prefix(weights: Weights, own: Mapping[str, torch.Tensor]) -> Weights:
    """Weights under the prefix at which all of a network's names are found."""
    if not own or own.keys() <= weights.keys():
        return weights
    first = next(iter(own))
    for name in weights:
        prefix = name.removesuffix(first)
        if prefix.endswith(".") and all(prefix + each in weights for each in own):
            return {
                name.removeprefix(prefix): value
                for name, value in weights.items()
                if name.startswith(prefix)
            }
    return weights


def _some(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
