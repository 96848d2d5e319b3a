"""The figures of a suite as PDF and PNG. The same results give the same bytes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cells.results import Results
from harness.errors import HarnessError, did_you_mean
from harness.files import write_atomically
from harness.report import biology_figures, receptive_figures, stream_figures
from harness.report.curves import AXES, curve_figure
from harness.report.derived import with_derived
from harness.report.episode_figure import episode_accuracies
from harness.report.heat_map import transfer_heat_map
from harness.report.reliability_figure import reliability_diagram
from harness.report.styles import STYLE
from harness.report.tradeoff import tradeoff
from harness.suite.specs.figures import FigureSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Maker = Callable[[Results, str], "Figure | None"]

MAKERS: dict[str, dict[str, Maker]] = {
    **dict.fromkeys(AXES, {"": curve_figure}),
    "few_shot": {"": episode_accuracies},
    "biology": biology_figures.MAKERS,
    "receptive_fields": receptive_figures.MAKERS,
    "calibration": {"": reliability_diagram},
    "transfer_matrix": {"": transfer_heat_map},
    "continual": stream_figures.MAKERS,
}
"""Kind of protocol -> suffix of the file name -> figure."""

FORMATS: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""Format -> metadata to leave out, because it would change from run to run."""


def write_figures(results: Results, folder: Path, specs: Sequence[FigureSpec] = ()) -> list[Path]:
    """Write the figures of each protocol that has any, and those that the suite asks for.

    Returns:
        The files written, two per figure.
    """
    import matplotlib

    written: list[Path] = []
    with matplotlib.rc_context(STYLE):
        for name, make in _makers(results, specs).items():
            figure = make()
            if figure is not None:
                written += _save(figure, Path(folder) / name)
    return written


def draw(results: Results, specs: Sequence[FigureSpec] = (), name: str | None = None) -> Figure:
    """Draw one figure.

    Args:
        results: What it shows.
        specs: Figures that the suite asks for.
        name: File name without its ending; the first that there is if None.

    Raises:
        HarnessError: There is no such figure, or nothing to show in it.
    """
    import matplotlib

    makers = _makers(results, specs)
    if name is not None and name not in makers:
        raise HarnessError(
            f"there is no figure {name!r}", where=results.suite, hint=did_you_mean(name, makers)
        )
    with matplotlib.rc_context(STYLE):
        figures = (make() for make in ([*makers.values()] if name is None else [makers[name]]))
        figure = next((each for each in figures if each is not None), None)
    if figure is None:
        raise HarnessError(
            f"there is nothing to show in {name or 'a figure'}",
            where=results.suite,
            hint="attack sweeps, few-shot episodes, biology and receptive fields have figures",
        )
    return figure


def write_file(make: Callable[[], Figure], path: Path) -> None:
    """Write one figure in the format of the file's name."""
    import matplotlib

    form = format_of(path)
    out = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        make().savefig(out, format=form, metadata=FORMATS[form])
    write_atomically(path, out.getvalue())


def format_of(path: Path) -> str:
    """The format of a figure, by the ending of its file's name.

    Raises:
        HarnessError: It is neither PDF nor PNG.
    """
    form = path.suffix.removeprefix(".")
    if form not in FORMATS:
        raise HarnessError(
            f"unknown format {path.suffix!r}", where=str(path), hint="write .pdf or .png"
        )
    return form


def _makers(
    results: Results, specs: Sequence[FigureSpec]
) -> dict[str, Callable[[], Figure | None]]:
    """Name of each figure that there may be -> what draws it."""
    cached = replace(results, verdicts=functools.cache(results.verdicts))
    cached = with_derived(cached)
    makers: dict[str, Callable[[], Figure | None]] = {}
    for protocol, kind in cached.protocols.items():
        for suffix, make in MAKERS.get(kind, {}).items():
            makers[f"{protocol}{suffix}"] = functools.partial(make, cached, protocol)
    for spec in specs:
        makers[spec.name] = functools.partial(tradeoff, cached, spec)
    return makers


def _save(figure: Figure, stem: Path) -> Iterator[Path]:
    for form, metadata in FORMATS.items():
        out = io.BytesIO()
        figure.savefig(out, format=form, metadata=metadata)
        data = _smallest_png(out.getvalue()) if form == "png" else out.getvalue()
        path = stem.with_name(f"{stem.name}.{form}")
        write_atomically(path, data)
        yield path


def _smallest_png(data: bytes) -> bytes:
    """Return the same picture in fewer bytes: no opaque alpha channel, grey as one channel."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        resolution = image.info.get("dpi")
        picture = image.convert("RGB")
    red, green, blue = picture.split()
    if red == green == blue:
        picture = red
    out = io.BytesIO()
    picture.save(out, "png", optimize=True, dpi=resolution)
    return out.getvalue()
