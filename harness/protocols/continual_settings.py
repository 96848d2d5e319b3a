"""Keys and settings of the protocol ``continual``: which stream, how it is met, what is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from harness.data.streams import Halves, Scenario, Stream
from harness.protocols.base import ProtocolConfig, SuiteFile
from harness.protocols.continual_attack import RobustConfig
from harness.protocols.setting import Setting
from harness.registry import distinct, later_key

Rivals = Literal["all", "seen", "part"]
TasksBy = Literal["classes", "groups", "permuted", "rotated", "sessions"]

STRATEGY_NAMES = ("naive", "frozen", "replay", "gdumb", "cumulative", "joint", "offline")
"""Strategies in the order of tables (``harness.protocols.strategies``)."""

WITH_MEMORY = ("replay", "gdumb")
"""Strategies whose name is followed by the size of their memory: ``replay-200``."""

FIVE = 5
"""Orders by default."""


@dataclass(frozen=True)
class GroupsOf:
    """A stream with a task for each group of classes; the groups are in the data."""

    scenario: Scenario
    order: int


@dataclass(frozen=True)
class ContinualSetting(Setting):
    """One strategy on some orders of a stream.

    Attributes:
        scenario: What is asked at test time.
        strategy: Its name, with the size of its memory.
        rivals: Which classes the loss of an image runs over.
        passes: Over each task.
        chunk: Images of one call; None: the whole task.
        splitting, split: Images that are tested on; those of training are ``train``.
        streams: Hash of the stream of each order; of groups, ``groups-`` and the order.
        ways: Output units of the learner.
        held_out: Images of each class that are held out to test on; None: ``split`` has other
            images than ``train``.
        watch_every: Training steps between looks at the old tasks; None: no looks.
        robust: Norm, budget, steps and images a task of the attack after each; None: no attack.
        units: Whether the responses of units are looked at after each task.
        sources: What the streams are made of; the hashes stand for it.
    """

    scenario: str
    strategy: str
    rivals: str
    passes: int
    chunk: int | None
    splitting: str
    split: str
    streams: tuple[str, ...]
    ways: int
    held_out: int | None = None
    watch_every: int | None = None
    robust: tuple[str, float, int, int] | None = None
    units: bool = False
    sources: tuple[Stream | GroupsOf, ...] = ()

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON; keys that are not used are left out."""
        identity = super().to_identity()
        del identity["sources"]
        for key in ("chunk", "held_out", "watch_every", "robust"):
            if identity[key] is None:
                del identity[key]
        if not self.units:
            del identity["units"]
        return identity

    @classmethod
    def from_identity(cls, identity: Any) -> ContinualSetting:
        """Rebuild the setting; its ``sources`` are not in the identity."""
        return super().from_identity({"chunk": None, **identity})

    @property
    def tested(self) -> Halves:
        """Which images are learned and tested on."""
        return Halves(self.splitting, self.split, self.held_out)

    @property
    def label(self) -> str:
        """The strategy."""
        return self.strategy


def split_name(name: str) -> tuple[str, int]:
    """A strategy and the images of its memory.

    >>> split_name("replay-200"), split_name("naive")
    (('replay', 200), ('naive', 0))
    """
    kind, _, size = name.partition("-")
    return kind, int(size or 0)


def strategy_place(name: str) -> tuple[int, int]:
    """Where a strategy comes in tables; smaller memories first, unknown strategies last."""
    kind, _, size = name.partition("-")
    if kind not in STRATEGY_NAMES:
        return len(STRATEGY_NAMES), 0
    return STRATEGY_NAMES.index(kind), int(size) if size.isdecimal() else 0


def _strategy(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    kind, _, size = name.partition("-")
    allowed = [f"{each}-IMAGES" if each in WITH_MEMORY else each for each in STRATEGY_NAMES]
    is_sized = size.isascii() and size.isdigit() and 0 < int(size) <= 10**7
    if kind not in STRATEGY_NAMES or (is_sized if kind not in WITH_MEMORY else not is_sized):
        raise ValueError(f"unknown strategy; allowed: {', '.join(allowed)}, e.g. replay-200")
    if kind not in WITH_MEMORY and "-" in name:
        raise ValueError(f"{kind} has no memory to give a size to")
    kind, images = split_name(name)
    return f"{kind}-{images}" if images else kind


StrategyName = Annotated[
    str,
    BeforeValidator(_strategy),
    Field(json_schema_extra={"pattern": "^[a-z]+(-[0-9]+)?$"}),
]

OrderList = Annotated[
    list[Annotated[int, Field(ge=0)]],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(distinct),
]
Orders = Annotated[
    Annotated[int, Field(ge=1, le=1000), Tag("number")] | Annotated[OrderList, Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "number"),
]


class ContinualConfig(ProtocolConfig):
    """Which stream, how learners meet it, and what they are told."""

    scenario: Scenario = Field(
        "class",
        description="asked at test time: which class of the told `task`, which output unit that "
        "all tasks share (`domain`), or which `class` of all tasks",
    )
    tasks_by: TasksBy = Field(
        "classes",
        description="what a task is: some `classes`, one of the dataset's `groups` (an alphabet), "
        "all classes `permuted` (pixels change places) or `rotated`, or `sessions`: many classes, "
        "then a few images of new ones",
    )
    classes_per_task: int = Field(2, ge=1, description="for tasks by classes")
    tasks: int = Field(10, ge=2, le=1000, description="number of permuted tasks")
    degrees: list[Annotated[float, Field(ge=-360, le=360)]] = Field(
        [0.0, 80.0, 160.0], min_length=2, description="the angle of each rotated task"
    )
    base_classes: int | None = Field(
        None, ge=1, description="sessions: classes of the first task; about half if left out"
    )
    session_ways: int = Field(5, ge=1, description="sessions: new classes of each")
    session_shots: int = Field(5, ge=1, description="sessions: images of each new class")
    orders: Orders = Field(
        FIVE,
        description="orders of the tasks: how many (5 is 1 to 5), or a list; 0 is the dataset's "
        "own order, any other number a draw, the same in every suite",
    )
    streams_from: Annotated[list[SuiteFile] | None, AfterValidator(distinct)] = Field(
        None,
        min_length=1,
        description="JSON files of streams to use instead, as `harness streams` writes them",
    )
    strategies: Annotated[list[StrategyName], AfterValidator(distinct)] = Field(
        ["naive", "joint"],
        min_length=1,
        description="naive, joint, offline, cumulative, frozen, replay-IMAGES, gdumb-IMAGES",
    )
    rivals: Rivals = Field(
        "all",
        description="scenario class: the loss of an image runs over `all` classes of the stream, "
        "those `seen` so far, or those of its own task (`part`)",
    )
    passes: int = Field(10, ge=1, description="over the images of each task")
    chunk: int | None = Field(
        None, ge=1, description="online: images of one call; the whole task if left out"
    )
    splitting: str | None = Field(
        None, description="which splitting of the dataset; its first one if left out"
    )
    split: Literal["train", "val", "test"] = Field(
        "test", description="the split that is counted on"
    )
    held_out: int | None = Field(
        None,
        ge=1,
        description="where splits have different classes (alphabets): how many images of each "
        "class of `split` are tested on; its other images are learned",
    )
    watch_every: int | None = Field(
        None,
        ge=1,
        description="training steps between looks at old tasks, for the stability gap",
    )
    robust: RobustConfig | None = Field(
        None, description="attack the network after each task, on test images of the tasks so far"
    )
    units: bool = later_key(
        False,
        description="what each hidden unit responds to after each task: do units keep their tasks",
    )

    @property
    def order_list(self) -> list[int]:
        """The orders."""
        if isinstance(self.orders, int):
            return list(range(1, self.orders + 1))
        return self.orders
