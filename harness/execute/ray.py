"""The Ray executor: cells run as tasks on a Ray cluster.

Only this process, the driver, reads and writes the store. A task gets the cells that it needs from
the driver through Ray, and returns its result in the same way, so nodes need no shared disk.

Nodes need the same release of this code and of the libraries that compute (each task checks), and
under
the same path whatever else a suite names: datasets that are not embedded, lists of episodes,
modules with learners.
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
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pydantic import Field

from harness import registry
from harness.cells.cell import Cell
from harness.cells.run import Conditions
from harness.errors import HarnessError
from harness.execute import work
from harness.execute.base import Event, Executor, executors, prerequisites
from harness.execute.ray_desk import Desk, read_cell
from harness.execute.ray_node import Setup, compute
from harness.storage.store import Store

POLL_S = 0.5
"""Seconds between two questions of the driver for progress."""
CAPACITY_S = 5.0
"""Seconds between two looks at what the cluster has: nodes come and go."""
CONNECT_S = 10
"""Seconds to wait for a cluster to answer; Ray itself would try for minutes."""
MIN_CACHED = 8
"""Finished cells that stay in Ray's object store for further tasks, at least."""


@executors.register("ray")
class Ray(Executor):
    """Tasks on a Ray cluster; a cell that is lost with its node runs again on another."""

    local = False

    class Config(registry.Config):
        """Which cluster, and what a cell occupies of it: one CPU, for it computes in one thread."""

        address: str | None = Field(
            None,
            description="HOST:PORT of a running cluster, `auto` for the one of this machine, "
            "`local` for one of this run's own; if left out, RAY_ADDRESS or whatever is running",
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
            description="GPUs that a cell occupies: at 0.25 four cells share one; if left out, one "
            "if the device is cuda",
        )
        memory: float = Field(
            0.0, ge=0, description="GiB that a cell occupies; not considered if left out"
        )

    config: Config

    def __init__(self, config: Config, conditions: Conditions) -> None:
        super().__init__(config, conditions)
        gpus = config.gpus
        if gpus is None:
            gpus = float(conditions.device.startswith("cuda"))
        self.demand = {"CPU": 1.0, "GPU": gpus, "memory": config.memory * 2**30}
        self.tasks: dict[int, _Task] = {}
        self.events: deque[tuple[int, Event]] = deque()  # of cells that were never sent
        self.numbers = itertools.count()
        self.sent: OrderedDict[str, Any] = OrderedDict()  # key -> reference to a finished cell
        self.polled = float("-inf")
        self.counted = float("-inf")
        self.capacity = 0
        # Set in __enter__: the ray module and references into the cluster.
        self.ray: Any = None
        self.desk: Any = None
        self.compute: Any = None
        self.setup: Any = None
        self.open = contextlib.ExitStack()

    def __enter__(self) -> Ray:
        self.ray = _import_ray()
        with contextlib.ExitStack() as opening:
            # Ray prints what happens to nodes on stdout, which is for answers; events report it.
            devnull = opening.enter_context(open(os.devnull, "w", encoding="utf-8"))
            opening.enter_context(contextlib.redirect_stdout(devnull))
            if not self.ray.is_initialized():
                self._connect()
                opening.callback(self.ray.shutdown)
            self._check_capacity()
            self.desk = self._start_desk()
            self.compute = self._task_options()
            conditions = replace(self.conditions, store=cast(Store, None))
            self.setup = self.ray.put(Setup(conditions, tuple(sys.path)))
            self.open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.open:
            for worker in list(self.tasks):
                self.stop(worker)

    @property
    def size(self) -> int:
        """How many cells run side by side."""
        if self.config.workers:
            return self.config.workers
        if time.monotonic() - self.counted > CAPACITY_S:
            self.counted = time.monotonic()
            alive = [node for node in self.ray.nodes() if node["Alive"]]
            self.capacity = sum(room_on(node["Resources"], self.demand) for node in alive)
        return self.capacity

    def idle(self) -> list[int]:
        """Return the workers that have no cell.

        There are twice as many as there is room for: the next cell waits on its node when one ends.
        """
        window = self.size if self.config.workers else 2 * self.size
        return [worker for worker in range(window) if worker not in self.tasks]

    def start(self, worker: int, cell: Cell) -> None:
        """Send a cell to the cluster, unless another process has finished it or is computing it."""
        store = self.conditions.store
        lock = contextlib.ExitStack()
        taken = lock.enter_context(store.lock(cell.key))
        done = store.done(cell.key)
        if done or not taken:
            lock.close()
            self.events.append((worker, Event("found" if done else "elsewhere")))
            return
        number = next(self.numbers)
        carried = [self._send(key) for key in prerequisites(cell)]
        reference = self.compute.remote(cell, self.setup, self.desk, number, *carried)
        self.tasks[worker] = _Task(cell, reference, number, lock)

    def stop(self, worker: int) -> None:
        """Cancel a worker's task by force."""
        task = self.tasks.pop(worker)
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.cancel(task.reference, force=True)
        task.lock.close()

    def receive(self, timeout: float) -> Iterator[tuple[int, Event]]:
        """Yield events as they come."""
        while self.events:
            yield self.events.popleft()
        yield from self._progress()
        workers = {task.reference: worker for worker, task in self.tasks.items()}
        if not workers:
            time.sleep(timeout)
            return
        ended, running = self.ray.wait(list(workers), timeout=timeout)
        if ended and running:  # ray.wait returns with the first; others may have ended, too
            ended += self.ray.wait(running, num_returns=len(running), timeout=0)[0]
        for reference in ended:
            worker = workers[reference]
            task = self.tasks.pop(worker)
            with task.lock:
                event = self._outcome(task)
            yield worker, event

    # ----------------------------------------------------------------------------------- opening

    def _connect(self) -> None:
        address = self.config.address
        try:
            if address and ":" in address:
                host, port = address.rpartition("/")[2].rsplit(":", 1)
                socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
            self.ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise HarnessError(
                f"cannot connect to a Ray cluster: {error}".partition("\n")[0],
                where=f"--address {address}",
                hint="`ray status` shows whether one is running; RAY_AUTH_MODE must be as it was "
                "where it was started; `--address local` starts one here",
            ) from error

    def _check_capacity(self) -> None:
        """Refuse a demand that no node can meet."""
        if self.size:
            return
        demand = ", ".join(f"{amount:g} {name}" for name, amount in self.demand.items() if amount)
        raise HarnessError(
            f"no node of the Ray cluster has what a cell occupies: {demand}",
            where="--executor ray",
            hint="ask for less with --gpus and --memory, or start a node that has it; if nodes are "
            "started on demand, set with --workers how many cells to send at once",
        )

    def _start_desk(self) -> Any:
        """Start the desk on the driver's node; it survives being killed."""
        node = self.ray.get_runtime_context().get_node_id()
        strategies = self.ray.util.scheduling_strategies
        here = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        desk = self.ray.remote(Desk).options(
            num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1
        )
        return desk.remote(self.conditions.store, Path.cwd())

    def _task_options(self) -> Any:
        """The task as Ray is to run it; retries are the business of ``schedule``."""
        return self.ray.remote(compute).options(
            num_cpus=self.demand["CPU"],
            num_gpus=self.demand["GPU"],
            memory=self.demand["memory"] or None,
            max_retries=0,
            runtime_env={"env_vars": work.ONE_THREAD},
        )

    # ----------------------------------------------------------------------------------- running

    def _send(self, key: str) -> Any:
        """Put a finished cell into Ray's object store, once for all tasks that need it now."""
        if key not in self.sent:
            self.sent[key] = self.ray.put(read_cell(self.conditions.store, key))
        self.sent.move_to_end(key)
        while len(self.sent) > max(MIN_CACHED, len(self.tasks)):
            self.sent.popitem(last=False)
        return self.sent[key]

    def _progress(self) -> Iterator[tuple[int, Event]]:
        """Yield what tasks have reported at the desk."""
        if time.monotonic() - self.polled < POLL_S or not self.tasks:
            return
        self.polled = time.monotonic()
        reported = []
        with contextlib.suppress(self.ray.exceptions.RayError):
            reported = self.ray.get(self.desk.take.remote(), timeout=POLL_S)
        workers = {task.number: worker for worker, task in self.tasks.items()}
        for number, event in reported:
            if number in workers:
                yield workers[number], event

    def _outcome(self, task: _Task) -> Event:
        """How a task has ended; its result is written to the store."""
        try:
            event, written = self.ray.get(task.reference)
        except self.ray.exceptions.RayError as error:
            return _failure(error, self.ray.exceptions)
        if event.kind == "done":
            self.conditions.store.write(task.cell.key, *written)
        return event


@dataclass
class _Task:
    """A cell in the cluster.

    Attributes:
        cell: being computed.
        reference: to the task's result.
        number: by which the task reports events.
        lock: of the cell; held until the task ends, so that no other run computes the cell.
    """

    cell: Cell
    reference: Any
    number: int
    lock: contextlib.ExitStack


def _failure(error: Exception, errors: Any) -> Event:
    """What an error of Ray means for its cell.

    Args:
        error: that getting the task's result has raised.
        errors: the module ``ray.exceptions``.
    """
    if isinstance(error, errors.WorkerCrashedError):
        return Event(
            "failed",
            text="the worker process died (os._exit, a segmentation fault, or out of memory)",
        )
    if isinstance(error, errors.RayTaskError):  # raised before the cell began
        text = f"a node of the cluster cannot run cells: {error.cause}"
        return Event("fatal", text=text.partition("\n")[0])
    if isinstance(error, errors.OutOfMemoryError):
        return Event("lost", text="memory ran short on its node")
    if isinstance(error, errors.TaskUnschedulableError | errors.RuntimeEnvSetupError):
        return Event("fatal", text=f"Ray cannot run cells: {error}".partition("\n")[0])
    # Its node, or the object that held its result, is gone.
    return Event("lost", text=f"lost with its node ({type(error).__name__})")


def room_on(node: dict[str, float], demand: dict[str, float]) -> int:
    """Return how many cells fit on a node.

    Args:
        node: resource -> amount that the node has.
        demand: resource -> amount that a cell occupies; 0 if it does not matter.

    >>> room_on({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25, "memory": 0.0})
    4
    """
    return int(min(node.get(name, 0.0) / amount for name, amount in demand.items() if amount))


def _import_ray() -> ModuleType:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise HarnessError(
            "Ray is not installed", where="--executor ray", hint="pip install 'bioharness[ray]'"
        ) from error
    return ray
