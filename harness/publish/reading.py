"""Read results of a suite, a run, a store, a submission or a reference; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.cells import collect, stored
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import Run, RunOptions
from harness.publish import sources, submission
from harness.report import reference, reference_file
from harness.report.checking import learner_configs
from harness.storage.store import Store
from harness.suite.load import SuiteLike
from harness.suite.model import Suite
from harness.suite.specs.figures import FigureSpec
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

Readable = SuiteLike | Run | Results
"""What results are read from: a name (see ``harness.publish.sources``), a suite, or what ran."""


@dataclass(frozen=True)
class Reading:
    """Results, and what its suite asks to show of them.

    Attributes:
        results: everything measured.
        tables, published, figures: as in the suite; empty where that is not known.
    """

    results: Results
    tables: Sequence[TableSpec] = ()
    published: Sequence[PublishedSpec] = ()
    figures: Sequence[FigureSpec] = ()


def results(source: Readable, options: RunOptions, *, sets: Sequence[str] = ()) -> Results:
    """Read the results of a source.

    Args:
        source: see ``harness.publish.sources``; a reference has no results.
        options: for a suite, where its cells are looked up; ignored for other sources.
        sets: overrides of a suite, ``key.key=value``; ignored for other sources.

    Raises:
        HarnessError: the source cannot be read, or is a reference.
    """
    return read(source, options, sets=sets).results


def read(source: Readable, options: RunOptions, *, sets: Sequence[str] = ()) -> Reading:
    """Read the results of a source with the tables and figures that its suite asks for.

    Args:
        source: as for ``results``, like the remaining arguments.

    Raises:
        HarnessError: the source cannot be read, or is a reference.
    """
    if isinstance(source, Results):
        return Reading(source)
    if isinstance(source, Run):
        return _of_suite(source.plan.suite, source.results)
    origin = None if isinstance(source, Mapping) else sources.find(source)
    if origin is None or origin.kind == "suite":
        layout = session.plan(source, options, sets=sets)
        return _of_suite(layout.suite, collect.collect(layout, options.open_store()))
    if origin.kind == "store":
        return Reading(stored.stored(Store(str(origin))))
    if origin.kind == "submission":
        packed = submission.read(origin.file)
        return Reading(packed.results, packed.manifest.tables, packed.manifest.published)
    raise HarnessError(
        "a reference holds numbers and verdicts, but no records",
        where=str(origin),
        hint="read it with `harness compare` or `harness check`",
    )


def _of_suite(suite: Suite, measured: Results) -> Reading:
    return Reading(measured, suite.tables, suite.published, suite.figures)


def measured(
    source: Readable,
    options: RunOptions,
    *,
    sets: Sequence[str] = (),
    names: bool = True,
) -> reference.Reference:
    """Read the numbers of a source, in the form in which they can be compared.

    Args:
        source: see ``harness.publish.sources``.
        options: as for ``results``.
        sets: as for ``results``.
        names: call learners and protocols by their names in a suite, where they have any;
            if False, by kind, keys and dataset.

    Raises:
        HarnessError: the source cannot be read or is empty, or a reference is to be read
            without names.
    """
    origin = sources.find(source) if isinstance(source, str | Path) else None
    if origin and origin.kind == "reference":
        if not names:
            raise HarnessError(
                "a store can only be compared by kinds, and a reference does not record the "
                "kinds of its protocols",
                where=str(origin),
                hint="name the suite instead of the store, and give the store with --store",
            )
        return reference_file.load(origin.file)
    found = results(source, options, sets=sets)
    if not names or (origin and origin.kind == "store"):
        found = stored.nameless(found)
    if not found.records:
        name = str(origin or found.suite)
        raise HarnessError(
            "the store has no results of it", where=name, hint=f"`harness run {name}` computes them"
        )
    return reference.of_results(found, learner_configs(found))
