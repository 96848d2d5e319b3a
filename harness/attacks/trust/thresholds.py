"""Every threshold of the trust checks. ``docs/trust.md`` says what each was measured on."""

from __future__ import annotations

from typing import NamedTuple

from harness.attacks.base import TOLERANCE
from harness.records import Trust


class Threshold(NamedTuple):
    """Two limits on a number that should be small.

    >>> CONVERGED.level(0.005), CONVERGED.level(0.02), CONVERGED.level(0.2)
    ('PASS', 'WARN', 'FAIL')
    """

    warn: float
    fail: float

    def level(self, value: float) -> Trust:
        """PASS up to ``warn``, WARN up to ``fail``, otherwise FAIL (NaN included)."""
        if value <= self.warn:
            return "PASS"
        return "WARN" if value <= self.fail else "FAIL"


# ------------------------------------------------------------------------------ read from the sweep

OUTSIDE = Threshold(TOLERANCE, TOLERANCE)
"""Distance by which a perturbed image may leave its ball or the box: rounding only."""

CHANGED_PARTS = Threshold(0, 0)
"""Parts of the network or of global random state that an attack may change: none."""

UNPERTURBED = Threshold(0.01, 0.5)
"""Share of runs that return the image unchanged."""

UNPERTURBED_ON_FAILURE = Threshold(0.99, 1.0)
"""The same, for attacks that return the clean image where they fail."""

# -------------------------------------------------------------------------------- the network alone

TIE = 1e-4
"""A margin below this share of the largest logit is a tie, which rounding may decide either way."""

FLIPS = 0.05
"""Share of the verdicts that may differ between two averages of a network that draws."""

UNDECIDED = 1.1
"""Median confidence up to this multiple of 1 / n_classes: the logits are as good as zero."""

NO_GRADIENT = Threshold(0.01, 0.05)
"""Share of the samples without a usable gradient: it bounds how much robustness is overstated."""

FORGETS = 1e-3
"""Share of the largest logit by which a used network may differ from a fresh copy of it."""

# ------------------------------------------------------------------------------------ other attacks

CONVERGED = Threshold(0.01, 0.03)
"""Accuracy that doubled steps (or a repeated attack) may still take."""

WEAKER = 0.002
"""Accuracy that a weaker attack may take from what a stronger one left."""

FGSM_STRONGER = Threshold(WEAKER, 0.02)
"""The same for FGSM: it climbs along another path than PGD, and finds a few other samples."""

SCALE = Threshold(0.05, 0.10)
"""Share of the samples that only fall to an attack on rescaled logits."""

QUERIES = 200
"""Of Square for each sample: too few to measure robustness, enough to find what was only masked."""

FIRST_QUERIES = 40
"""Of these, how many every sample gets."""

PROMISING = 0.25
"""Share of the clean margin that must be left at most then for the search to go on.

Of honest survivors nine in ten have 0.3 or more left; of those behind a mask half have none.
"""

NEAREST = 32
"""Survivors of smallest margin that other attacks are tried on, at each of two eps."""

DRAWN = 64
"""Survivors drawn at random that they are tried on too: a mask may leave large margins."""

BLACK_BOX = Threshold(0.02, 0.30)
"""Share of the nearest survivors, not counting one, that search and transfer may break."""

SPREAD = Threshold(0.04, 0.12)
"""Share of survivors drawn at random, not counting one, that another attack may break."""

A_CLASS = 4
"""Samples of a class that are needed to judge it on its own."""

OF_A_CLASS = Threshold(0.3, 0.5)
"""Share of one class's survivors, not counting one, that another attack may break."""

# ---------------------------------------------------------------- the gradient against the function

STEP = 0.25
"""Length of the test step, as a part of eps: the step of PGD-10."""

RESOLUTION = 1e-4
"""A promised gain below this share of the largest logit is lost in float32 rounding."""

SLOPE = Threshold(0.15, 0.30)
"""Part of the promised gain that may be missing after the test step."""

SURROGATE_SLOPE = Threshold(0.25, 0.5)
"""Share of the samples that a step along a surrogate gradient may fail to weaken."""

CURVATURE = 0.5
"""Up to this missing part an honest network may just be curved, if searches do not win either."""

CORNER_GAIN = 0.35
"""Part of the promised gain that must be reached at random points for the image to be a corner."""

CORNER_RATIO = 3.0
"""A corner also needs a gain at random points of this multiple of the gain at the image."""

PROBE = 0.01
"""Change of each pixel, up or down at random, by which a gradient is compared with the function."""

AGREEMENT = Threshold(0.10, 0.30)
"""Part of the changes along random directions that the gradient may fail to predict."""

CLIMBS_BETTER = Threshold(0.15, 0.40)
"""Share of the samples on which an estimated gradient may get further than the exact one."""
