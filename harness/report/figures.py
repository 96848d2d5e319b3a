"""Figures of a suite: robustness curves and episode accuracies, as PDF and PNG with bytes that repeat."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.files import write_atomically
from harness.records import Record
from harness.report import biology_figures
from harness.report.aggregate import Aggregate, aggregate
from harness.report.derive import ATTACKED, with_worst_case
from harness.report.formats import CLEAN, is_percent, label, metric_name, reach
from harness.report.pivot import Grid, Labels, distinguish, group, numbers_of, ordered
from harness.report.styles import COLOURS, DASHES, MARKERS, STYLE, style_of
from harness.suite.specs.figures import FigureSpec, NumberSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write_figures(results: Results, folder: Path, specs: Sequence[FigureSpec] = ()) -> list[Path]:
    """The figures of each protocol that has records and a kind with figures, and those asked for.

    Returns:
        the files written, two a figure.
    """
    import matplotlib

    results = with_worst_case(replace(results, verdicts=functools.cache(results.verdicts)))
    makers = {
        **dict.fromkeys(ATTACKED, {"": robustness_curves}),
        "few_shot": {"": episode_accuracies},
        "biology": biology_figures.MAKERS,
        "corruption": {"": severity_curves},
        "low_data": {"": learning_curve},
    }
    written = []
    with matplotlib.rc_context(STYLE):
        for protocol, kind in results.protocols.items():
            for suffix, make in makers.get(kind, {}).items():
                figure = make(results, protocol)
                if figure is not None:
                    written += _save(figure, Path(folder) / f"{protocol}{suffix}")
        for spec in specs:
            written += _save(tradeoff(results, spec), Path(folder) / spec.name)
    return written


def _save(figure: Figure, stem: Path) -> Iterator[Path]:
    for form, metadata in (
        ("pdf", {"CreationDate": None, "Creator": None, "Producer": None}),
        ("png", {"Software": None}),
    ):
        out = io.BytesIO()
        figure.savefig(out, format=form, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{form}")
        write_atomically(path, out.getvalue())
        yield path


def _grid(
    results: Results, protocol: str, columns: tuple[str, ...]
) -> tuple[tuple[str, ...], Grid]:
    records = [r for r in results.records if r.protocol == protocol and r.metric == "accuracy"]
    keys, records = distinguish(records, ("learner",), columns)
    return keys, group(records, ("learner",), keys)


def _panels(count: int, width: float, height: float, legend: float) -> tuple[Figure, list[Axes]]:
    """Panels in rows of at most three, over a strip of ``legend`` inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(count, 3) if count != 4 else 2
    down = -(-count // across)
    figure = Figure(
        figsize=(width * across + 0.4, height * down + legend + 0.3), layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(
        rect=(0, legend / figure.get_figheight(), 1, 1 - legend / figure.get_figheight())
    )
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes[:count])


# --------------------------------------------------------------------------------------------------- trade-offs


def tradeoff(results: Results, spec: FigureSpec) -> Figure:
    """Points with 95 % intervals both ways; each bears its learner's name."""
    figure, (axis,) = _panels(1, 5.2, 3.4, 0.2 * -(-len(spec.lines) // 3) + 0.12)
    for place, (name, learners) in enumerate(spec.lines.items()):
        points = [
            (learner, x, y)
            for learner in learners
            if (x := _number(results, spec.x, learner)) and (y := _number(results, spec.y, learner))
        ]
        if points:
            style = {"color": COLOURS, "marker": MARKERS, "linestyle": DASHES}
            _line(
                axis,
                name,
                points,
                {key: values[place % len(values)] for key, values in style.items()},
            )
    for number, named, scale in (
        (spec.x, axis.set_xlabel, axis.set_xscale),
        (spec.y, axis.set_ylabel, axis.set_yscale),
    ):
        setting = " ".join(filter(None, (label(k, v) for k, v in number.setting.items())))
        measured = ", ".join(filter(None, [metric_name(number.metric), setting]))
        named(number.config.replace("_", " ") if number.config else measured)
        if number.log:
            scale("log")
    axis.set_title(spec.title, loc="left")
    _legend(figure, axis, 3)
    return figure


def _line(
    axis: Axes, name: str, points: list[tuple[str, Aggregate, Aggregate]], style: dict[str, str]
) -> None:
    colour = style["color"]
    x, y = ([p[i].value for p in points] for i in (1, 2))
    for learner, across, up in points:
        if up.low is not None:
            axis.plot([across.value] * 2, [up.low, up.high], color=colour, linewidth=0.8)
        if across.low is not None:
            axis.plot([across.low, across.high], [up.value] * 2, color=colour, linewidth=0.8)
        axis.annotate(
            learner,
            (across.value, up.value),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=6.5,
            color=colour,
        )
    axis.plot(x, y, label=name, **style)


def _number(results: Results, spec: NumberSpec, learner: str) -> Aggregate | None:
    """A learner's number for an axis, percentages as such; None where it was not measured."""
    if spec.config is not None:
        value = results.configs.get(learner, {}).get(spec.config)
        values = (
            list(value.values()) if isinstance(value, dict) else [] if value is None else [value]
        )  # one a choice of `match`
        return Aggregate(float(np.mean(values)), None, None) if values else None
    found = numbers_of(results, spec.protocol, spec.metric, spec.setting, learner)
    if not found:
        return None
    mean, scale = aggregate(found, results.verdicts), 100 if is_percent(spec.metric) else 1
    return Aggregate(*(None if v is None else scale * v for v in (mean.value, mean.low, mean.high)))


# ------------------------------------------------------------- curves: attack sweeps, corruptions, labelled images

Curves = dict[tuple[Labels, Labels], dict[float, list[Record]]]
"""(learner, panel) -> place along the axis -> records, one a seed."""


Panels = list[tuple[str, Labels]]
"""Title and panel, in reading order."""


def robustness_curves(results: Results, protocol: str) -> Figure | None:
    """Accuracy against eps: a panel an attack, a line a learner, 95 % bands."""
    return _curves(results, *robustness(results, protocol), "eps")


def robustness(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracies along eps, by attack."""
    keys, grid = _grid(results, protocol, ("norm", "attack", "eps"))
    curves, keys = _along("eps", keys, grid)
    panels = []
    for attack in ordered({panel for _, panel in curves}, keys, results.learners):
        names = [label(k, v) for k, v in zip(keys, attack, strict=True)]
        panels.append(
            (" ".join(filter(None, [*names[1:], f"({names[0]})" if names[0] else ""])), attack)
        )
    return curves, panels


def severity_curves(results: Results, protocol: str) -> Figure | None:
    """Accuracy against severity, from clean images (0): a panel a corruption and their mean, a line a learner, 95 % bands."""
    return _curves(results, *severities(results, protocol), "severity")


def severities(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracies along severity, by corruption."""
    keys, grid = _grid(results, protocol, ("corruption", "severity"))
    clean = {row: records for (row, column), records in grid.items() if CLEAN in column}
    curves, keys = _along("severity", keys, grid)
    curves = {(row, panel): {0: clean[row], **points} for (row, panel), points in curves.items()}
    panels = ordered({panel for _, panel in curves}, keys, results.learners)
    return curves, [(" ".join(map(str, panel)), panel) for panel in panels]


def learning_curve(results: Results, protocol: str) -> Figure | None:
    """Accuracy against labelled images of a class (their mean, where all are used), on a logarithmic axis."""
    curves, panels = learning(results, protocol)
    figure = _curves(results, curves, panels, "labelled images a class", (5.2, 3.4))
    if figure is not None:
        axis, shown = figure.axes[0], sorted({x for points in curves.values() for x in points})
        axis.set_xscale("log")
        axis.set_xticks(shown, [f"{x:.4g}" for x in shown])
        axis.minorticks_off()
    return figure


def learning(results: Results, protocol: str) -> tuple[Curves, Panels]:
    """Accuracies along labelled images of a class, in one panel."""
    _, grid = _grid(results, protocol, ("per_class",))
    curves: Curves = {}
    for (row, _), records in grid.items():
        curves.setdefault((row, ()), {})[
            records[0].setting["labelled"] / records[0].setting["ways"]
        ] = records
    return curves, [("", ())] if curves else []


def _along(key: str, keys: tuple[str, ...], grid: Grid) -> tuple[Curves, tuple[str, ...]]:
    """The curves of a grid along one of its columns' keys, and the keys that are left to tell panels apart."""
    at, curves = keys.index(key), {}
    for (row, column), records in grid.items():
        if column[at] is not None:
            curves.setdefault((row, (*column[:at], *column[at + 1 :])), {})[column[at]] = records
    return curves, (*keys[:at], *keys[at + 1 :])


def _curves(
    results: Results,
    curves: Curves,
    panels: Panels,
    along: str,
    size: tuple[float, float] = (3.2, 2.7),
) -> Figure | None:
    """Accuracy along something: a titled panel each, a line a learner, 95 % bands; None where there are no panels.

    Args:
        size: of a panel, in inches.
    """
    learners = [name for name in results.learners if any(row == (name,) for row, _ in curves)]
    if not panels:
        return None
    figure, axes = _panels(len(panels), *size, 0.2 * -(-len(learners) // 4) + 0.12)
    for axis, (title, panel) in zip(axes, panels, strict=True):
        for learner in learners:
            _curve(axis, results, learner, curves.get(((learner,), panel), {}))
        axis.set_title(title, loc="left")
        axis.set(ylim=(-2, 102), yticks=range(0, 101, 20), xlabel=along)
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel("accuracy, %")
    _legend(figure, axes[0], 4)
    return figure


def _curve(axis: Axes, results: Results, learner: str, points: dict[float, list[Record]]) -> None:
    if not points:
        return
    across = sorted(points)
    means = [aggregate(points[x], results.verdicts) for x in across]
    style = style_of(learner, results)
    axis.plot(across, [100 * m.value for m in means], label=learner, **style)
    low = [100 * (m.value if m.low is None else m.low) for m in means]
    high = [100 * (m.value if m.high is None else m.high) for m in means]
    axis.fill_between(across, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _legend(figure: Figure, axis: Axes, columns: int) -> None:
    handles, names = axis.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="lower center", ncols=min(columns, max(1, len(names))), handlelength=2.4
    )


# ---------------------------------------------------------------------------------------------------- episodes


def episode_accuracies(results: Results, protocol: str) -> Figure | None:
    """How accuracy spreads over episodes: a panel a (ways, shots), a ridge a learner, the mean with its interval."""
    keys, grid = _grid(results, protocol, ("ways", "shots"))
    panels = ordered({column for _, column in grid}, keys, results.learners)
    learners = [name for name in results.learners if any(row == (name,) for row, _ in grid)]
    if not panels:
        return None
    figure, axes = _panels(len(panels), 3.9, 0.34 * len(learners) + 0.9, 0.0)
    for axis, panel in zip(axes, panels, strict=True):
        shown = {
            learner: grid[(learner,), panel] for learner in learners if ((learner,), panel) in grid
        }
        edges = _edges([v for records in shown.values() for v in _episodes(records, results)])
        for place, learner in enumerate(reversed(learners)):
            if learner in shown:
                _ridge(axis, results, learner, place, shown[learner], edges)
        axis.set_title(
            " ".join(filter(None, (label(k, v) for k, v in zip(keys, panel, strict=True)))),
            loc="left",
        )
        axis.set(
            xlim=(max(0, 100 * edges[0]), 103),
            ylim=(-0.3, len(learners)),
            xlabel="accuracy of an episode, %",
            yticks=range(len(learners)),
        )
        axis.set_yticklabels(list(reversed(learners)))
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", visible=False)
    return figure


def _episodes(records: list[Record], results: Results) -> list[np.ndarray]:
    return [
        np.asarray(results.verdicts(r.cell, r.verdicts)) for r in records if r.verdicts is not None
    ]


def _edges(values: list[np.ndarray]) -> np.ndarray:
    """Bins of about 2.5 points that each hold equally many of the accuracies an episode can have."""
    possible = np.unique(np.round(np.concatenate(values), 9)) if values else np.array([0.0, 1.0])
    step = np.diff(possible).min() if len(possible) > 1 else 1.0
    width = step * np.ceil(0.025 / step - 1e-9)
    top = 1 + step / 2
    return top - width * np.arange(np.ceil((top - possible[0]) / width) + 2)[::-1]


def _ridge(
    axis: Axes, results: Results, learner: str, place: int, records: list[Record], edges: np.ndarray
) -> None:
    """Share of episodes in each bin, the mean with its interval, and both in figures at the right."""
    colour, episodes = style_of(learner, results)["color"], _episodes(records, results)
    if episodes:
        shares = np.histogram(np.concatenate(episodes), bins=edges)[0]
        heights = 0.75 * shares / max(1, shares.max())
        axis.stairs(
            place + heights,
            100 * edges,
            baseline=place,
            fill=True,
            color=colour,
            alpha=0.28,
            linewidth=0,
        )
        axis.stairs(place + heights, 100 * edges, baseline=place, color=colour, linewidth=0.7)
    mean = aggregate(records, results.verdicts)
    error = reach("accuracy", mean.value, mean.low, mean.high)
    if error:
        axis.plot(
            [100 * mean.low, 100 * mean.high],
            [place, place],
            color=colour,
            linewidth=4,
            solid_capstyle="butt",
        )
    axis.plot(
        [100 * mean.value], [place], marker="|", markersize=9, markeredgewidth=1.8, color=colour
    )
    axis.text(
        1.01,
        place,
        f"{100 * mean.value:.1f}" + (f" {error}" if error else ""),
        color="#333333",
        va="center",
        fontsize=8,
        transform=axis.get_yaxis_transform(),
    )
