"""Keys and settings of protocols on episodes: which episodes are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.data.episodes import Span
from harness.data.sampler import Mode
from harness.learning.learner import Regime
from harness.protocols.base import ProtocolConfig, SuiteFile
from harness.protocols.setting import Setting
from harness.registry import distinct

Count = Annotated[int, Field(ge=1)]
Range = Annotated[
    str,
    AfterValidator(lambda text: Span.of(text).value),
    Field(json_schema_extra={"pattern": "^[0-9]+-[0-9]+$"}),
]
One = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "range" if isinstance(value, str) else "number"),
]
More = Annotated[
    list[One],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(distinct),
]
OneOrMore = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Range, Tag("range")] | Annotated[More, Tag("more")],
    Discriminator(lambda value: {list: "more", str: "range"}.get(type(value), "number")),
]
"""The tag is chosen before validation, so that a faulty list is not called a faulty number."""


@dataclass(frozen=True)
class FewShotSetting(Setting):
    """Episodes of one size.

    Attributes:
        regime: What learners have seen before the support set.
        ways, shots: Numbers, or ranges such as ``"5-20"``.
        queries: Query images of each class.
        episodes: Number of episodes for each seed.
        splitting, split: Images that episodes are drawn from.
        mode, within_group: How they are drawn.
        episodes_from: sha256 of the list that they come from; None if they are drawn.
        min_images: Classes with fewer images are left out.
    """

    regime: str
    ways: int | str
    shots: int | str
    queries: int
    episodes: int
    splitting: str
    split: str
    mode: Mode = "replacement"
    within_group: bool = False
    episodes_from: str | None = None
    min_images: int = 0

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON, without how episodes are drawn if they come from a list."""
        identity = super().to_identity()
        if not self.min_images:
            del identity["min_images"]
        if self.episodes_from is None:
            del identity["episodes_from"]
        else:
            del identity["mode"], identity["within_group"]
        return identity

    @property
    def label(self) -> str:
        """``"5w1s"``."""
        return f"{self.ways}w{self.shots}s"


class EpisodesConfig(ProtocolConfig):
    """Which episodes, and what learners may have seen before them."""

    regime: Regime = Field(
        "class_transfer", description="what a learner may see before the support set"
    )
    ways: OneOrMore = Field(5, description="classes an episode; `5-20`: drawn for each episode")
    shots: OneOrMore = Field(
        1,
        description="support images a class; `1-10`: drawn for each class of each episode",
    )
    queries: Count = Field(15, description="query images a class")
    episodes: int = Field(600, ge=2, description="episodes a setting and seed")
    splitting: str | None = Field(
        None, description="which splitting of the dataset; its first fitting one if left out"
    )
    split: Literal["val", "test"] = Field(
        "test", description="the split that episodes are drawn from"
    )
    mode: Literal["replacement", "class_disjoint", "image_disjoint"] = Field(
        "replacement", description="whether episodes may share classes and images"
    )
    within_group: bool = Field(
        False, description="all classes of an episode from one group, e.g. one alphabet"
    )
    min_images: Annotated[int, Field(ge=1)] | Literal["skip"] | None = Field(
        None,
        description="leave out classes with fewer images; skip: with fewer than any setting needs",
    )
    episodes_from: SuiteFile | None = Field(
        None,
        description="a JSON list of episodes to use instead of drawing them, "
        "as `harness episodes` writes it",
    )


def as_list(value: int | str | list[int | str]) -> list[int | str]:
    """A key that takes one value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
