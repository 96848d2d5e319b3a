"""Submissions: what a store holds of a suite, in one zip file, ready for a leaderboard.

``pack`` makes one from a plan and its store. ``read`` refuses one that is damaged or does not
measure what it claims to. ``harness.publish.contents`` describes the layout, and
``harness.publish.checks`` the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.cells.collect import gather
from harness.cells.outline import Outline
from harness.cells.plan import Plan
from harness.cells.results import Results
from harness.commits import File
from harness.errors import HarnessError
from harness.publish import contents
from harness.publish.checks import check_identities
from harness.publish.contents import Cells, Contents
from harness.publish.manifest import FORMAT, VERSION, CellName, Manifest
from harness.publish.recount import recounted
from harness.storage.store import CellResult, Store
from harness.suite.tree import resolved

MEASURED = "measured.zip"
"""Name of the submission that is kept in a folder of results, beside the tables made from it."""


@dataclass(frozen=True)
class Submission:
    """A submission that has been read and checked.

    Attributes:
        manifest: outline of the suite and names of the cells.
        results: what was measured.
    """

    manifest: Manifest
    results: Results


def pack(plan: Plan, store: Store, suite_text: str, path: Path) -> Manifest:
    """Write what a store holds of a suite into one file. The same store gives the same bytes.

    Args:
        plan: the suite as cells.
        store: where the cells are.
        suite_text: the suite as YAML.
        path: the file to write.

    Returns:
        The manifest of the file.

    Raises:
        HarnessError: a cell is missing or damaged.
    """
    results = dict(store.results(cell.key for cell in plan.unique))
    _check_complete(plan, store, results)

    def load_arrays(key: str, name: str) -> dict[str, np.ndarray]:
        return store.arrays(key, name) if name in store.members(key) else {}

    return write(plan, Cells(results, load_arrays), suite_text, path)


def write(plan: Plan, cells: Cells, suite_text: str, path: Path) -> Manifest:
    """Write the cells of a plan into one file, wherever they are read from.

    Args:
        plan: the suite as cells; all of them are finished.
        cells: their content.
        suite_text: the suite as YAML.
        path: the file to write.
    """
    return contents.write(path, Contents(_manifest(plan), suite_text, cells))


def suite_text(path: Path, sets: Sequence[str] = ()) -> str:
    """Return a suite file with everything that it extends, as YAML.

    Args:
        path: the suite.
        sets: overrides, ``key.key=value``.
    """
    import yaml

    tree = resolved(path, sets).value
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=130)


def read(path: File) -> Submission:
    """Read a submission, on disk or in a commit, and check all of it. Nothing is unpacked to disk.

    Raises:
        HarnessError: it is not a submission, is damaged, or does not measure what it claims to.
    """
    try:
        loaded = contents.load(path)
        manifest, cells = loaded.manifest, loaded.cells
        check_identities(manifest, cells)
        results = recounted(gather(manifest.outline(), manifest.cells, cells))
    except HarnessError as error:
        raise HarnessError(
            f"not accepted as a submission: {error.message}",
            where=str(path),
            hint="`harness submit SUITE.yaml` makes one",
        ) from None
    return Submission(manifest, results)


def _check_complete(plan: Plan, store: Store, results: dict[str, CellResult]) -> None:
    cells = [*plan.unique, *plan.waiting]
    missing = [cell for cell in cells if cell.behind or cell.key not in results]
    if missing:
        raise HarnessError(
            f"{len(missing)} of {len(cells)} cells are not in {store.root}, "
            f"such as: {missing[0].title}",
            hint="`harness run` computes them",
        )


def _manifest(plan: Plan) -> Manifest:
    outline = Outline.of(plan.suite)
    # One cell may have several names, but none twice.
    cells = {
        (cell.key, cell.learner, cell.protocol): CellName(
            key=cell.key, role=cell.role, learner=cell.learner, protocol=cell.protocol
        )
        for cell in plan.cells
    }
    return Manifest(
        format=FORMAT,
        version=VERSION,
        **asdict(outline),
        tables=plan.suite.tables,
        published=plan.suite.published,
        cells=list(cells.values()),
        files={},
    )
