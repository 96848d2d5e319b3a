"""Figures of the biology audit: weights, receptive fields, selectivity, and how they come about over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.cells.results import Results
from harness.records import Record
from harness.report.pivot import numbers_of
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4


def _arrays(results: Results, protocol: str, name: str) -> dict[str, np.ndarray]:
    """Learner -> one of the arrays that the audit kept, of its first seed."""
    out: dict[str, np.ndarray] = {}
    for learner in results.learners:
        for record in numbers_of(results, protocol, "dead_units", {}, learner)[:1]:
            try:
                out[learner] = np.asarray(results.verdicts(record.cell, name))
            except KeyError:  # a learner without synapses has no weights to show
                continue
    return out


def _grid(count: int, width: float, height: float, rows_each: int = 1) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(count, ACROSS)
    down = -(-count // across) * rows_each
    figure = Figure(figsize=(width * across + 0.3, height * down + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.ravel():
        axis.set_visible(False)
    return figure, axes


def weights(results: Results, protocol: str) -> Figure | None:
    """Live weights of the first bundle: histogram of log w with fitted families, and below it the QQ plot of log w."""
    from scipy.special import ndtri

    found = _arrays(results, protocol, "log_weight_quantiles")
    if not found:
        return None
    figure, axes = _grid(len(found), 2.6, 2.1, rows_each=2)
    for place, (learner, logs) in enumerate(found.items()):
        upper, lower = (axes[2 * (place // ACROSS) + row][place % ACROSS] for row in (0, 1))
        sample = (logs[1:] + logs[:-1]) / 2
        _histogram(upper, sample)
        upper.set_title(learner, loc="left")
        expected = ndtri((np.arange(len(sample)) + 0.5) / len(sample))
        lower.plot(
            expected,
            (sample - sample.mean()) / max(sample.std(), 1e-12),
            color="#0072B2",
            linewidth=1.4,
        )
        lower.plot([-3.5, 3.5], [-3.5, 3.5], color="#888888", linewidth=0.8, linestyle="--")
        lower.set(xlim=(-3.5, 3.5), ylim=(-4.5, 4.5), xlabel="normal quantile")
        if place % ACROSS == 0:
            upper.set_ylabel("density")
            lower.set_ylabel("quantile of log w, standardised")
        upper.set_visible(True)
        lower.set_visible(True)
    figure.axes[0].legend(fontsize=6.5)
    return figure


def _histogram(axis: Axes, logs: np.ndarray) -> None:
    """Density of log w, and what the fitted families say of it (each family's density times dw / dlog w)."""
    from scipy import stats

    sizes = np.exp(logs)
    axis.hist(logs, bins=40, density=True, color="#BBBBBB")
    at = np.linspace(logs[0], logs[-1], 300)
    fits = {
        "lognormal": ("#D55E00", "-", stats.norm(logs.mean(), max(logs.std(), 1e-9)).pdf(at)),
        "gamma": (
            "#0072B2",
            "--",
            stats.gamma(*stats.gamma.fit(sizes, floc=0)).pdf(np.exp(at)) * np.exp(at),
        ),
        "exponential": (
            "#009E73",
            ":",
            stats.expon(scale=sizes.mean()).pdf(np.exp(at)) * np.exp(at),
        ),
        "normal": (
            "#CC79A7",
            "-.",
            stats.norm(sizes.mean(), sizes.std()).pdf(np.exp(at)) * np.exp(at),
        ),
    }
    top = axis.get_ylim()[1]
    for name, (colour, dash, density) in fits.items():
        axis.plot(at, density, color=colour, linestyle=dash, linewidth=1.1, label=name)
    axis.set(xlabel="log w", ylim=(0, 1.25 * top))


def receptive_fields(results: Results, protocol: str) -> Figure | None:
    """Input weights of up to 25 units, drawn by lot; grey is none, black negative, white positive, each on its own scale."""
    found = _arrays(results, protocol, "receptive_fields")
    if not found:
        return None
    figure, axes = _grid(len(found), 2.3, 2.4)
    for place, (learner, fields) in enumerate(found.items()):
        axis = axes[place // ACROSS][place % ACROSS]
        axis.set_visible(True)
        axis.imshow(
            _mosaic(fields[:25].mean(1)), cmap="gray", vmin=-1, vmax=1, interpolation="nearest"
        )
        axis.set_title(learner, loc="left")
        axis.set_axis_off()
    return figure


def _mosaic(fields: np.ndarray) -> np.ndarray:
    """Fields (U, H, W) side by side in a square, with a gap between."""
    side = int(np.ceil(len(fields) ** 0.5))
    high, wide = fields.shape[1] + 1, fields.shape[2] + 1
    out = np.full((side * high - 1, side * wide - 1), np.nan)
    for i, one in enumerate(fields):
        row, column = (i // side) * high, (i % side) * wide
        out[row : row + high - 1, column : column + wide - 1] = one / max(
            float(np.abs(one).max()), 1e-12
        )
    return out


def selectivity(results: Results, protocol: str) -> Figure | None:
    """How selective single units are for one class: 0 for none, 1 if no other class drives the unit."""
    return _histograms(_arrays(results, protocol, "selectivity"), "class selectivity", (0, 1))


def live_per_neuron(results: Results, protocol: str) -> Figure | None:
    """Live input synapses of each neuron of the first bundle."""
    return _histograms(
        _arrays(results, protocol, "live_per_neuron"), "live synapses of a neuron", None
    )


def _histograms(
    found: dict[str, np.ndarray], across: str, span: tuple[float, float] | None
) -> Figure | None:
    if not found:
        return None
    figure, axes = _grid(len(found), 2.4, 1.8)
    for place, (learner, values) in enumerate(found.items()):
        axis = axes[place // ACROSS][place % ACROSS]
        axis.set_visible(True)
        values = values[np.isfinite(values)].astype(float)
        axis.hist(values, bins=25, range=span, color="#0072B2")
        if len(values):
            axis.axvline(values.mean(), color="#D55E00", linewidth=1.2)
        axis.set(title="", xlabel=across)
        axis.set_title(
            f"{learner}, mean {values.mean():.3g}" if len(values) else learner, loc="left"
        )
        if place % ACROSS == 0:
            axis.set_ylabel("units")
    return figure


OVER_TIME = (
    ("live_share", "live synapses, %", 100),
    ("sigma_log_w", "σ(log w)", 1),
    ("ks_log_w", "KS(log w)", 1),
    ("hoyer_stimulus", "Hoyer sparseness of responses", 1),
    ("class_selectivity", "class selectivity", 1),
    ("task_index", "task index", 1),
)


def over_time(results: Results, protocol: str) -> Figure | None:
    """Six numbers of the audit against images seen, and the path from features (CKA with pixels) to task (with labels)."""
    if not any("images_seen" in r.setting for r in results.records if r.protocol == protocol):
        return None
    figure, axes = _grid(len(OVER_TIME) + 2, 2.7, 2.1)
    panels = axes.ravel()
    for axis, (metric, name, scale) in zip(panels, OVER_TIME, strict=False):
        axis.set_visible(True)
        axis.set_title(name, loc="left")
        axis.set_xlabel("images seen")
        axis.set_xscale("symlog", linthresh=100)
        for learner in results.learners:
            if course := _course(results, protocol, metric, learner):
                axis.plot(
                    list(course),
                    [scale * v for v in course.values()],
                    **style_of(learner, results) | {"markersize": 2.5},
                )
        axis.set_xlim(left=0)
    path = panels[len(OVER_TIME)]
    path.set_visible(True)
    path.set_title("from features to task (ring: the end)", loc="left")
    path.set(xlabel="CKA with pixels", ylabel="CKA with labels")
    for learner in results.learners:
        pixels, labels = (
            _course(results, protocol, metric, learner) for metric in ("cka_pixels", "cka_labels")
        )
        if pixels:
            style = style_of(learner, results) | {"markersize": 2.5}
            path.plot(list(pixels.values()), list(labels.values()), label=learner, **style)
            path.plot(
                list(pixels.values())[-1:],
                list(labels.values())[-1:],
                marker="o",
                markersize=8,
                fillstyle="none",
                color=style_of(learner, results)["color"],
            )
    key = panels[len(OVER_TIME) + 1]
    key.set_visible(True)
    key.set_axis_off()
    key.legend(*path.get_legend_handles_labels(), loc="center left", fontsize=8)
    return figure


def _course(results: Results, protocol: str, metric: str, learner: str) -> dict[int, float]:
    """Images seen -> mean over seeds; moments that not every seed has are left out."""
    moments: dict[int, list[Record]] = {}
    for record in results.records:
        if (record.protocol, record.metric, record.learner) == (
            protocol,
            metric,
            learner,
        ) and "images_seen" in record.setting:
            moments.setdefault(record.setting["images_seen"], []).append(record)
    most = max(map(len, moments.values()), default=0)
    return {
        seen: float(np.mean([r.value for r in found]))
        for seen, found in sorted(moments.items())
        if len(found) == most
    }


MAKERS = {
    "-weights": weights,
    "-fields": receptive_fields,
    "-selectivity": selectivity,
    "-live": live_per_neuron,
    "-time": over_time,
}
"""File name's ending -> figure; None where a protocol has nothing to show."""
