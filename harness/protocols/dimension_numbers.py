"""Numbers of a population's code for the biology audit: its dimensions and their spectrum."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.metrics import spectrum
from harness.records import Value


def dimension_values(responses: np.ndarray, pixels: np.ndarray) -> Iterator[Value]:
    """Yield how variance decays over principal components, of responses and of the pixels shown.

    The exponent of the pixels belongs beside the other: both depend on the stimuli.
    """
    law = spectrum.power_law(responses)
    if np.isfinite(law.exponent):
        count = law.last - law.first + 1
        yield Value("spectrum_exponent", law.exponent, law.low, law.high, count)
        yield Value("spectrum_r2", law.r2, n=count)
        yield Value("spectrum_first", float(law.first), n=count)
        yield Value("spectrum_last", float(law.last), n=count)
        of_pixels = spectrum.power_law(pixels)
        if np.isfinite(of_pixels.exponent):
            yield Value(
                "spectrum_exponent_pixels",
                of_pixels.exponent,
                of_pixels.low,
                of_pixels.high,
                of_pixels.last - of_pixels.first + 1,
            )
    for metric, values in (
        ("participation_ratio", responses),
        ("participation_ratio_pixels", pixels),
    ):
        ratio = spectrum.participation_ratio(values)
        if np.isfinite(ratio):
            yield Value(metric, ratio, n=len(values))
