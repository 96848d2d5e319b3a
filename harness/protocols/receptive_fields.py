"""Receptive fields as a physiologist describes them: Gabor fits, tuning, and macaque neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Loaded
from harness.lazy import torch
from harness.learning.connectome import effective
from harness.learning.learner import Learner
from harness.metrics import gabors
from harness.metrics.macaque import ORIENTATIONS
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.on_a_split import TrainsOnASplit
from harness.protocols.setting import Setting
from harness.records import Value
from harness.registry import protocols
from harness.rng import Rng

NOISE = 20_000
"""White-noise images that fields are averaged from, where a unit has no weights of its own."""

FEWEST = 5
"""Least number of Gabor units whose shapes are compared with those of neurons."""

DRAWS = 200
"""Bootstrap samples of units."""

BARS = (-22.5, 22.5, 67.5, 112.5, 157.5)
"""Edges of the bins of orientation, in degrees."""


@dataclass(frozen=True)
class ReceptiveFieldsSetting(Setting):
    """How many units are described."""

    splitting: str
    units: int


@protocols.register("receptive_fields")
class ReceptiveFields(TrainsOnASplit[ReceptiveFieldsSetting]):
    """Gabor fits of the fields of units, in the plane of n_x and n_y, and orientation selectivity.

    A field is what a unit of the first layer reads in pixels, its weights; of other units, the
    average of white-noise images weighted by the response. Of two channels it is the difference.
    """

    setting_type = ReceptiveFieldsSetting

    class Config(ProtocolConfig):
        """How many units."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        units: int = Field(
            100, ge=1, description="units that are fitted, drawn at random; 0.1 s each"
        )

    config: Config

    def settings(self) -> Iterator[ReceptiveFieldsSetting]:
        """Yield one setting."""
        yield ReceptiveFieldsSetting(self.splitting, self.config.units)

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splittings, and images that are no square or too small."""
        yield from self.splitting_faults()
        _, height, width = self.facts.image_shape
        if height != width or not 6 <= height <= 64:
            yield Fault(
                ("dataset",),
                f"fields of {height} x {width} pixels cannot be fitted",
                "use squares of 6 to 64 pixels, e.g. natural-patches",
            )

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: ReceptiveFieldsSetting, context: Context
    ) -> Measurement:
        """Fit every field, and compare those that are Gabors with macaque neurons."""
        fields = fields_of(learner, setting.units, context)
        if not len(fields):
            return Measurement([], remarks=["no unit has a receptive field"])
        fits = []
        for place, field in enumerate(fields):
            fits.append(gabors.fit(field))
            context.progress((place + 1) / len(fields), "fits")
        tunings = [gabors.tuning(field) for field in fields]
        described = [
            (fit.r2, fit.orientation, fit.frequency, fit.nx, fit.ny, float(fit.is_gabor))
            for fit in fits
        ]
        arrays = {"fields": fields.astype(np.float32), "gabors": np.array(described)}
        values = [*_fit_values(fits), *_tuning_values(tunings)]
        values += _against_neurons(
            [fit for fit in fits if fit.is_gabor], context.rng.numpy("units drawn again")
        )
        return Measurement(values, arrays)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        return {
            "training": f"{self.splitting}/train, labelled",
            "fields": f"of {self.config.units} units drawn at random, or all: their weights as "
            "they read pixels; where they have none, averages of white noise",
            "fit": "a Gabor function, by least squares; r², median",
            "Gabors": f"r² above {gabors.GOOD}, a period inside the field, an envelope inside it; "
            "blobs fit without a period",
            "n_x, n_y": "deviations of the envelope across and along the stripes, in periods; "
            "medians of Gabors",
            "distance": "earth mover's, of log10 n_x or n_y from 79 macaque neurons (Ringach "
            "2002), and in octaves of frequency from De Valois et al. (1982) after matching "
            "medians; of orientations, the share in wrong bins; two samples of the same shapes "
            "are 0.03 apart",
            "interval": "95 %, bootstrap over units",
            "OSI, circular variance": "of a field's response to gratings at its best frequency",
        }


def fields_of(learner: Learner, units: int, context: Context) -> np.ndarray:
    """Fields (U, side, side) of randomly drawn units; constant ones are left out."""
    pixels = int(np.prod(learner.image_shape))
    first = next((s for s in effective(learner) if len(s.weight) == pixels), None)
    if first is not None:
        weights = first.weight.detach().cpu().double().numpy().T
    else:
        weights = _from_noise(learner, pixels, context)
    order = context.rng.numpy("units").permutation(len(weights))
    chosen = weights[np.sort(order[:units])]
    shaped = chosen.reshape(-1, *learner.image_shape)
    fields = shaped[:, 0] - shaped[:, 1] if shaped.shape[1] == 2 else shaped.mean(1)
    varies: np.ndarray = np.ptp(fields, axis=(1, 2)) > 0
    return fields[varies]


def _from_noise(learner: Learner, pixels: int, context: Context) -> np.ndarray:
    """Response-weighted averages of white noise, (units, pixels)."""
    generator = Rng(context.rng.seed).numpy("white noise")
    total: np.ndarray | None = None
    for _ in range(10):
        noise = generator.random((NOISE // 10, *learner.image_shape), np.float32)
        shown = torch.from_numpy(noise).to(context.device)
        with torch.no_grad():
            responses = in_batches(learner.embed, shown, batch_size=context.batch_size)
        centred = responses.flatten(1).cpu().double().numpy()
        centred = centred - centred.mean(0)
        part = centred.T @ (noise.reshape(-1, pixels) - 0.5)
        total = part if total is None else total + part
    assert total is not None
    return total / NOISE


def _fit_values(fits: list[gabors.Gabor]) -> Iterator[Value]:
    """Yield how well fields are fitted, and how many are Gabors or blobs."""
    n = len(fits)
    good = [fit for fit in fits if fit.r2 > gabors.GOOD]
    is_gabor = [fit for fit in fits if fit.is_gabor]
    yield Value("rf_r2", float(np.median([fit.r2 for fit in fits])), n=n, unit="neuron")
    yield Value("rf_gabors", len(is_gabor) / n, n=n, unit="neuron")
    yield Value("rf_blobs", (len(good) - len(is_gabor)) / n, n=n, unit="neuron")


def _tuning_values(tunings: list[gabors.Tuning]) -> Iterator[Value]:
    """Yield medians of orientation selectivity."""
    n = len(tunings)
    yield Value("rf_osi", float(np.nanmedian([each.osi for each in tunings])), n=n, unit="neuron")
    variance = float(np.nanmedian([each.circular_variance for each in tunings]))
    yield Value("rf_circular_variance", variance, n=n, unit="neuron")


def _against_neurons(fits: list[gabors.Gabor], generator: np.random.Generator) -> Iterator[Value]:
    """Yield shapes of Gabors, and their distances from macaque neurons with intervals."""
    n = len(fits)
    if n < FEWEST:
        return
    nx = np.array([fit.nx for fit in fits])
    ny = np.array([fit.ny for fit in fits])
    frequency = np.array([fit.frequency for fit in fits])
    angle = np.degrees([fit.orientation for fit in fits])
    angle = np.where(angle >= BARS[-1], angle - 180, angle)
    for metric, each in (("rf_nx", nx), ("rf_ny", ny), ("rf_frequency", frequency)):
        yield Value(metric, float(np.median(each)), n=n, unit="neuron")
    edges = np.array(BARS)
    distances: dict[str, Callable[[np.ndarray], float]] = {
        "rf_distance_nx": lambda rows: gabors.shape_distances(nx[rows], ny[rows])[0],
        "rf_distance_ny": lambda rows: gabors.shape_distances(nx[rows], ny[rows])[1],
        "rf_distance_frequency": lambda rows: gabors.frequency_distance(frequency[rows]),
        "rf_distance_orientation": lambda rows: gabors.histogram_distance(
            angle[rows], edges, ORIENTATIONS
        ),
    }
    draws = generator.integers(0, n, (DRAWS, n))
    for metric, distance in distances.items():
        again = [distance(rows) for rows in draws]
        low, high = np.quantile(again, [0.025, 0.975])
        value = distance(np.arange(n))
        # A sample drawn again is further away than the sample: the interval is kept around it.
        yield Value(metric, value, min(float(low), value), max(float(high), value), n, "neuron")
