"""Bodies: what they are, and how a config names one.

A body maps images to embeddings; learners put a head on it and train it. ``harness/bodies/`` has
one file for each.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import core_schema

from harness import registry
from harness.errors import HarnessError, did_you_mean
from harness.lazy import nn, torch
from harness.learning.code_names import PREFIX as CODE
from harness.learning.code_names import checked_name

PREFIX = "body:"
"""How the JSON of a config names a registered body: this, then its name."""

OLDER_KEY = "backbone"
"""The key of a config whose plain string also names a body."""


class Body(ABC):
    """A network that maps images (B, C, H, W) in [0, 1] to embeddings (B, D).

    A subclass registers itself with ``@bodies.register(name)`` and has a nested ``Config``.

    Args:
        config: An instance of the class's ``Config``.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[registry.Config]]
    smallest: ClassVar[int] = 1
    """Side of the smallest images that it takes, in pixels."""

    def __init__(self, config: registry.Config) -> None:
        self.config = config

    @abstractmethod
    def build(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """An untrained network in train mode.

        Args:
            image_shape: (C, H, W).
            generator: Draws the initial weights. torch's global generator is seeded too, and is
                restored afterwards.
        """


@dataclass(frozen=True)
class ChosenBody:
    """A body that a config names; declare a key of this type for it.

    A suite writes a name (``body: resnet12``), or a name and keys (``body: {name: wrn-28-2,
    dropout: 0.1}``). ``package.module:name`` is code that builds an ``nn.Module``, and
    ``timm:name`` a model of timm; their keys are passed by name.

    Attributes:
        name: As the suite writes it.
        keys: Its keys; of a registered body only those that differ from its defaults.
        is_bare: Whether it was given by its name alone.
    """

    name: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    is_bare: bool = True

    @property
    def is_code(self) -> bool:
        """Whether it is code that is not registered."""
        return ":" in self.name

    def over(self, keys: Mapping[str, Any]) -> ChosenBody:
        """The same body; ``keys`` hold where it has none of its own."""
        return replace(self, keys={**keys, **self.keys})

    def to_json(self) -> str | dict[str, Any]:
        """As the identity of a cell has it."""
        if self.is_code:
            return {"name": f"{CODE}{self.name}", **self.keys}
        config = registry.bodies[self.name].Config(**self.keys)
        return {"name": f"{PREFIX}{self.name}", **config.model_dump(mode="json")}

    def refuses(self, image_shape: tuple[int, int, int]) -> str | None:
        """Why it takes no images (C, H, W) of this size, or None; of code nothing is known."""
        if self.is_code:
            return None
        smallest = registry.bodies[self.name].smallest
        height, width = image_shape[1:]
        if min(height, width) >= smallest:
            return None
        return (
            f"the body {self.name} takes images of at least {smallest} x {smallest} pixels, and "
            f"these are {height} x {width}"
        )

    def untrained(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        """Build it, and show it two black images.

        Args:
            image_shape: (C, H, W).
            generator: Draws the initial weights.

        Raises:
            HarnessError: It cannot be built, does not take such images, or gives no embeddings.
        """
        with seeded(generator.initial_seed()):
            body = self._built(image_shape, generator)
            _try(body, self.name, image_shape)
        return body.train()

    def _built(self, image_shape: tuple[int, int, int], generator: torch.Generator) -> nn.Module:
        if self.is_code:
            from harness.networks.sources import body_from_code

            # Code may hand out one and the same network again and again.
            return copy.deepcopy(body_from_code(self.name, self.keys, image_shape))
        too_small = self.refuses(image_shape)
        if too_small:
            raise HarnessError(
                too_small, hint="use larger images, or another body (`harness list bodies`)"
            )
        cls = registry.bodies[self.name]
        built: nn.Module = cls(cls.Config(**self.keys)).build(image_shape, generator)
        return built

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validated,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda chosen: chosen.to_json(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        code = {"type": "string", "pattern": "^[^:]+:.+$", "description": "code of your own"}
        return {
            "anyOf": [
                {"enum": list(registry.bodies)},
                code,
                *(_mapping(name) for name in registry.bodies),
                {"type": "object", "properties": {"name": code}, "required": ["name"]},
            ]
        }


def _mapping(name: str) -> dict[str, Any]:
    """JSON Schema of a registered body with keys."""
    keys = registry.bodies[name].Config.model_json_schema().get("properties", {})
    return {
        "type": "object",
        "title": name,
        "properties": {"name": {"const": name}, **keys},
        "required": ["name"],
        "additionalProperties": False,
    }


def _validated(value: Any) -> ChosenBody:
    if isinstance(value, ChosenBody):
        return value
    keys = {"name": value} if isinstance(value, str) else value
    if not isinstance(keys, Mapping) or not isinstance(keys.get("name"), str):
        raise ValueError("a body is a name, or a mapping with its `name` and its keys")
    keys = dict(keys)
    name = keys.pop("name").removeprefix(PREFIX)
    is_bare = isinstance(value, str)
    if ":" in name:
        return ChosenBody(checked_name(name), keys, is_bare)
    if name not in registry.bodies:
        raise ValueError(f"unknown body {name!r}; {did_you_mean(name, registry.bodies)}")
    return ChosenBody(name, _own_keys(name, keys), is_bare)


def _own_keys(name: str, keys: dict[str, Any]) -> dict[str, Any]:
    """The keys of a registered body, checked."""
    model = registry.bodies[name].Config
    try:
        return dict(model.model_validate(keys).model_dump(exclude_unset=True))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(key, model.model_fields)
            raise ValueError(f"the body {name} has no key {key!r}; {hint}") from None
        raise ValueError(f"{key} of the body {name}: {first['msg']}") from None


def _try(body: nn.Module, name: str, image_shape: tuple[int, int, int]) -> None:
    """Check that a body maps two images to two embeddings."""
    size = "x".join(map(str, image_shape))
    try:
        with torch.no_grad():
            out = body.eval()(torch.zeros(2, *image_shape))
    except Exception as error:  # whatever the code of a user raises
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise HarnessError(
            f"the body {name} does not take images of {size}: {reason}",
            hint="use a dataset of such images as it takes",
        ) from error
    if not isinstance(out, torch.Tensor) or out.ndim != 2 or len(out) != 2 or not out.shape[1]:
        given = tuple(out.shape) if isinstance(out, torch.Tensor) else f"a {type(out).__name__}"
        raise HarnessError(
            f"the body {name} must turn two images into embeddings (2, D), and gives {given}",
            hint="return one vector an image, e.g. maps averaged over positions",
        )
    if not any(parameter.requires_grad for parameter in body.parameters()):
        raise HarnessError(f"the body {name} has no weights that could be trained")


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators within the block, and restore them afterwards.

    Layers that draw (dropout, the initial weights of a user's code) know no other generator.

    Args:
        seed: For the generator of the CPU, and of the device.
        device: That the layers are on; the CPU if left out.
    """
    on_gpu = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield


def bodies_in(config: Any) -> Iterator[str]:
    """Names of the registered bodies in the JSON of a config.

    >>> list(bodies_in({"backbone": "conv4", "parts": [{"name": "body:resnet12", "drop": 0.1}]}))
    ['conv4', 'resnet12']
    """
    if isinstance(config, str) and config.startswith(PREFIX):
        yield config.removeprefix(PREFIX)
    elif isinstance(config, dict):
        if isinstance(config.get(OLDER_KEY), str):
            yield config[OLDER_KEY]
        yield from bodies_in(list(config.values()))
    elif isinstance(config, list):
        for each in config:
            yield from bodies_in(each)
