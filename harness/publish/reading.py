"""Read results of a suite, a store, a submission or a reference; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.cells import collect, stored
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import RunOptions
from harness.publish import sources, submission
from harness.publish.sources import Source
from harness.report import reference, reference_file
from harness.report.checking import learner_configs
from harness.storage.store import Store


def results(source: str | Path, options: RunOptions, *, sets: Sequence[str] = ()) -> Results:
    """Read the results of a source.

    Args:
        source: see ``harness.publish.sources``; a reference has no results.
        options: for a suite, where its cells are looked up; ignored for other sources.
        sets: overrides of a suite, ``key.key=value``; ignored for other sources.

    Raises:
        HarnessError: the source cannot be read, or is a reference.
    """
    return _results(sources.find(source), options, sets)


def measured(
    source: str | Path,
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
    origin = sources.find(source)
    if origin.kind == "reference":
        if not names:
            raise HarnessError(
                "a store can only be compared by kinds, and a reference does not record the "
                "kinds of its protocols",
                where=str(origin),
                hint="name the suite instead of the store, and give the store with --store",
            )
        return reference_file.load(origin.file)
    read = _results(origin, options, sets)
    if not names or origin.kind == "store":
        read = stored.nameless(read)
    if not read.records:
        raise HarnessError(
            "the store has no results of it",
            where=str(origin),
            hint=f"`harness run {origin}` computes them",
        )
    return reference.of_results(read, learner_configs(read))


def _results(source: Source, options: RunOptions, sets: Sequence[str]) -> Results:
    if source.kind == "reference":
        raise HarnessError(
            "a reference holds numbers and verdicts, but no records",
            where=str(source),
            hint="read it with `harness compare` or `harness check`",
        )
    if source.kind == "store":
        return stored.stored(Store(str(source)))
    if source.kind == "submission":
        return submission.read(source.file).results
    layout = session.plan(str(source), options, sets=sets)
    return collect.collect(layout, options.open_store())
