"""What exports write: the numbers of each learner, and where they come from."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Record
from harness.report.averages import Average, averages
from harness.report.formats import is_bracket, is_nominal

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def by_learner(results: Results) -> dict[str, list[Average]]:
    """The finite numbers of each learner, in the order of the suite.

    Brackets are left out, because their ends are numbers of their own, and so are names.

    Raises:
        HarnessError: There are none, or two of them would have one name.
    """
    numbers: dict[str, list[Average]] = {learner: [] for learner in results.learners}
    for number in averages(results):
        metric = number.first.metric
        if math.isfinite(number.value) and not is_nominal(metric) and not is_bracket(metric):
            numbers.setdefault(number.first.learner, []).append(number)
    measured = {learner: own for learner, own in numbers.items() if own}
    if not measured:
        raise HarnessError(
            "there are no results of it to export",
            where=results.suite,
            hint="`harness run SUITE.yaml` computes them; --store names their store",
        )
    for learner, own in measured.items():
        for where, times in Counter(number.where for number in own).items():
            if times > 1:
                raise HarnessError(
                    f"{times} numbers of {learner} are all called {where!r}",
                    where=results.suite,
                    hint="export a suite, in which they have names of their own",
                )
    return measured


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A name for files and folders for each name.

    >>> slugs(["bio", "mlp hidden=100"])
    {'bio': 'bio', 'mlp hidden=100': 'mlp_hidden_100'}

    Raises:
        HarnessError: Two names would share one.
    """
    found = {name: slug(name) for name in names}
    for name, own in found.items():
        rivals = [other for other, same in found.items() if same == own and other != name]
        if rivals:
            raise HarnessError(f"{name!r} and {rivals[0]!r} would both be called {own!r}")
    return found


def slug(text: str) -> str:
    """A text in characters that every file system and tracker takes."""
    return _UNSAFE.sub("_", text).strip("._") or "_"


# ------------------------------------------------------------------------------------------ origin


@dataclass(frozen=True)
class Origin:
    """Where numbers come from, as far as their records say.

    Attributes:
        commits: That computed them.
        digest: Of the keys of their cells: it changes with whatever can change a number.
        measured: When the last of them was, ISO 8601.
        datasets: Name -> hash of the content.
        versions: Library -> release; one that differs between numbers is left out.
    """

    commits: list[str]
    digest: str
    measured: str
    datasets: dict[str, str]
    versions: dict[str, str]

    @property
    def seconds(self) -> float:
        """The time of the last measurement, since 1970.

        Raises:
            HarnessError: It is no date.
        """
        try:
            return datetime.fromisoformat(self.measured).timestamp()
        except ValueError:
            raise HarnessError(
                f"a measurement is dated {self.measured!r}",
                hint="the file that it was read from is damaged",
            ) from None


def origin_of(numbers: Sequence[Average]) -> Origin:
    """Collect the origin of some numbers."""
    records = [record for number in numbers for record in number.records]
    cells = "".join(sorted({record.cell for record in records}))
    return Origin(
        commits=sorted({record.git_commit for record in records if record.git_commit}),
        digest=hashlib.sha256(cells.encode()).hexdigest()[:16],
        measured=max(record.created for record in records),
        datasets={record.dataset: record.dataset_hash for record in records},
        versions=_common_versions(records),
    )


def _common_versions(records: Sequence[Record]) -> dict[str, str]:
    first = records[0].versions
    return {
        name: release
        for name, release in first.items()
        if all(record.versions.get(name) == release for record in records)
    }


def config_of(results: Results, learner: str) -> dict[str, Any]:
    """The kind of a learner and its keys, flat; empty if they are not known."""
    flat: dict[str, Any] = {}
    if learner in results.kinds:
        flat["kind"] = results.kinds[learner]
    for key, value in results.configs.get(learner, {}).items():
        is_plain = value is None or isinstance(value, str | int | float)
        flat[key] = value if is_plain else json.dumps(value, sort_keys=True, default=str)
    return flat
