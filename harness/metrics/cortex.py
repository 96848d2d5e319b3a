"""What was measured in cortex: reference values that are printed beside those of learners.

No learner is measured as these recordings were: species, area, stimuli and often the measure itself
differ. A number inside a range is compatible with cortex, not evidence of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Standing = Literal["inside", "below", "above"]


@dataclass(frozen=True)
class Reference:
    """A value from recordings.

    Attributes:
        metric: The metric of the audit that is nearest to it.
        value: What was found; None if a source gives a shape and no number.
        low, high: The range over cells, animals or conditions of the source; None without one.
        words: What was found, if it is no number.
        recorded: Species, area, stimuli, and what differs from the audit.
        source: Who measured it.
    """

    metric: str
    recorded: str
    source: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    words: str = ""

    def standing(self, value: float) -> Standing | None:
        """Where a number is relative to the range; None without a range.

        >>> sigma = Reference("sigma_log_w", "", "", value=0.94, low=0.8, high=1.05)
        >>> sigma.standing(0.9), sigma.standing(1.2)
        ('inside', 'above')
        """
        if self.low is None or self.high is None:
            return None
        if value < self.low:
            return "below"
        return "above" if value > self.high else "inside"


_EPSPS = "log EPSPs of connected layer-5 pairs, rat V1; weak synapses are lost in noise"
_MOVIES = "macaque V1, natural movies of 1 to 4 receptive fields; depends on bins of time"

REFERENCES = (
    Reference(
        "live_share",
        "probability of a connection between nearby layer-5 pyramidal cells, rat V1; it falls with "
        "distance and differs between layers",
        "Song et al. 2005",
        value=0.116,
        low=0.05,
        high=0.2,
    ),
    Reference("sigma_log_w", _EPSPS, "Song et al. 2005", value=0.94, low=0.8, high=1.05),
    Reference("sigma_log_w_cut", _EPSPS, "Song et al. 2005", value=0.94, low=0.8, high=1.05),
    Reference(
        "treves_rolls_unit",
        _MOVIES,
        "Vinje & Gallant 2000",
        value=0.52,
        low=0.41,
        high=0.62,
    ),
    Reference(
        "treves_rolls_stimulus",
        f"{_MOVIES}; measured over time, and the two need not agree (Willmore et al. 2011)",
        "Vinje & Gallant 2000",
        value=0.52,
        low=0.41,
        high=0.62,
    ),
    Reference(
        "spectrum_exponent",
        "mouse V1, about 10,000 cells, 2,800 natural images, cross-validated; depends on the "
        "stimuli",
        "Stringer et al. 2019",
        value=1.04,
        low=0.94,
        high=1.14,
    ),
    Reference(
        "lognormal_z_rate",
        "many areas; log rates are skewed to the left in later data",
        "Buzsaki & Mizuseki 2014",
        words="rates of cells are about lognormal",
    ),
)
"""One reference per metric. Ranges that no source states are those of its conditions."""

BY_METRIC = {reference.metric: reference for reference in REFERENCES}

CONDITION = "cortex"
"""Condition of a protocol block that says that tables and figures show the references."""
