"""Cells as tasks on a Ray cluster.

This process, the driver, alone reads and writes the store: a task gets the weights that it needs from it through Ray, and gives
its result back to it the same way. So nodes need no shared disk. They need the same release of this code and of the libraries
that compute (each task looks), and what else a suite names under the same path: datasets that are not embedded, lists of
episodes, learners of one's own.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from pydantic import Field

from harness import registry
from harness.cells import plan
from harness.cells.plan import Cell
from harness.cells.run import Conditions
from harness.data.acquire import data_root
from harness.environment import differences
from harness.errors import HarnessError, StoreError
from harness.execute import work
from harness.execute.base import Event, Executor, executors
from harness.storage.store import SNAPSHOTS, WEIGHTS, CellResult, Store

Stored = tuple[CellResult, dict[str, dict[str, np.ndarray]]]
"""A finished cell and its arrays, by file and name."""
LOOK_S = 0.5
"""How often the driver asks how far tasks are."""
CAPACITY_S = 5.0
"""How often it counts what the cluster has: nodes come and go."""


@executors.register("ray")
class Ray(Executor):
    """Tasks on a Ray cluster; a cell that is lost with its node runs again on another."""

    local = False

    class Config(registry.Config):
        """Which cluster, and what a cell takes up of it. A cell computes in one thread and takes one CPU."""

        address: str | None = Field(
            None,
            description="HOST:PORT of a running cluster, `auto` for the one this machine is in, "
            "`local` for one of this run's own; RAY_ADDRESS or what there is if left out",
        )
        workers: int | None = Field(
            None,
            ge=1,
            description="cells in the cluster at once; if left out, twice as many as it has "
            "room for, half of them waiting on their nodes",
        )
        gpus: float | None = Field(
            None,
            ge=0,
            description="GPUs that a cell takes up: at 0.25 four share one; if left out, one "
            "where the device is cuda",
        )
        memory: float = Field(
            0.0, ge=0, description="GiB that a cell takes up; not looked at if left out"
        )

    def __init__(self, config: Config, conditions: Conditions):
        super().__init__(config, conditions)
        gpus = (
            config.gpus if config.gpus is not None else float(conditions.device.startswith("cuda"))
        )
        self.demand = {"CPU": 1.0, "GPU": gpus, "memory": config.memory * 2**30}
        self.tasks: dict[int, _Task] = {}
        self.events: deque[tuple[int, Event]] = deque()  # known without asking the cluster
        self.numbers = itertools.count()
        self.weights: OrderedDict[str, Any] = (
            OrderedDict()
        )  # key of a training cell -> reference to what it stored
        self.looked = self.counted = float("-inf")
        self.capacity = 0

    def __enter__(self) -> Ray:
        self.ray, self.open = _import_ray(), contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            # Ray prints what befalls its nodes to stdout, where only answers belong; what it means for cells is told by events.
            opening.enter_context(
                contextlib.redirect_stdout(opening.enter_context(open(os.devnull, "w")))
            )
            if not self.ray.is_initialized():
                self._connect()
                opening.callback(self.ray.shutdown)
            if not self.size:
                wanted = ", ".join(
                    f"{amount:g} {name}" for name, amount in self.demand.items() if amount
                )
                raise HarnessError(
                    f"no node of the Ray cluster has what a cell takes up: {wanted}",
                    where="--executor ray",
                    hint="ask for less with --gpus and --memory, or start a node that has it; where nodes are "
                    "started on demand, say with --workers how many cells to send at once",
                )
            beside = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                self.ray.get_runtime_context().get_node_id(), soft=False
            )
            desk = self.ray.remote(_Desk).options(
                num_cpus=0, scheduling_strategy=beside, max_restarts=-1, max_task_retries=-1
            )
            self.desk = desk.remote(
                self.conditions.store, Path.cwd()
            )  # all that it is asked may be asked twice
            self.compute = self.ray.remote(_compute).options(
                num_cpus=self.demand["CPU"],
                num_gpus=self.demand["GPU"],
                memory=self.demand["memory"] or None,
                max_retries=0,
                runtime_env={"env_vars": work.ONE_THREAD},
            )
            self.place = self.ray.put(_Place(replace(self.conditions, store=None), tuple(sys.path)))
            self.open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.open:
            for worker in list(self.tasks):
                self.stop(worker)

    @property
    def size(self) -> int:
        if self.config.workers:
            return self.config.workers
        if time.monotonic() - self.counted > CAPACITY_S:
            self.counted = time.monotonic()
            self.capacity = sum(
                room(node["Resources"], self.demand) for node in self.ray.nodes() if node["Alive"]
            )
        return self.capacity

    def idle(self) -> list[int]:
        """As many again as there is room for: the next cell waits on its node when one ends. Never more."""
        window = self.size if self.config.workers else 2 * self.size
        return [worker for worker in range(window) if worker not in self.tasks]

    def start(self, worker: int, cell: Cell) -> None:
        lock = contextlib.ExitStack()
        mine = lock.enter_context(self.conditions.store.lock(cell.key))
        if not mine or self.conditions.store.done(cell.key):
            lock.close()
            self.events.append(
                (worker, Event("found" if self.conditions.store.done(cell.key) else "elsewhere"))
            )
            return
        number = next(self.numbers)
        reference = self.compute.remote(cell, self.place, self._before(cell), self.desk, number)
        self.tasks[worker] = _Task(cell, reference, number, lock)

    def stop(self, worker: int) -> None:
        task = self.tasks.pop(worker)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.cancel(task.reference, force=True)
        task.lock.close()

    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        while self.events:
            yield self.events.popleft()
        yield from self._progress()
        references = {task.reference: worker for worker, task in self.tasks.items()}
        if not references:
            time.sleep(timeout)
            return
        done, rest = self.ray.wait(list(references), timeout=timeout)
        if done and rest:
            done += self.ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for reference in done:
            worker = references[reference]
            task = self.tasks.pop(worker)
            with task.lock:
                event = self._outcome(task)
            yield worker, event

    def _connect(self) -> None:
        address = self.config.address
        try:
            if address and ":" in address:  # Ray itself goes on trying for minutes
                socket.create_connection(
                    address.rpartition("/")[2].rsplit(":", 1), timeout=10
                ).close()
            self.ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise HarnessError(
                f"cannot connect to a Ray cluster: {error}".partition("\n")[0],
                where=f"--address {address}",
                hint="`ray status` shows whether one is running, RAY_AUTH_MODE must be as where it was started; "
                "`--address local` starts one here",
            ) from error

    def _before(self, cell: Cell) -> Any:
        """Reference to the training that a cell needs, put into the object store once for all that need it about now."""
        key = cell.needs
        if key is None:
            return None
        if key not in self.weights:
            self.weights[key] = self.ray.put(stored(self.conditions.store, key))
        self.weights.move_to_end(key)
        while len(self.weights) > max(8, len(self.tasks)):
            self.weights.popitem(last=False)
        return self.weights[key]

    def _progress(self) -> Iterator[tuple[int, Event]]:
        if time.monotonic() - self.looked < LOOK_S or not self.tasks:
            return
        self.looked = time.monotonic()
        told = []
        with contextlib.suppress(self.ray.exceptions.RayError):
            told = self.ray.get(self.desk.take.remote(), timeout=LOOK_S)
        workers = {task.number: worker for worker, task in self.tasks.items()}
        yield from ((workers[number], event) for number, event in told if number in workers)

    def _outcome(self, task: _Task) -> Event:
        """What became of a task that has ended; its result goes to the store."""
        errors = self.ray.exceptions
        try:
            event, written = self.ray.get(task.reference)
        except errors.WorkerCrashedError:
            return Event(
                "failed",
                text="the worker process died (os._exit, a segmentation fault, or killed for want of memory)",
            )
        except errors.RayTaskError as error:  # before the cell began: the node cannot run any
            return Event(
                "fatal",
                text=f"a node of the cluster cannot run cells: {error.cause}".partition("\n")[0],
            )
        except errors.OutOfMemoryError:
            return Event("lost", text="memory ran short on its node")
        except (errors.TaskUnschedulableError, errors.RuntimeEnvSetupError) as error:
            return Event("fatal", text=f"Ray cannot run cells: {error}".partition("\n")[0])
        except errors.RayError as error:  # its node, or the object that held its result, is gone
            return Event("lost", text=f"lost with its node ({type(error).__name__})")
        if event.kind == "done":
            self.conditions.store.write(task.cell.key, *written)
        return event


@dataclass
class _Task:
    cell: Cell
    reference: Any
    number: int
    lock: contextlib.ExitStack
    """Held while it is under way: no other run on this store computes the cell."""


@dataclass(frozen=True)
class _Place:
    """What is the same for all tasks.

    Attributes:
        conditions: without a store.
        path: the driver's ``sys.path``: a suite's own learners lie beside it.
    """

    conditions: Conditions
    path: tuple[str, ...]


class _Carried:
    """The store as a task sees it: the training that its cell needs has been carried to it, and what the cell writes is carried
    away. Trainings that a cell makes on its way are asked for, and kept, at the driver's desk.
    """

    def __init__(self, cell: Cell, before: Stored | None, desk: Any):
        self.cell, self.before, self.desk = cell, before, desk
        self.written: Stored | None = None
        self.fetched: dict[str, Stored | None] = {}

    def read(self, key: str, *, repair: bool = False) -> CellResult | None:
        found = self._stored(key)
        return found and found[0]

    def arrays(self, key: str, name: str) -> dict[str, np.ndarray]:
        found = self._stored(key)[1][name]
        return {
            key: array.copy() for key, array in found.items()
        }  # Ray's own are shared and cannot be written

    def write(self, key: str, result: CellResult, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        if key == self.cell.key:
            self.written = result, arrays
        else:
            self._ask(self.desk.keep, key, result, arrays)
            self.fetched = {key: (result, arrays)}

    def done(self, key: str) -> bool:
        return self._stored(key) is not None

    def lock(self, key: str) -> contextlib.AbstractContextManager[bool]:
        """Two cells may make the same training at once: of two writers the first wins, and both hold the same."""
        return contextlib.nullcontext(True)

    def _stored(self, key: str) -> Stored | None:
        if key == self.cell.needs:
            return self.before
        if self.fetched.get(key) is None:
            self.fetched = {key: self._ask(self.desk.fetch, key)}
        return self.fetched[key]

    def _ask(self, method: Any, *words: Any) -> Any:
        import ray

        try:
            return ray.get(method.remote(*words))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


class _Desk:
    """An actor beside the driver: tasks tell it how far they are, and ask it for what else is in the store."""

    def __init__(self, store: Store, folder: Path) -> None:
        os.chdir(folder)  # the driver's: the store's place may be relative to it
        self.store, self.told = store, []

    def tell(self, number: int, event: Event) -> None:
        self.told.append((number, event))

    def take(self) -> list[tuple[int, Event]]:
        told, self.told = self.told, []
        return told

    def fetch(self, key: str) -> Stored | None:
        return stored(self.store, key)

    def keep(self, key: str, result: CellResult, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        self.store.write(key, result, arrays)


def stored(store: Store, key: str) -> Stored | None:
    """A finished training with its arrays, None where there is none."""
    result = store.read(key, repair=True)
    if result is None:
        return None
    arrays = {WEIGHTS: store.arrays(key, WEIGHTS)}
    if result.identity["snapshots"]:
        with contextlib.suppress(
            StoreError
        ):  # of a learner that was never looked at while it learned
            arrays[SNAPSHOTS] = store.arrays(key, SNAPSHOTS)
    return result, arrays


def room(node: dict[str, float], demand: dict[str, float]) -> int:
    """How many cells a node has room for.

    >>> room({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25, "memory": 0.0})
    4
    """
    return int(min(node.get(name, 0.0) / amount for name, amount in demand.items() if amount))


def _compute(
    cell: Cell, place: _Place, before: Stored | None, desk: Any, number: int
) -> tuple[Event, Any]:
    """The task: compute one cell on whatever node this is. Returns how it ended, and what it would have stored."""
    _settle_in(place.path, place.conditions.device)
    if reason := _foreign(cell):
        raise HarnessError(f"{os.uname().nodename} has other code than the driver: {reason}")
    desk.tell.remote(number, Event("started"))
    carried, root = _Carried(cell, before, desk), place.conditions.data_root
    here = replace(
        place.conditions, store=carried, data_root=root if root and root.is_dir() else data_root()
    )
    event = work.attempt(cell, here, lambda event: desk.tell.remote(number, event))
    return event, carried.written


@lru_cache(maxsize=1)
def _settle_in(path: tuple[str, ...], device: str) -> None:
    sys.path += [place for place in path if place not in sys.path and Path(place).exists()]
    work.settle_in(device)


def _foreign(cell: Cell) -> str:
    """Where this node's code is not what the cell was planned with; empty where it is."""
    identity = cell.identity
    if unlike := differences(plan.versions(), identity["versions"]):
        return "; ".join(unlike)
    if plan.core_versions() != identity["core"]:
        return "the modules that every cell runs through"
    learner = registry.learners[identity["learner"]["kind"]].__module__
    if plan.code_version(learner) != identity["learner"]["code"]:
        return learner
    protocol = (
        identity.get("protocol") and registry.protocols[identity["protocol"]["kind"]].__module__
    )
    return (
        protocol
        if protocol and plan.code_version(protocol) not in identity["protocol"]["code"]
        else ""
    )


def _import_ray() -> ModuleType:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise HarnessError(
            "Ray is not installed", where="--executor ray", hint="pip install 'bioharness[ray]'"
        ) from error
    return ray
