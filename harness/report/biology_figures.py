"""Figures of the biology audit: weights, receptive fields, selectivity, and their development."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.cells.results import Results
from harness.metrics.cortex import BY_METRIC
from harness.records import Record
from harness.report import cortex_figures
from harness.report.cortex_notes import has_references, mark
from harness.report.grid import numbers_of
from harness.report.styles import style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels in a row, at most."""


def _arrays(results: Results, protocol: str, name: str) -> dict[str, np.ndarray]:
    """Learner -> one of the arrays that the audit stored, of its first seed."""
    arrays: dict[str, np.ndarray] = {}
    for learner in results.learners:
        for record in numbers_of(results, protocol, "dead_units", {}, learner)[:1]:
            try:
                arrays[learner] = np.asarray(results.verdicts(record.cell, name))
            except KeyError:  # A learner without synapses has no weights to show.
                continue
    return arrays


def _panels(
    count: int, width: float, height: float, rows_each: int = 1
) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure with invisible panels; whoever draws on one makes it visible.

    Args:
        count: Number of learners or plots.
        width, height: Size of a panel, in inches.
        rows_each: Panels that each of them has, one below the other.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(count, ACROSS)
    down = math.ceil(count / across) * rows_each
    figure = Figure(figsize=(width * across + 0.3, height * down + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False)
    for axis in axes.ravel():
        axis.set_visible(False)
    return figure, axes.tolist()


# --------------------------------------------------------------------------------------- weights


def weights(results: Results, protocol: str) -> Figure | None:
    """Draw the live weights of the first bundle.

    Above, a histogram of log w with fitted families; below it, a QQ plot of log w.
    """
    quantiles = _arrays(results, protocol, "log_weight_quantiles")
    if not quantiles:
        return None
    figure, axes = _panels(len(quantiles), 2.6, 2.1, rows_each=2)
    for place, (learner, log_weights) in enumerate(quantiles.items()):
        row, column = divmod(place, ACROSS)
        upper = axes[2 * row][column]
        lower = axes[2 * row + 1][column]
        sample = (log_weights[1:] + log_weights[:-1]) / 2
        _draw_histogram(upper, sample)
        _draw_qq(lower, sample)
        upper.set_title(_beside_cortex(results, protocol, learner, sample), loc="left")
        if column == 0:
            upper.set_ylabel("density")
            lower.set_ylabel("quantile of log w, standardised")
        upper.set_visible(True)
        lower.set_visible(True)
    figure.axes[0].legend(fontsize=6.5)
    return figure


def _beside_cortex(results: Results, protocol: str, learner: str, logs: np.ndarray) -> str:
    """A learner's name, with the spread of its log weights marked as inside cortex or outside."""
    if not has_references(results.blocks.get(protocol, {})):
        return learner
    sigma = float(logs.std())
    return mark(BY_METRIC["sigma_log_w"], sigma, f"{learner}, σ {sigma:.2g}")


def _draw_histogram(axis: Axes, logs: np.ndarray) -> None:
    """Draw the density of log w, and the fitted families.

    The density of a family in log w is its density in w times dw / dlog w, which is w.
    """
    from scipy import stats

    sizes = np.exp(logs)
    axis.hist(logs, bins=40, density=True, color="#BBBBBB")
    at = np.linspace(logs[0], logs[-1], 300)
    w = np.exp(at)
    gamma = stats.gamma(*stats.gamma.fit(sizes, floc=0))
    lognormal = stats.norm(logs.mean(), max(logs.std(), 1e-9))
    fits = {
        "lognormal": ("#D55E00", "-", lognormal.pdf(at)),
        "gamma": ("#0072B2", "--", gamma.pdf(w) * w),
        "exponential": ("#009E73", ":", stats.expon(scale=sizes.mean()).pdf(w) * w),
        "normal": ("#CC79A7", "-.", stats.norm(sizes.mean(), sizes.std()).pdf(w) * w),
    }
    top = max(axis.get_ylim()[1], *(float(density.max()) for _, _, density in fits.values()))
    for name, (colour, dash, density) in fits.items():
        axis.plot(at, density, color=colour, linestyle=dash, linewidth=1.1, label=name)
    axis.set(xlabel="log w, first bundle", ylim=(0, 1.05 * top))


def _draw_qq(axis: Axes, logs: np.ndarray) -> None:
    """Draw quantiles of standardised log w against those of a normal distribution."""
    from scipy.special import ndtri

    expected = ndtri((np.arange(len(logs)) + 0.5) / len(logs))
    standardised = (logs - logs.mean()) / max(logs.std(), 1e-12)
    axis.plot(expected, standardised, color="#0072B2", linewidth=1.4)
    axis.plot([-3.5, 3.5], [-3.5, 3.5], color="#888888", linewidth=0.8, linestyle="--")
    axis.set(xlim=(-3.5, 3.5), ylim=(-4.5, 4.5), xlabel="normal quantile")


# ------------------------------------------------------------------------------ receptive fields


def receptive_fields(results: Results, protocol: str) -> Figure | None:
    """Draw the input weights of up to 25 randomly chosen units.

    Zero is grey, negative black, positive white; each unit has its own scale.
    """
    arrays = _arrays(results, protocol, "receptive_fields")
    if not arrays:
        return None
    figure, axes = _panels(len(arrays), 2.3, 2.4)
    for place, (learner, fields) in enumerate(arrays.items()):
        row, column = divmod(place, ACROSS)
        axis = axes[row][column]
        axis.set_visible(True)
        image = mosaic(fields[:25].mean(1))
        axis.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axis.set_title(learner, loc="left")
        axis.set_axis_off()
    return figure


def mosaic(fields: np.ndarray) -> np.ndarray:
    """Arrange fields (U, H, W) in a square with gaps, each scaled to -1 .. 1."""
    side = math.ceil(len(fields) ** 0.5)
    height = fields.shape[1] + 1
    width = fields.shape[2] + 1
    image = np.full((side * height - 1, side * width - 1), np.nan)
    for i, field in enumerate(fields):
        row, column = divmod(i, side)
        top = row * height
        left = column * width
        scale = max(float(np.abs(field).max()), 1e-12)
        image[top : top + height - 1, left : left + width - 1] = field / scale
    return image


# ------------------------------------------------------------------------------------ histograms


def selectivity(results: Results, protocol: str) -> Figure | None:
    """Draw how selective single units are for one class.

    0: not at all; 1: no other class drives the unit.
    """
    arrays = _arrays(results, protocol, "selectivity")
    return _histograms(arrays, "class selectivity", (0, 1))


def live_per_neuron(results: Results, protocol: str) -> Figure | None:
    """Draw the live input synapses of each neuron of the first bundle."""
    arrays = _arrays(results, protocol, "live_per_neuron")
    return _histograms(arrays, "live synapses of a neuron", None)


def _histograms(
    arrays: dict[str, np.ndarray], axis_name: str, span: tuple[float, float] | None
) -> Figure | None:
    """Draw a histogram per learner, with a line at the mean."""
    if not arrays:
        return None
    figure, axes = _panels(len(arrays), 2.4, 1.8)
    for place, (learner, values) in enumerate(arrays.items()):
        row, column = divmod(place, ACROSS)
        axis = axes[row][column]
        axis.set_visible(True)
        finite = values[np.isfinite(values)].astype(float)
        axis.hist(finite, bins=25, range=span, color="#0072B2")
        title = learner
        if len(finite):
            axis.axvline(finite.mean(), color="#D55E00", linewidth=1.2)
            title = f"{learner}, mean {finite.mean():.3g}"
        axis.set(title="", xlabel=axis_name)
        axis.set_title(title, loc="left")
        if column == 0:
            axis.set_ylabel("units")
    return figure


# ----------------------------------------------------------------------------------- development

OVER_TIME = (
    ("live_share", "live synapses, %", 100),
    ("sigma_log_w", "σ(log w)", 1),
    ("ks_log_w", "KS(log w)", 1),
    ("hoyer_stimulus", "Hoyer sparseness of responses", 1),
    ("class_selectivity", "class selectivity", 1),
    ("task_alignment", "task alignment", 1),
)
"""Metric, title and scale of each panel."""


def over_time(results: Results, protocol: str) -> Figure | None:
    """Draw metrics of the audit against images seen, and the path from features to task.

    The path is CKA with pixels against CKA with labels.
    """
    of_protocol = [record for record in results.records if record.protocol == protocol]
    if not any("images_seen" in record.setting for record in of_protocol):
        return None
    measured = {record.metric for record in of_protocol if "images_seen" in record.setting}
    shown = [panel for panel in OVER_TIME if panel[0] in measured]
    figure, axes = _panels(len(shown) + 2, 2.7, 2.1)
    flat = [axis for row in axes for axis in row]
    *metric_axes, path, legend = flat[: len(shown) + 2]
    for axis, (metric, title, scale) in zip(metric_axes, shown, strict=True):
        axis.set_title(title, loc="left")
        if has_references(results.blocks.get(protocol, {})):
            _shade_cortex(axis, metric, scale)
        _draw_metric(axis, results, protocol, metric, scale)
    _draw_path(path, results, protocol)
    legend.set_visible(True)
    legend.set_axis_off()
    legend.legend(*path.get_legend_handles_labels(), loc="center left", fontsize=8)
    return figure


def _shade_cortex(axis: Axes, metric: str, scale: float) -> None:
    """Shade the range of recordings from cortex, if there is one."""
    reference = BY_METRIC.get(metric)
    if reference is not None and reference.low is not None and reference.high is not None:
        axis.axhspan(scale * reference.low, scale * reference.high, color="#E4E4E4", zorder=0)


def _draw_metric(axis: Axes, results: Results, protocol: str, metric: str, scale: float) -> None:
    """Draw one metric against images seen, a line per learner."""
    axis.set_visible(True)
    axis.set_xlabel("images seen")
    axis.set_xscale("symlog", linthresh=100)
    for learner in results.learners:
        course = _course(results, protocol, metric, learner)
        if course:
            values = [scale * value for value in course.values()]
            axis.plot(list(course), values, **_small_style(learner, results))
    axis.set_xlim(left=0)


def _draw_path(axis: Axes, results: Results, protocol: str) -> None:
    """Draw CKA with labels against CKA with pixels; a ring marks the end of training."""
    axis.set_visible(True)
    axis.set_title("from features to task (ring: the end)", loc="left")
    axis.set(xlabel="CKA with pixels", ylabel="CKA with labels")
    for learner in results.learners:
        pixels = list(_course(results, protocol, "cka_pixels", learner).values())
        labels = list(_course(results, protocol, "cka_labels", learner).values())
        if not pixels:
            continue
        style = _small_style(learner, results)
        axis.plot(pixels, labels, label=learner, **style)
        axis.plot(
            pixels[-1:],
            labels[-1:],
            marker="o",
            markersize=8,
            fillstyle="none",
            color=style["color"],
        )


def _small_style(learner: str, results: Results) -> dict:
    return style_of(learner, results) | {"markersize": 2.5}


def _course(results: Results, protocol: str, metric: str, learner: str) -> dict[int, float]:
    """Images seen -> mean over seeds; moments that not every seed has are left out."""
    moments: dict[int, list[Record]] = {}
    for record in results.records:
        if (
            record.protocol == protocol
            and record.metric == metric
            and record.learner == learner
            and "images_seen" in record.setting
        ):
            moments.setdefault(record.setting["images_seen"], []).append(record)
    most = max(map(len, moments.values()), default=0)
    course = {}
    for images_seen, records in sorted(moments.items()):
        if len(records) == most:
            course[images_seen] = float(np.mean([record.value for record in records]))
    return course


MAKERS: dict[str, Callable[[Results, str], Figure | None]] = {
    "-weights": weights,
    "-fields": receptive_fields,
    "-selectivity": selectivity,
    "-live": live_per_neuron,
    "-time": over_time,
    "-cortex": cortex_figures.beside_cortex,
    "-spectrum": cortex_figures.spectra,
}
"""Suffix of the file name -> figure; None if a protocol has nothing to show."""
