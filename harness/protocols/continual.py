"""Learning that goes on: a stream of tasks, one after the other, and what is left of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.attacks.pgd import PGD
from harness.budgets import words
from harness.data import stream_files
from harness.data.base import Loaded, SplitFacts
from harness.data.stream_files import StreamFile
from harness.data.streams import (
    Halves,
    Stream,
    by_classes,
    by_sessions,
    permuted,
    rotated,
)
from harness.errors import DataError
from harness.learning.learner import Learner
from harness.metrics.power import detectable_difference
from harness.protocols.base import CARVE, NO_TRAIN, Context, Fault, Measurement, Protocol
from harness.protocols.continual_attack import Robust
from harness.protocols.continual_numbers import arrays_of, values_of
from harness.protocols.continual_run import PROBED, Arrays, Course, Walk
from harness.protocols.continual_settings import ContinualConfig, ContinualSetting, GroupsOf
from harness.protocols.continual_sources import halves_words, name_of, stream_of
from harness.protocols.on_a_split import shared_class_faults
from harness.registry import protocols

SPREAD = 0.02
"""Assumed standard deviation of the difference between two learners on one stream.

It is used for planning, before anything has been measured: replay of 200 images has .014."""

SCENARIOS = {
    "task": "task-incremental: the task is told at test time; an image is classified among the "
    "task's own classes",
    "domain": "domain-incremental: the task is not told; all tasks share their output units",
    "class": "class-incremental: the task is not told; an image is classified among the classes "
    "of all tasks, whose number is known from the start",
}

RIVALS = {
    "all": "the loss runs over all classes of the stream",
    "seen": "the loss runs over the classes seen so far",
    "part": "the loss runs over the classes of an image's own task",
}

ANEW = "it cannot go on learning: trained anew on what each task may show it"
"""Remark on a learner without ``go_on``."""


@protocols.register("continual")
class Continual(Protocol[ContinualSetting]):
    """Accuracy after a stream of tasks, what was forgotten of each, and what the strategy kept.

    A unit is a stream: one order of the tasks. The orders are the same for every learner, strategy
    and seed, so comparisons are paired over orders. Intervals over one seed hold for that seed.
    After each task, the network is tested on the test images of all tasks; every number derives
    from these verdicts. Nothing is chosen within a stream: no early stopping, no validation.
    """

    setting_type = ContinualSetting
    Config = ContinualConfig
    config: ContinualConfig

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    @property
    def tested(self) -> Halves:
        """Which images are learned and tested on."""
        return Halves(self.splitting, self.config.split, self.config.held_out)

    @property
    def train_facts(self) -> SplitFacts:
        """Sizes of the split that is learned."""
        return self.facts.splittings[self.splitting][self.tested.learned]

    def training(self) -> None:
        """Nothing: each cell takes an untrained learner through its streams."""
        return None

    def settings(self) -> Iterator[ContinualSetting]:
        """Yield one setting for each strategy."""
        config = self.config
        sources = self.sources
        for strategy in config.strategies:
            yield ContinualSetting(
                scenario=self.scenario,
                strategy=strategy,
                rivals=config.rivals if self.scenario == "class" else "all",
                passes=config.passes,
                chunk=config.chunk,
                splitting=self.splitting,
                split=config.split,
                streams=tuple(map(name_of, sources)),
                ways=self._outputs(sources[0]),
                held_out=config.held_out,
                watch_every=config.watch_every,
                robust=None if config.robust is None else Robust(**dict(config.robust)),
                units=config.units,
                sources=sources,
            )

    @property
    def scenario(self) -> str:
        """Of the streams."""
        files = self._files
        return files[0].scenario if files else self.config.scenario

    @functools.cached_property
    def _files(self) -> list[StreamFile]:
        """The streams' files; none if they are drawn, or one cannot be read (see ``faults``)."""
        try:
            return [stream_files.read(path) for path in self.config.streams_from or []]
        except DataError:
            return []

    @functools.cached_property
    def sources(self) -> tuple[Stream | GroupsOf, ...]:
        """What the stream of each order is made of.

        Raises:
            DataError: the classes make no such stream.
        """
        config = self.config
        classes = self.train_facts.classes
        if config.streams_from:
            paths = map(str, config.streams_from)
            pixels = self.facts.image_shape[1] * self.facts.image_shape[2]
            return tuple(stream_files.read(path).stream(classes, pixels, path) for path in paths)
        make: dict[str, Callable[[int], Stream | GroupsOf]] = {
            "classes": lambda order: by_classes(
                classes, config.classes_per_task, config.scenario, order
            ),
            "groups": lambda order: GroupsOf(config.scenario, order),
            "permuted": lambda order: permuted(
                classes, config.tasks, self.facts.image_shape, config.scenario, order
            ),
            "sessions": lambda order: by_sessions(
                classes,
                self._base_classes,
                config.session_ways,
                config.session_shots,
                config.scenario,
                order,
            ),
            "rotated": lambda order: rotated(classes, config.degrees, config.scenario, order),
        }
        return tuple(make[config.tasks_by](order) for order in config.order_list)

    @property
    def _base_classes(self) -> int:
        """Classes before the first session; by default what whole sessions leave of about half."""
        if self.config.base_classes is not None:
            return self.config.base_classes
        classes = self.train_facts.classes
        sessions = max(1, classes // (2 * self.config.session_ways))
        return classes - sessions * self.config.session_ways

    def _outputs(self, source: Stream | GroupsOf) -> int:
        return source.outputs if isinstance(source, Stream) else self.train_facts.classes

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, classes without test images, and impossible streams."""
        faults = list(self._split_faults())
        if not faults:
            faults = list(self._stream_faults())
        yield from faults

    def _split_faults(self) -> Iterator[Fault]:
        """Faults of the images that are learned and tested on."""
        config = self.config
        splits = self.facts.splittings.get(self.splitting)
        if config.held_out is None or splits is None or config.split not in splits:
            named = config.splitting is not None
            for fault in shared_class_faults(self, self.splitting, config.split, named=named):
                is_disjoint = self.splitting in self.facts.class_disjoint
                hint = "set `held_out`: test images of each class of one split"
                yield replace(fault, hint=hint) if is_disjoint else fault
            if splits is not None and "train" not in splits:
                yield Fault(("dataset",), f"learners are trained, and {NO_TRAIN}", CARVE)
            elif config.split == "train":
                yield Fault(("split",), "the images that are learned are not tested on")
        elif config.held_out >= splits[config.split].per_class:
            smallest = splits[config.split].per_class
            yield Fault(
                ("held_out",),
                f"a class of {self.splitting}/{config.split} may have only {smallest} images, and "
                f"{config.held_out} are held out",
                f"at most {smallest - 1}",
            )

    def _stream_faults(self) -> Iterator[Fault]:
        config = self.config
        tested = self.facts.splittings[self.splitting][config.split].classes
        if config.held_out is None and tested != self.train_facts.classes:
            yield Fault(
                ("split",),
                f"{self.train_facts.classes} classes are trained and {tested} tested: a task "
                "would have no test images",
            )
            return
        if config.tasks_by == "groups" and config.scenario == "domain":
            yield Fault(
                ("scenario",),
                "groups may differ in size, and tasks of scenario domain share their outputs",
                "use scenario task or class",
            )
            return
        places = {"classes": "classes_per_task", "sessions": "base_classes"}
        place = places.get(config.tasks_by, "tasks_by")
        try:
            sources = self.sources
        except DataError as error:
            key = "streams_from" if config.streams_from else place
            where = f"{error.where}: " if error.where else ""
            yield Fault((key,), f"{where}{error.message}", error.hint or "")
            return
        yield from self._file_faults(sources)

    def _file_faults(self, sources: tuple[Stream | GroupsOf, ...]) -> Iterator[Fault]:
        """Faults of streams that come from files."""
        names = [name_of(source) for source in sources]
        if len({*names}) < len(names):
            yield Fault(("streams_from",), "two of the files have the same tasks")
        for stream_file in self._files:
            if stream_file.tested != self.tested:
                yield Fault(
                    ("streams_from",),
                    f"a stream is of {halves_words(stream_file.tested)}, and this measures "
                    f"{halves_words(self.tested)}",
                    "set `splitting`, `split` and `held_out` to those of the file",
                )
        kinds = {(source.scenario, self._outputs(source)) for source in sources}
        if len(kinds) > 1:
            yield Fault(
                ("streams_from",), "the files differ in scenario or in the number of outputs"
            )

    def examine(self, load: Callable[[], Loaded]) -> None:
        """Check groups and files against the data.

        Raises:
            DataError: there are no groups, or a file is of other data.
        """
        for path, stream_file in zip(self.config.streams_from or [], self._files, strict=True):
            stream_file.check(load(), str(path))
        if self.config.tasks_by == "groups":
            stream_of(self.sources[0], load(), self.tested)

    def refuses(self, learner: type[Learner]) -> str | None:
        """Learners without ``go_on`` cannot learn in chunks; otherwise they are trained anew."""
        if self.config.chunk is not None and not learner.goes_on:
            return "it cannot go on learning, which `chunk` needs"
        return None

    @classmethod
    def code(cls, setting: ContinualSetting) -> list[type]:
        """The attack."""
        return [] if setting.robust is None else [PGD]

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: ContinualSetting, context: Context
    ) -> Measurement:
        """Take copies of a learner through the stream of each order.

        Args:
            learner: an untrained learner.
        """
        train, test = setting.tested.images(data)
        earlier = context.checkpoint.load()
        courses: list[Course] = []
        for place, source in enumerate(setting.sources):
            stream = stream_of(source, data, setting.tested)
            own = _at(place, earlier)
            walk = Walk(stream, train, test, setting, context.part(place, len(setting.sources)))

            def save(arrays: Arrays, place: int = place) -> None:
                # The courses of earlier orders are kept, of this one the last state.
                earlier.update({f"{place}/{name}": array for name, array in arrays.items()})
                context.checkpoint.save(earlier)

            courses.append(walk.walk(learner, own, save))
        has_forward_transfer = setting.scenario == "domain"
        arrays = arrays_of(courses, has_forward_transfer=has_forward_transfer)
        remarks = [] if learner.goes_on else [ANEW]
        log = {"streams": list(setting.streams)}
        return Measurement(values_of(arrays), arrays, log=log, remarks=remarks)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of orders, which are the same in every seed."""
        orders = len(self.sources)
        sd = SPREAD if spread is None else spread
        points = 100 * detectable_difference(orders, sd)
        known = "if differences have" if spread is None else "differences in the store have"
        return (
            f"{points:.1f} points between two learners ({orders} paired orders, 80 % power, "
            f"{known} a standard deviation of {100 * sd:.1f} points)"
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        shown = "one call a task" if config.chunk is None else f"{config.chunk} images a call"
        block = {
            "scenario": SCENARIOS[self.scenario],
            "stream": f"{self._tasks_words()}; {halves_words(self.tested)}",
            "orders": self._order_words(),
            "passes": f"{config.passes} over each task, {shown}; the same for every strategy; "
            "rates know no end of a task",
            "image size": "x".join(map(str, self.facts.image_shape)),
        }
        if self.scenario == "class":
            block["rivals"] = RIVALS[config.rivals]
        if config.robust is not None:
            block["attack"] = (
                f"after each task, PGD-{config.robust.steps} on the margin, one restart, "
                f"{config.robust.norm}, eps {words(config.robust.eps)}, {config.robust.images} "
                "test images of each task so far; compare strategies after the same task only: a "
                "network that knows fewer classes is easier to defend"
            )
        if config.watch_every is not None:
            block["watched"] = f"old tasks every {config.watch_every} training steps"
        if config.units:
            block["units"] = (
                f"mean response of each hidden unit to {PROBED} test images of each task, after "
                "each; of strategies with one learner that goes on"
            )
        return block

    def _tasks_words(self) -> str:
        config = self.config
        if config.streams_from:
            return f"from files: {', '.join(Path(path).name for path in config.streams_from)}"
        if config.tasks_by == "classes":
            tasks = self.train_facts.classes // config.classes_per_task
            return f"{tasks} tasks of {config.classes_per_task} classes"
        if config.tasks_by == "groups":
            return "a task for each group of classes"
        if config.tasks_by == "sessions":
            return (
                f"{self._base_classes} classes, then sessions of {config.session_ways} new classes "
                f"with {config.session_shots} images each"
            )
        if config.tasks_by == "permuted":
            return f"{config.tasks} tasks, each with its own permutation of the pixels"
        return f"tasks rotated by {', '.join(f'{each:g}' for each in config.degrees)} degrees"

    def _order_words(self) -> str:
        if self.config.streams_from:
            return f"{len(self.config.streams_from)}, from the files"
        orders = self.config.order_list
        own = " (0: the dataset's own)" if 0 in orders else ""
        return f"{', '.join(map(str, orders))}{own}, the same for every learner and seed"


def _at(place: int, arrays: Arrays) -> Arrays:
    """What was saved of one order."""
    prefix = f"{place}/"
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
