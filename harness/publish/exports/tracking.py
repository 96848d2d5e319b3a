"""What experiment trackers get: tags, and each metric along its budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import budgets
from harness.cells.results import Results
from harness.publish.exports.numbers import Origin, slug
from harness.report.averages import Average
from harness.report.formats import captions


@dataclass(frozen=True)
class Series:
    """One metric of a learner, along budgets where it has several.

    Attributes:
        name: Its path, e.g. ``"robust/pgd/accuracy"``.
        axis: The key of the budget, e.g. ``"eps"``; empty if there is one number only.
        points: Budget and number, by ascending budget; None without an axis.
    """

    name: str
    axis: str
    points: list[tuple[float | None, Average]]


def series_of(numbers: Sequence[Average]) -> list[Series]:
    """Sort the numbers of a learner into series."""
    found: dict[str, Series] = {}
    for number in numbers:
        axis = next((key for key in budgets.KEYS if key in number.at), "")
        rest = {key: value for key, value in number.at.items() if key != axis}
        labels = captions(list(rest), list(rest.values()))
        path = [number.first.protocol, *filter(None, labels), number.first.metric]
        name = "/".join(map(slug, path))
        series = found.setdefault(name, Series(name, axis, []))
        series.points.append((number.at.get(axis), number))
    for series in found.values():
        series.points.sort(key=lambda point: point[0] or 0.0)
    return list(found.values())


def tags_of(results: Results, origin: Origin) -> dict[str, str]:
    """Where the numbers of a learner come from, as tags; what is not known is left out."""
    tags = {
        "suite": results.suite,
        "suite_hash": origin.digest,
        "git_commit": ", ".join(origin.commits),
        "measured": origin.measured,
        **{f"data.{name}": digest for name, digest in origin.datasets.items()},
        **{f"version.{name}": release for name, release in origin.versions.items()},
    }
    return {key: value for key, value in tags.items() if value}


def values_of(series: Series) -> Iterator[tuple[int, dict[str, float]]]:
    """The step of each point of a series, and the values that are logged there."""
    parent = series.name.rpartition("/")[0]
    for step, (budget, number) in enumerate(series.points):
        values = {series.name: number.value, f"{series.name}.n": float(number.first.n)}
        if number.low is not None and number.high is not None:
            values |= {f"{series.name}.low": number.low, f"{series.name}.high": number.high}
        if budget is not None:
            values[f"{parent}/{series.axis}"] = budget
        yield step, values
