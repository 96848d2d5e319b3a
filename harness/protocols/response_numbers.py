"""Numbers of responses for the biology audit: sparseness, selectivity, alignment with the task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics import selectivity, similarity, sparsity
from harness.metrics.statistics import share_interval
from harness.metrics.task_geometry import TaskGeometry, Unlabelled
from harness.protocols.base import Context
from harness.records import Value

MOST_COMPARED = 1000
"""Images whose geometry is compared with the task's, evenly spaced if more are shown."""

FEWEST_COMPARED = 20
"""Least number of images that have a geometry."""


@dataclass(frozen=True)
class Stimuli:
    """The images shown, and their groups.

    Attributes:
        images: float32 (N, C, H, W).
        pixels: (N, n), the same images, flat.
        classes: int64 (N,), class of each image, counted from 0.
        clusters: int64 (N,), k-means cluster of each image's pixels.
        seed: Of everything that is fitted to the pixels.
    """

    images: torch.Tensor
    pixels: np.ndarray
    classes: np.ndarray
    clusters: np.ndarray
    seed: int

    @classmethod
    def of(cls, images: Images, context: Context) -> Stimuli:
        """Prepare labelled images; they get as many clusters as they have classes."""
        assert images.labels is not None
        classes = np.unique(images.labels, return_inverse=True)[1]
        pixels = images.pixels.reshape(len(images), -1) / 255
        seed = context.rng.child("clusters").seed
        clusters = selectivity.stimulus_clusters(pixels, classes.max() + 1, seed)
        return cls(images.tensor(context.device), pixels, classes, clusters, seed)

    def shown_to(self, learner: Learner, context: Context) -> np.ndarray:
        """Responses of a learner's units, float64 (N, units)."""
        with torch.no_grad():
            responses = in_batches(learner.embed, self.images, batch_size=context.batch_size)
        return responses.cpu().double().numpy()

    @property
    def one_class(self) -> bool:
        """Whether all images are of one class, so that there is no task."""
        return not self.classes.any()

    @cached_property
    def _compared(self) -> np.ndarray:
        """Rows of the images whose geometry is compared."""
        count = min(len(self.pixels), MOST_COMPARED)
        return np.linspace(0, len(self.pixels) - 1, count).round().astype(int)

    @cached_property
    def _unlabelled(self) -> Unlabelled:
        return Unlabelled(self.pixels[self._compared], self.seed % 2**32)

    def geometry(self, responses: np.ndarray) -> TaskGeometry:
        """How responses (N, units) relate to the classes beyond what pixels explain; or nan."""
        if self.one_class or len(self._compared) < FEWEST_COMPARED:
            return TaskGeometry(float("nan"), float("nan"))
        rows = self._compared
        return self._unlabelled.geometry(responses[rows], self.classes[rows])


def pixel_values(pixels: np.ndarray) -> Iterator[Value]:
    """Yield the sparseness of the pixels shown (stimuli, pixels), which bounds what it can mean."""
    for axis, name in enumerate(("treves_rolls_unit_pixels", "treves_rolls_stimulus_pixels")):
        each = _finite(sparsity.treves_rolls(pixels, axis))
        if len(each):
            yield Value(name, float(each.mean()), n=len(each))


def response_values(responses: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """Yield sparseness, silent units and selectivity of responses (stimuli, units)."""
    for name, sparseness in (("treves_rolls", sparsity.treves_rolls), ("hoyer", sparsity.hoyer)):
        per_unit = _finite(sparseness(responses, 0))
        if len(per_unit):
            mean = float(per_unit.mean())
            yield Value(f"{name}_unit", mean, n=len(per_unit), unit="neuron")
        per_stimulus = _finite(sparseness(responses, 1))
        if len(per_stimulus):
            mean = float(per_stimulus.mean())
            low, high = share_interval(per_stimulus)
            yield Value(f"{name}_stimulus", mean, low, high, len(per_stimulus), "sample")
    silent = float(sparsity.silent_units(responses).sum())
    yield Value("dead_units", silent, n=responses.shape[1], unit="neuron")

    if stimuli.one_class:
        return  # one class: no unit can be selective for it
    rates = np.abs(responses)
    yield from _unit_selectivity(rates, stimuli)
    yield from _alignment(rates, stimuli)
    yield from _task(responses, stimuli)
    occupied = selectivity.units_per_class(rates, stimuli.classes)
    yield Value("units_per_class", occupied, n=rates.shape[1], unit="neuron")


def _unit_selectivity(rates: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """Yield how selective single units are for classes and for clusters, means over units."""
    units = {
        "class_selectivity": selectivity.class_selectivity(rates, stimuli.classes),
        "eta2_class": selectivity.eta_squared(rates, stimuli.classes),
        "eta2_cluster": selectivity.eta_squared(rates, stimuli.clusters),
        "mi_class": selectivity.mutual_information(rates, stimuli.classes),
        "mi_cluster": selectivity.mutual_information(rates, stimuli.clusters),
    }
    for name, of_units in units.items():
        finite = _finite(of_units)
        if len(finite):
            yield Value(name, float(finite.mean()), n=len(finite), unit="neuron")


def _alignment(rates: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """Yield how well the population is aligned with labels and with pixels (linear CKA)."""
    one_hot = np.eye(stimuli.classes.max() + 1)[stimuli.classes]
    labels = similarity.linear_cka(rates, one_hot)
    pixels = similarity.linear_cka(rates, stimuli.pixels)
    if np.isfinite(labels) and np.isfinite(pixels):
        yield Value("cka_labels", labels, n=len(rates))
        yield Value("cka_pixels", pixels, n=len(rates))


def _task(responses: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """Yield how much of the population's geometry only the labels explain."""
    geometry = stimuli.geometry(responses)
    if np.isfinite(geometry.alignment):
        yield Value("task_alignment", geometry.alignment, n=len(responses))
        yield Value("task_share", geometry.share, n=len(responses))


def _finite(numbers: np.ndarray) -> np.ndarray:
    return numbers[np.isfinite(numbers)]
