"""The commands of the terminal as Python functions, such as ``harness.run(suite)``.

Options of a run are keyword arguments here; below this module they travel as one ``RunOptions``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cells import collect
from harness.cells.plan import Plan
from harness.cells.results import Results
from harness.cells.run import measuring
from harness.data import acquire, stream_files, testbeds
from harness.errors import HarnessError
from harness.execute import display, session
from harness.execute.session import Run, RunOptions
from harness.files import write_text
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.continual import Continual
from harness.protocols.continual_sources import stream_of
from harness.protocols.episode_protocol import EpisodeProtocol
from harness.protocols.episode_verdicts import list_of
from harness.publish import reading
from harness.publish.reading import Readable
from harness.report import checking, saved_sheets
from harness.report.checking import Check
from harness.report.findings import Limits
from harness.report.reference import Reference
from harness.storage.location import DEFAULT_STORE
from harness.storage.store import Store
from harness.suite import load as suites
from harness.suite.expand import expand
from harness.suite.load import SuiteLike
from harness.suite.model import ProtocolEntry

if TYPE_CHECKING:
    import pandas as pd


def plan(
    suite: SuiteLike,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> Plan:
    """Read a suite file and lay it out as cells.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        store: where the outcome of each ``match`` is looked up; cells behind a match that is not
            in the store wait.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: torch device name.

    Raises:
        HarnessError: a faulty suite, a missing dataset or an unknown device.
    """
    options = RunOptions(store=store, data_root=data_root, device=device)
    return session.plan(suite, options, sets=sets)


def run(
    suite: SuiteLike,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
    workers: int | None = None,
    batch_size: int = 256,
    progress: bool = False,
    executor: str = "local",
    options: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
) -> Run:
    """Compute the cells of a suite that its store lacks, and collect the results of all.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        store: folder or URL (``s3://bucket/path``) of finished cells; several runs may share it
            at the same time.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: torch device name.
        workers: number of cells computed side by side; one per core if None.
        batch_size: images pushed through a network at once when measuring; changes no result.
        progress: show bars on a terminal, elsewhere a line for each finished cell.
        executor: ``local`` (processes of this machine) or ``ray`` (a cluster).
        options: further keys of the executor's ``Config``, e.g. ``{"address": "auto"}`` of ``ray``.
        time_limit: seconds that one cell may take; a cell that takes longer has failed.

    Raises:
        HarnessError: a faulty suite or option, a missing dataset, a full disk.
    """
    run_options = _run_options(
        store=store,
        data_root=data_root,
        device=device,
        workers=workers,
        batch_size=batch_size,
        executor=executor,
        options=options,
        time_limit=time_limit,
    )
    return session.run(suite, run_options, sets=sets, console=display.console(progress))


def _run_options(*, options: Mapping[str, Any] | None = None, **fields: Any) -> RunOptions:
    return RunOptions(executor_options=options or {}, **fields)


def results(
    source: Readable,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> Results:
    """Read what was measured, without running anything.

    Args:
        source: a suite (its file or a mapping), a finished run, a store (learners are called by
            kind and keys, protocols by kind), a submission, or a folder of results with its
            ``measured.zip``. The last two can be of a commit, ``COMMIT:PATH``.
        store: where the cells of a suite are looked up.
        sets: overrides of a suite, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: torch device that a suite was run on.

    All arguments but the first are ignored for sources that are not suites.

    Raises:
        HarnessError: the source cannot be read.
    """
    options = RunOptions(store=store, data_root=data_root, device=device)
    return reading.results(source, options, sets=sets)


def load(source: Readable, **options: Any) -> pd.DataFrame:
    """Read the records of a source as a frame, one per row.

    Keys of settings are columns ``setting_eps`` ...; words are categories.

    Args:
        source: as for ``results``.
        options: keyword arguments of ``results``.
    """
    from harness.report.frames import typed

    return typed(results(source, **options).records)


def measured(
    source: Readable,
    *,
    names: bool = True,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> Reference:
    """Read the numbers of a source, in the form in which they can be compared.

    Args:
        source: as for ``results``, or a reference file, which can be of a commit too.
        names: call learners and protocols by their names in a suite, where they have any;
            if False, by kind, keys and dataset.
        store: as for ``results``, like the remaining arguments.

    Raises:
        HarnessError: the source cannot be read or is empty, or a reference is to be read
            without names.
    """
    options = RunOptions(store=store, data_root=data_root, device=device)
    return reading.measured(source, options, sets=sets, names=names)


def check(
    suite: SuiteLike,
    *,
    against: str | Path | None = None,
    exact: bool = False,
    update: bool = False,
    limits: Limits | None = None,
    undecided: str = "auto",
    rises: bool = True,
    sets: Sequence[str] = (),
    progress: bool = False,
    **options: Any,
) -> Check:
    """Run a suite, and judge its numbers by a reference and by the bars that it expects.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        against: the reference; ``results/reference/NAME.json`` if None, which a suite with bars
            may lack.
        exact: require equal verdicts, sample by sample.
        update: write the numbers as the new reference; the report then lists the changes.
        limits: see ``gate.statistical``.
        undecided: see ``gate.statistical``.
        rises: see ``gate.statistical``.
        sets: overrides, ``key.key=value``.
        progress: show it as ``run`` does.
        options: further keyword arguments of ``run``: ``store``, ``device``, ``workers`` ...

    Raises:
        HarnessError: no reference, a damaged one, or ``exact`` in another environment.
    """
    return checking.check(
        suite,
        _run_options(**options),
        sets=sets,
        against=against,
        exact=exact,
        update=update,
        limits=limits,
        undecided=undecided,
        rises=rises,
        console=display.console(progress),
    )


def resolved(
    suite: SuiteLike, *, sets: Sequence[str] = (), data_root: Path | None = None
) -> dict[str, Any]:
    """Write a suite out: all that it extends, and every default of every entry.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.

    Raises:
        HarnessError: a faulty suite, or a missing dataset.
    """
    return expand(suites.load(suite, sets=sets, data_root=acquire.data_root(data_root)))


def episodes(
    suite: SuiteLike,
    folder: str | Path,
    *,
    testbed: Path | None = None,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
) -> list[Path]:
    """Write the episodes of a suite's few-shot protocols as JSON lists.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        folder: where the lists go, one per protocol, ways, shots and seed:
            ``NAME-5w1s-seed0.json`` ...
        testbed: a CSV of easyfsl (see ``harness.data.testbeds``), whose tasks on the data of each
            protocol are written instead, as ``NAME-TESTBED.json``.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.

    Returns:
        The files written.

    Raises:
        HarnessError: a faulty suite, a missing dataset, or a suite without episodes.
    """
    loaded = suites.load(suite, sets=sets, data_root=acquire.data_root(data_root))
    written: list[Path] = []
    for entry in loaded.protocols:
        if isinstance(entry.protocol, EpisodeProtocol):
            if testbed is None:
                written += _write_episodes(entry, entry.protocol, Path(folder))
            else:
                written.append(_import_testbed(entry, entry.protocol, testbed, Path(folder)))
    if not written:
        raise HarnessError(
            "the suite has no few-shot protocol, hence no episodes", where=str(suite)
        )
    return written


def streams(
    suite: SuiteLike,
    folder: str | Path,
    *,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
) -> list[Path]:
    """Write the streams of a suite's continual protocols as JSON files.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        folder: where the files go, one for each protocol and order: ``NAME-order3.json``.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.

    Raises:
        HarnessError: a faulty suite, a missing dataset, or a suite without streams.
    """
    loaded = suites.load(suite, sets=sets, data_root=acquire.data_root(data_root))
    written: list[Path] = []
    for entry in loaded.protocols:
        if isinstance(entry.protocol, Continual):
            written += _write_streams(entry, entry.protocol, Path(folder))
    if not written:
        raise HarnessError("the suite has no continual protocol", where=str(suite))
    return written


def saved_images(
    suite: SuiteLike,
    folder: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    device: str = "cpu",
) -> list[Path]:
    """Write the adversarial images that a suite's attacks with ``save`` kept.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        folder: where the files go: for each learner, attack and seed an ``.npz`` of all budgets,
            and for each budget a ``.png`` of clean image, perturbation and adversarial image.
        store: folder or URL of finished cells.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: the device that the cells were computed on.

    Returns:
        The files written.

    Raises:
        HarnessError: a faulty suite, no attack of it has ``save``, or its cells are not in the
            store.
    """
    planned = plan(suite, store=store, sets=sets, data_root=data_root, device=device)
    settings = [cell.identity["setting"] for cell in planned.unique if cell.role == "measure"]
    if not any("save" in setting.get("config", {}) for setting in settings):
        raise HarnessError(
            "no attack of the suite keeps images",
            where=planned.suite.name,
            hint="write `save: 16` on an attack and run the suite; or draw a few that are attacked "
            "again: `harness examples`",
        )
    written = saved_sheets.write_all(collect.collect(planned, Store(store)), Path(folder))
    if not written:
        raise HarnessError(
            "the store has none of the cells that keep images",
            where=str(store),
            hint="run the suite first",
        )
    return written


def _import_testbed(
    entry: ProtocolEntry, protocol: EpisodeProtocol, testbed: Path, folder: Path
) -> Path:
    data, _ = acquire.load(entry.dataset)
    setting = next(protocol.episode_settings())
    imported = testbeds.read(
        testbed,
        data,
        dataset=entry.dataset.kind,
        splitting=setting.splitting,
        split=setting.split,
    )
    path = folder / f"{entry.name}-{testbed.stem}.json"
    write_text(path, imported.to_json())
    return path


def _write_episodes(entry: ProtocolEntry, protocol: EpisodeProtocol, folder: Path) -> list[Path]:
    data, _ = acquire.load(entry.dataset)
    written: list[Path] = []
    for seed, setting in itertools.product(entry.seeds, protocol.episode_settings()):
        path = folder / f"{entry.name}-{setting.label}-seed{seed}.json"
        context = Context(measuring(seed), "cpu", 1, silent, protocol.files())
        episode_list = list_of(data, entry.dataset.kind, setting, context)
        write_text(path, episode_list.to_json())
        written.append(path)
    return written


def _write_streams(entry: ProtocolEntry, protocol: Continual, folder: Path) -> list[Path]:
    data, written = acquire.load(entry.dataset)[0], list[Path]()
    for source in protocol.sources:
        stream = stream_of(source, data, protocol.tested)
        content = stream_files.described(stream, data, protocol.tested, entry.dataset.kind)
        written.append(folder / f"{entry.name}-order{stream.order}.json")
        write_text(written[-1], json.dumps(content, ensure_ascii=False) + "\n")
    return written
