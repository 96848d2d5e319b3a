"""Receptive fields as Gabor functions: fits, their shape, and orientation selectivity.

Lengths are in pixels, frequencies in cycles a pixel, angles in radians. ``orientation`` is that of
the grating vector, across the stripes: a field of horizontal bars has pi / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.metrics.macaque import FREQUENCIES, FREQUENCY_EDGES, SHAPE_EDGES, SHAPES

GOOD = 0.5
"""Least r^2 of a unit that counts as a Gabor."""

HIGHEST = 0.7
"""Highest frequency of a fit; the diagonal Nyquist limit."""

PADDED = 64
"""Side of the transform whose peak starts a fit."""

ANGLES = 18
"""Orientations of the gratings that selectivity is measured with."""


@dataclass(frozen=True)
class Gabor:
    """A exp(-u^2 / 2 sx^2 - v^2 / 2 sy^2) cos(2 pi f u + phase), fitted to a field.

    Attributes:
        r2: Share of the field's variance that it explains.
        orientation: Angle of u, across the stripes, in [0, pi).
        frequency: f.
        sx, sy: Deviations of the envelope across and along the stripes.
        size: Side of the field.
    """

    r2: float
    orientation: float
    frequency: float
    sx: float
    sy: float
    size: int

    @property
    def nx(self) -> float:
        """Periods in a deviation across the stripes (Ringach 2002)."""
        return self.sx * self.frequency

    @property
    def ny(self) -> float:
        """The same along the stripes."""
        return self.sy * self.frequency

    @property
    def is_gabor(self) -> bool:
        """Whether it fits, has a period inside the field, and an envelope inside it.

        Any smooth blob fits with a period longer than the field.
        """
        return (
            self.r2 > GOOD
            and self.frequency > 1 / self.size
            and 2 * max(self.sx, self.sy) < self.size
        )


def gabor(
    size: int,
    orientation: float,
    frequency: float,
    phase: float,
    sx: float,
    sy: float,
    centre: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """A Gabor function (size, size) of amplitude one; ``centre`` (x, y) is off the middle."""
    y, x = _grid(size)
    parameters = np.array([*centre, orientation, frequency, phase, sx, sy])
    return _function(parameters, x, y)


def fit(field: np.ndarray) -> Gabor:
    """Fit a Gabor function to a field (size, size) by least squares.

    Started at the peak of the amplitude spectrum and the second best, with two widths.
    """
    from scipy.optimize import least_squares

    size = len(field)
    y, x = _grid(size)
    values = np.asarray(field, np.float64) - np.mean(field)
    power = float((values**2).sum())
    if power <= 0:
        return Gabor(0.0, 0.0, 0.0, 0.5, 0.5, size)
    values = values / np.sqrt(power)
    low = [-size / 2, -size / 2, -np.inf, 0, -np.inf, 0.5, 0.5]
    high = [size / 2, size / 2, np.inf, HIGHEST, np.inf, size, size]

    def residual(parameters: np.ndarray) -> np.ndarray:
        shape = _function(parameters, x, y)
        shape = shape - shape.mean()
        amplitude = (shape * values).sum() / max(float((shape**2).sum()), 1e-300)
        return (amplitude * shape - values).ravel()

    best = None
    for (angle, frequency), width in product(_peaks(values), (size / 8, size / 4)):
        start = _start(values, x, y, angle, frequency, width)
        start = np.clip(start, np.add(low, 1e-6), np.subtract(high, 1e-6))
        found = least_squares(residual, start, bounds=(low, high), max_nfev=60)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    _, _, orientation, frequency, _, sx, sy = best.x
    return Gabor(1 - 2 * best.cost, orientation % np.pi, frequency, sx, sy, size)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    half = (size - 1) / 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return y, x


def _function(parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x0, y0, angle, frequency, phase, sx, sy = parameters
    u = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    v = -(x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
    envelope = np.exp(-(u**2) / (2 * sx**2) - v**2 / (2 * sy**2))
    shape: np.ndarray = envelope * np.cos(2 * np.pi * frequency * u + phase)
    return shape


def _spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitudes of the padded transform (half plane), and their frequencies in y and x."""
    amplitude = np.abs(np.fft.rfft2(values, (PADDED, PADDED)))
    fy = np.fft.fftfreq(PADDED)[:, None] + np.zeros(amplitude.shape)
    fx = np.fft.rfftfreq(PADDED)[None, :] + np.zeros(amplitude.shape)
    return amplitude, fy, fx


def _peaks(values: np.ndarray) -> list[tuple[float, float]]:
    """Angle and frequency of the highest peak, and of the highest away from it."""
    amplitude, fy, fx = _spectrum(values)
    found = []
    left = amplitude.copy()
    for _ in range(2):
        place = np.unravel_index(int(left.argmax()), left.shape)
        at_y, at_x = fy[place], fx[place]
        found.append((float(np.arctan2(at_y, at_x)), float(np.hypot(at_y, at_x))))
        near = np.hypot(fy - at_y, fx - at_x) < 1.5 / len(values)
        left = np.where(near, 0, left)
    return found


def _start(
    values: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    angle: float,
    frequency: float,
    width: float,
) -> np.ndarray:
    """Parameters from the centroid of the energy, with the phase by projection."""
    energy = values**2 / (values**2).sum()
    x0, y0 = float((energy * x).sum()), float((energy * y).sum())
    u = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    wave = np.exp(-2j * np.pi * frequency * u)
    phase = float(np.angle((values * wave).sum()))
    return np.array([x0, y0, angle, frequency, phase, width, width])


@dataclass(frozen=True)
class Tuning:
    """Orientation tuning of a linear unit, at its best frequency and phase.

    Attributes:
        osi: (preferred - orthogonal) / (preferred + orthogonal).
        circular_variance: 1 - |sum R exp(2 i angle)| / sum R; 0 for a unit of one orientation.
        preferred: Angle of the best grating vector, in [0, pi).
    """

    osi: float
    circular_variance: float
    preferred: float


def tuning(field: np.ndarray) -> Tuning:
    """Orientation tuning of a field (size, size); nan if it is constant."""
    size = len(field)
    y, x = _grid(size)
    values = np.asarray(field, np.float64) - np.mean(field)
    angles = np.arange(ANGLES) * np.pi / ANGLES
    frequencies = np.arange(1, size) / (2 * size)
    turned = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    waves = np.exp(-2j * np.pi * frequencies[:, None, None, None] * turned)
    responses = np.abs((waves * values).sum((2, 3)))
    best = np.unravel_index(int(responses.argmax()), responses.shape)
    curve = responses[best[0]]
    total = float(curve.sum())
    if total <= 1e-12:
        nan = float("nan")
        return Tuning(nan, nan, nan)
    preferred = int(best[1])
    orthogonal = float(curve[(preferred + ANGLES // 2) % ANGLES])
    peak = float(curve[preferred])
    vector = abs((curve * np.exp(2j * angles)).sum()) / total
    return Tuning((peak - orthogonal) / (peak + orthogonal), 1 - vector, float(angles[preferred]))


def shape_distances(nx: np.ndarray, ny: np.ndarray) -> tuple[float, float]:
    """Earth mover's distances of log10 n_x and log10 n_y from macaque counts (Ringach 2002).

    As counts of 79 neurons, two samples of the same shapes are 0.03 apart for 100 units.
    """
    from scipy.stats import wasserstein_distance

    logs = np.log10(SHAPE_EDGES)
    centres = (logs[1:] + logs[:-1]) / 2
    across = wasserstein_distance(np.log10(nx), centres, v_weights=SHAPES.sum(1))
    along = wasserstein_distance(np.log10(ny), centres, v_weights=SHAPES.sum(0))
    return float(across), float(along)


def frequency_distance(frequencies: np.ndarray) -> float:
    """Earth mover's distance in octaves of frequencies from those of macaque neurons.

    Patches have no size in degrees, so that only the shape counts: medians are matched.
    """
    from scipy.stats import wasserstein_distance

    logs = np.log2(FREQUENCY_EDGES)
    centres = (logs[1:] + logs[:-1]) / 2
    median = np.median(np.repeat(centres, FREQUENCIES))
    own = np.log2(frequencies)
    distance = wasserstein_distance(own - np.median(own), centres - median, v_weights=FREQUENCIES)
    return float(distance)


def histogram_distance(values: np.ndarray, edges: np.ndarray, counts: np.ndarray) -> float:
    """Total variation between shares of values in bins and shares of counts, in [0, 1].

    >>> histogram_distance(np.array([0.5, 1.5]), np.array([0, 1, 2]), np.array([3, 1]))
    0.25
    """
    own = np.histogram(values, edges)[0]
    return float(np.abs(own / max(own.sum(), 1) - counts / counts.sum()).sum() / 2)
