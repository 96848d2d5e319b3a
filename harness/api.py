"""The front door's verbs as plain functions: ``harness.run(suite)``, ``harness.load(suite)``, ``harness.check(suite)``."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console

from harness.cells import collect, estimate
from harness.cells import plan as planning
from harness.cells.plan import Cell, Plan
from harness.cells.results import Results
from harness.cells.run import Conditions, measuring
from harness.data import acquire
from harness.data.acquire import data_root as find_data_root
from harness.environment import made_by
from harness.errors import HarnessError
from harness.execute import display, schedule
from harness.execute.base import Executor, Outcome, executors
from harness.execute.signals import answered
from harness.files import write_atomically
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.few_shot import FewShot, list_of
from harness.publish import sources, submission
from harness.publish.sources import Source
from harness.registry import Config
from harness.report import gate, reference
from harness.storage.store import DEFAULT_STORE, Store
from harness.suite import load as suites
from harness.suite.explain import explain

if TYPE_CHECKING:
    import pandas as pd

REFERENCES = Path("results/reference")


@dataclass(frozen=True)
class Run:
    """A finished run: what it planned, how it went, and what it measured."""

    plan: Plan
    outcome: Outcome
    results: Results


def plan(
    suite: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> Plan:
    """Read a suite file and lay it out as cells.

    Args:
        store: where the outcome of each ``match`` is looked up; what stands behind one that is not there waits.

    Raises:
        HarnessError: a faulty suite, or a dataset that is missing.
    """
    return _laid_out(suite, Store(store), sets, data_root, device)


def _laid_out(
    suite: str | Path,
    store: Store,
    sets: Sequence[str],
    data_root: Path | None,
    device: str,
    *,
    here: bool = True,
) -> Plan:
    loaded = suites.load(suite, sets=sets, data_root=find_data_root(data_root))
    if here:
        check_device(device)
    return planning.make(loaded, device=device, found=store.read)


def run(
    suite: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
    workers: int | None = None,
    batch_size: int = 256,
    console: Console | None = None,
    executor: str = "local",
    options: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
) -> Run:
    """Run a suite: compute the cells that its store does not have, and collect all of them.

    Args:
        suite: path of the YAML file.
        store: folder or URL (``s3://bucket/path``) of finished cells; may be shared with other runs, also at the same time.
        sets: overrides, ``key.key=value``.
        workers: how many cells run side by side; by default one a core.
        batch_size: images pushed through a network at once in measuring; changes no value.
        console: where progress is shown (a rich console); nowhere if left out.
        executor: ``local`` (processes of this machine) or ``ray`` (a cluster).
        options: further keys of the executor's ``Config``, e.g. ``{"address": "auto"}`` of ``ray``.
        time_limit: seconds that one cell may take; one that takes longer is stopped and has failed.

    Raises:
        HarnessError: a faulty suite or option, a dataset that is missing, a disk that is full.
    """
    chosen = executors[executor]
    config = _configured(chosen, {"workers": workers, **(options or {})})
    folder = Store(store)
    layout = _laid_out(suite, folder, sets, data_root, device, here=chosen.local)
    folder.prepare()
    files = {
        key: path
        for entry in layout.suite.protocols
        for key, path in entry.protocol.files().items()
    }
    conditions = Conditions(folder, find_data_root(data_root), device, batch_size, files)
    outcome, (todo, expected) = Outcome(), _todo(layout, folder)
    if total := len(todo) + len(layout.waiting):
        with (
            answered(signal.SIGTERM, signal.default_int_handler),
            chosen(config, conditions) as workplace,
            display.show(console or Console(quiet=True), total, expected, workplace.size) as shown,
        ):
            outcome.add(schedule.run(todo, workplace, folder, shown, time_limit))
            while waiting := len(
                layout.waiting
            ):  # what stands behind a match is known now, but for what stands behind another
                layout = planning.make(layout.suite, device=device, found=folder.read)
                if len(layout.waiting) == waiting:
                    break  # the matches have failed
                todo, expected = _todo(layout, folder, outcome.failed)
                shown.clock.expect(expected)
                outcome.add(schedule.run(todo, workplace, folder, shown, time_limit))
    outcome.found += sorted(
        {cell.key for cell in layout.unique} - {*outcome.done, *outcome.found, *outcome.failed}
    )
    return Run(layout, outcome, collect.collect(layout, folder, outcome.failed))


def _configured(executor: type[Executor], options: Mapping[str, Any]) -> Config:
    try:
        return executor.Config.model_validate(
            {key: value for key, value in options.items() if value is not None}
        )
    except ValidationError as error:
        problem = explain(error, executor.Config, dict(options), ())[0]
        raise HarnessError(
            problem.message, where=f"--executor {executor.kind}", hint=problem.hint or None
        ) from error


def _todo(
    layout: Plan, store: Store, failed: Collection[str] = ()
) -> tuple[list[Cell], dict[str, float]]:
    """Cells that can be run and are not done, in the order to run them in, and the expected seconds of all that is to come."""
    todo = [cell for cell in unfinished(layout, store) if cell.key not in failed]
    expected, _ = estimate.expected_seconds([*todo, *layout.waiting], store)
    return schedule.in_order(todo, expected), expected


def unfinished(layout: Plan, store: Store) -> list[Cell]:
    """The cells of a plan that are to be computed. Damaged ones are set aside; weights that nothing is left to be made from are
    not looked at.
    """
    users = [cell for cell in layout.unique if cell.role != "train"]
    todo = set(store.unfinished(cell.key for cell in users))
    needed = {cell.needs for cell in users if cell.key in todo}
    trainings = [cell.key for cell in layout.unique if cell.role == "train"]
    todo |= set(store.unfinished(trainings, skip_arrays=set(trainings) - needed))
    return [cell for cell in layout.unique if cell.key in todo]


def episodes(
    suite: str | Path,
    folder: str | Path,
    *,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
) -> list[Path]:
    """Write the episodes of a suite's few-shot protocols as JSON lists, one a protocol, ways, shots and seed.

    Args:
        folder: where they go; ``NAME-5w1s-seed0.json`` and so on.

    Returns:
        The files written.

    Raises:
        HarnessError: a faulty suite, a dataset that is missing, or a suite without episodes.
    """
    written: dict[Path, None] = {}
    for entry in suites.load(suite, sets=sets, data_root=find_data_root(data_root)).protocols:
        if not isinstance(entry.protocol, FewShot):
            continue
        data, _ = acquire.load(entry.dataset)
        for seed, setting in itertools.product(entry.seeds, entry.protocol.settings()):
            path = (
                Path(folder) / f"{entry.name}-{setting['ways']}w{setting['shots']}s-seed{seed}.json"
            )
            if path not in written:  # attacked episodes: several attacks on the same ones
                context = Context(measuring(seed), "cpu", 1, silent, entry.protocol.files())
                write_atomically(
                    path, list_of(data, entry.dataset.kind, setting, context).to_json().encode()
                )
                written[path] = None
    if not written:
        raise HarnessError("it has no few-shot protocol, hence no episodes", where=str(suite))
    return list(written)


def results(
    source: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> Results:
    """What was measured, without running anything.

    Args:
        source: a suite file, a store (whose learners go by kind and keys, its protocols by kind), a submission, or a folder of
            results with its ``measured.zip``; the last two also of a commit, ``COMMIT:PATH``.
        store: where the cells of a suite are looked up; like what follows it is of no account for other sources.

    Raises:
        HarnessError: nothing like that can be read there.
    """
    return _results(
        sources.find(source), store=store, sets=sets, data_root=data_root, device=device
    )


def _results(source: Source, **options: Any) -> Results:
    if source.kind == "reference":
        raise HarnessError(
            "a reference holds numbers and verdicts, and no records",
            where=str(source),
            hint="`harness compare` and `harness check` read it",
        )
    if source.kind == "store":
        return collect.stored(Store(source.at))
    if source.kind == "submission":
        return submission.read(source.at).results
    return collect.collect(plan(source.at, **options), Store(options.get("store", DEFAULT_STORE)))


def load(source: str | Path, **options: Any) -> pd.DataFrame:
    """Every record of a source, one a row; keys of settings are columns ``setting_eps`` ...

    Args:
        source, options: as for ``results``.
    """
    from harness.report.frames import frame

    return frame(results(source, **options).records)


def measured(source: str | Path, *, names: bool = True, **options: Any) -> reference.Reference:
    """What was measured, number by number.

    Args:
        source: as for ``results``, or a reference file, which may be of a commit too.
        names: whether learners and protocols go by their names in a suite, if they have any; else by kind, keys and dataset.
        options: as for ``results``.

    Raises:
        HarnessError: nothing was measured, or it is asked for without names what has nothing else.
    """
    found = sources.find(source)
    if found.kind == "reference":
        if not names:
            raise HarnessError(
                "a reference does not say of which kind its protocols are, and a store has no other names",
                where=str(found),
                hint="in the place of the store name its suite, and --store",
            )
        return reference.load(found.at)
    done = _results(found, **options)
    if not names or found.kind == "store":
        done = collect.nameless(done)
    if not done.records:
        raise HarnessError(
            "nothing of it is in the store",
            where=str(found),
            hint=f"`harness run {found}` makes it",
        )
    return reference.of_results(done, learner_configs(done))


def resolved(
    suite: str | Path, *, sets: Sequence[str] = (), data_root: Path | None = None
) -> dict[str, Any]:
    """A suite with all that it extends, its defaults and every default of its kinds written out."""
    loaded = suites.load(suite, sets=sets, data_root=find_data_root(data_root))
    return {
        "name": loaded.name,
        "budget": loaded.budget.images,
        "snapshots": loaded.snapshots,
        "learners": {
            e.name: {
                "kind": e.cls.kind,
                **e.settled,
                **({"match": asdict(e.match)} if e.match else {}),
            }
            for e in loaded.learners
        },
        "protocols": {
            e.name: {
                "kind": e.protocol.kind,
                **e.protocol.config.model_dump(mode="json"),
                "seeds": e.seeds,
                "learners": [learner.name for learner in e.learners],
            }
            for e in loaded.protocols
        },
        **{
            key: [spec.model_dump(mode="json") for spec in getattr(loaded, key)]
            for key in ("tables", "published", "figures", "claims")
        },
    }


@dataclass(frozen=True)
class Check:
    """A finished check: the run, what it measured as a reference, and the report (None where there was nothing to hold it to)."""

    run: Run
    measured: reference.Reference
    report: gate.Report | None


def check(
    suite: str | Path,
    *,
    against: str | Path | None = None,
    exact: bool = False,
    update: bool = False,
    limits: gate.Limits | None = None,
    undecided: str = "auto",
    rises: bool = True,
    sets: Sequence[str] = (),
    **options: Any,
) -> Check:
    """Run a suite and hold it against a reference.

    Args:
        against: the reference; ``results/reference/NAME.json`` if left out.
        exact: ask for equality, verdict by verdict.
        update: write what was measured as the new reference (the report then says what has changed).
        limits, undecided, rises: see ``gate.statistical``.
        sets, options: as for ``run``.

    Raises:
        HarnessError: no reference, a damaged one, or equality asked for in another environment.
    """
    layout = plan(
        suite,
        sets=sets,
        **{key: options[key] for key in ("data_root", "device", "store") if key in options},
    )
    path = Path(against) if against else reference_of(layout.suite.name)
    before = reference.load(path) if path.exists() or not update else None
    done = run(suite, sets=sets, **options)
    command = " ".join(
        ["harness check", str(suite), *(f"--set {each}" for each in sets), "--update"]
    )
    data = {record.dataset: record.dataset_hash for record in done.results.records}
    now = reference.of_results(
        done.results,
        learner_configs(done.results),
        made_by(command, data, options.get("device", "cpu")),
        before.keys if before and not update else None,
    )
    if update and not done.outcome.failed:
        reference.save(now, path)
    if before is None:
        return Check(done, now, None)
    failures = {(learner, protocol): why for learner, protocol, _, why in done.results.failures}
    judge = (
        gate.exact(before, now, failures)
        if exact
        else gate.statistical(
            before, now, limits, undecided=undecided, rises=rises, failures=failures
        )
    )
    return Check(done, now, judge)


def reference_of(name: str) -> Path:
    """Where the reference of a suite lies."""
    return REFERENCES / f"{name}.json"


def learner_configs(results: Results) -> dict[str, dict[str, Any]]:
    """Learner -> its kind and its whole config."""
    return {
        name: {"kind": results.kinds[name], "config": results.configs[name]}
        for name in results.learners
    }


def check_device(device: str) -> None:
    """Refuse a device that is not there.

    Raises:
        HarnessError: with the devices that are.
    """
    if device == "cpu":
        return
    import torch

    known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if device not in (*known, *(["cuda"] if len(known) > 1 else [])):
        raise HarnessError(
            f"there is no device {device!r}",
            where="--device",
            hint=f"this machine has: {', '.join(known)}",
        )
