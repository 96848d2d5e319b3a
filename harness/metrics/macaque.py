"""Published counts of neurons in macaque primary visual cortex, by preference and shape."""

from __future__ import annotations

import numpy as np

ORIENTATIONS = np.array([66, 49, 77, 54])
"""Neurons by preferred orientation, in bins of 45 degrees from -22.5 (De Valois, Yund & Hepler
1982)."""

FREQUENCY_EDGES = np.array([0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])
FREQUENCIES = np.array([4, 4, 8, 25, 32, 26, 28, 12])
"""Neurons by preferred spatial frequency, cycles a degree (De Valois, Albrecht & Thorell 1982)."""

SHAPE_EDGES = np.logspace(-1, 0.2, 6)
SHAPES = np.array(
    [[2, 0, 1, 0, 0], [8, 9, 4, 1, 0], [1, 2, 19, 17, 3], [0, 0, 1, 7, 4], [0, 0, 0, 0, 0]]
)
"""Neurons by (n_x, n_y), the envelope's deviations in cycles of the filter (Ringach 2002, fig. 4);
rows are bins of n_x, columns of n_y."""
