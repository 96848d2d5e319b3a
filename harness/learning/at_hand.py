"""Classes and networks that only this Python process has, such as those of a notebook.

Their content is in the keys of cells (``harness.learning.content``), and workers get them by
cloudpickle: so they run side by side, apart from the notebook, and can be stopped, as any other
cell. The pickles go from a process to its own workers only; no store, and no file, has one.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cloudpickle
from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from harness.errors import DataError, HarnessError
from harness.imports import import_with_torchvision
from harness.lazy import nn
from harness.learning.code_names import PREFIX, checked_name, code_names_in
from harness.learning.content import content_of
from harness.learning.files import File, files_in
from harness.registry import Registry, learners

MARK = "@"
"""Separates the name of a class from the hash of its content, in its ``kind``."""

ELSEWHERE = (
    "name its code and a file with its weights in a suite (kind: network); or use harness.attack, "
    "which runs in this process"
)
"""What to do with an object that stays in its process."""

_received: dict[str, bytes] = {}
"""Hash of a network or kind of a class -> pickle, of what this worker was given."""

_code: dict[str, tuple[str, ...]] = {}
"""Kind of a class at hand -> ``module:name`` of the importable code that it uses."""


@dataclass(frozen=True)
class AtHand(File):
    """A network in memory, declared like a file: the key has its content.

    Attributes:
        name: Of its class.
        code: ``module:name`` of the importable code that it uses.
        pickled: A copy as it was when the suite was read; None in the records of a past run.
    """

    name: str = ""
    code: tuple[str, ...] = ()
    pickled: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, network: nn.Module) -> AtHand:
        """Copy a network, which is left as it is.

        Raises:
            HarnessError: It cannot be hashed or pickled.
        """
        network = getattr(network, "_orig_mod", network)  # of torch.compile
        name = type(network).__name__
        try:
            content = content_of(network, f"the network {name}")
        except HarnessError as error:
            raise HarnessError(error.message, hint=ELSEWHERE) from None
        pickled = _pickled(_on_cpu(network), f"the network {name}")
        return cls(content.sha256, None, name, content.code, pickled)

    def checked(self) -> Path:
        """Its name: there is no file that could have changed since the run was planned.

        Raises:
            DataError: Only its hash is known.
        """
        self._bytes()
        return Path(self.name)

    def open(self) -> nn.Module:
        """Return a new copy.

        Raises:
            DataError: Only its hash is known.
        """
        for name in self.code:
            import_with_torchvision(name.partition(":")[0])
        network: nn.Module = pickle.loads(self._bytes())
        return network

    def _bytes(self) -> bytes:
        pickled = self.pickled or _received.get(self.sha256)
        if pickled is None:
            raise DataError(
                f"the network {self.name} is not at hand", hint="measure it with harness.evaluate"
            )
        return pickled


def _validated(value: Any, info: ValidationInfo) -> AtHand | str:
    """Code by its name; a network at hand, or its description in the identity of a cell."""
    if isinstance(value, AtHand):
        return value
    if isinstance(value, str):
        return checked_name(value)
    of_suite = "folder" in (info.context or {})
    if not of_suite and isinstance(value, dict) and {*value} == {"network", "sha256", "code"}:
        return AtHand(value["sha256"], None, value["network"], tuple(code_names_in(value["code"])))
    raise ValueError("write package.module:name; in Python it may be a network")


def _to_json(module: AtHand | str) -> dict[str, Any] | str:
    if isinstance(module, str):
        return f"{PREFIX}{module}"
    code = [f"{PREFIX}{name}" for name in module.code]
    return {"network": module.name, "sha256": module.sha256, "code": code}


Module = Annotated[
    str | AtHand,
    PlainValidator(_validated),
    PlainSerializer(_to_json, when_used="json"),
    WithJsonSchema({"type": "string"}),  # a YAML file cannot hold a network
]
"""Code that builds a network, ``package.module:name`` (see ``Code``), or a network at hand."""


def _on_cpu(network: nn.Module) -> nn.Module:
    """The network, or a copy of one on another device, which a worker may not have."""
    tensors = [*network.parameters(), *network.buffers()]
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return network
    return copy.deepcopy(network).cpu()


# ---------------------------------------------------------------------------------------- classes


def add_class(cls: type, registry: Registry) -> str:
    """Register a class that workers cannot import, and return its kind.

    The kind has the hash of its content: another class of the same name is another kind.

    Raises:
        HarnessError: It cannot be hashed, or is no entry of this registry.
    """
    content = content_of(cls, cls.__qualname__)
    kind = f"{cls.__module__}:{cls.__qualname__}{MARK}{content.sha256[:16]}"
    registry.add_at_hand(kind, cls)
    _code[kind] = content.code
    return kind


def is_class_at_hand(kind: str) -> bool:
    """Whether a kind is that of a class which no other process can import.

    >>> is_class_at_hand("__main__:Mine@0123456789abcdef"), is_class_at_hand("mine:Mine")
    (True, False)
    """
    return MARK in kind


def code_of(kind: str) -> list[str]:
    """The importable code of a class at hand, as the JSON of an identity names it."""
    return [f"{PREFIX}{name}" for name in _code.get(kind, ())]


# ------------------------------------------------------------------------------------- to workers


def pickles(config: Any, cls: type) -> dict[str, bytes]:
    """What workers need of a learner: its networks at hand by hash, and its class by kind.

    Args:
        config: Its validated config.
        cls: Its class, which has been registered.

    Raises:
        HarnessError: It cannot be pickled.
    """
    found = {each.sha256: each.pickled for each in files_in(config) if isinstance(each, AtHand)}
    pickled = {sha256: data for sha256, data in found.items() if data is not None}
    kind: str = cls.kind  # type: ignore[attr-defined]  # every base class declares ``kind``
    if is_class_at_hand(kind):
        pickled[kind] = _pickled(cls, cls.__qualname__)
    return pickled


def receive(pickled: Mapping[str, bytes]) -> None:
    """Take what ``pickles`` gave, in a worker; what is there already is kept."""
    for name, data in pickled.items():
        if name in _received:
            continue
        _received[name] = data
        if is_class_at_hand(name) and name not in learners.at_hand:
            learners.add_at_hand(name, pickle.loads(data))


def _pickled(value: Any, name: str) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:  # pickling runs code of the object
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise HarnessError(
            f"cannot send {name} to a worker: {reason}",
            hint=ELSEWHERE,
        ) from None
    return data
