"""Numbers of responses for the biology audit: sparseness, selectivity, alignment with the task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics import selectivity, similarity, sparsity
from harness.metrics.statistics import share_interval
from harness.protocols.base import Context
from harness.records import Value


@dataclass(frozen=True)
class Stimuli:
    """The images shown, and their groups.

    Attributes:
        images: float32 (N, C, H, W).
        pixels: (N, n), the same images, flat.
        classes: int64 (N,), class of each image, counted from 0.
        clusters: int64 (N,), k-means cluster of each image's pixels.
    """

    images: torch.Tensor
    pixels: np.ndarray
    classes: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, images: Images, context: Context) -> Stimuli:
        """Prepare labelled images; they get as many clusters as they have classes."""
        assert images.labels is not None
        classes = np.unique(images.labels, return_inverse=True)[1]
        pixels = images.pixels.reshape(len(images), -1) / 255
        seed = context.rng.child("clusters").seed
        clusters = selectivity.stimulus_clusters(pixels, classes.max() + 1, seed)
        return cls(images.tensor(context.device), pixels, classes, clusters)

    def shown_to(self, learner: Learner, context: Context) -> np.ndarray:
        """Responses of a learner's units, float64 (N, units)."""
        with torch.no_grad():
            responses = in_batches(learner.embed, self.images, batch_size=context.batch_size)
        return responses.cpu().double().numpy()


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

    if not stimuli.classes.any():
        return  # one class: no unit can be selective for it
    rates = np.abs(responses)
    yield from _unit_selectivity(rates, stimuli)
    yield from _alignment(rates, stimuli)
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
        yield Value("task_index", labels / (labels + pixels), n=len(rates))


def _finite(numbers: np.ndarray) -> np.ndarray:
    return numbers[np.isfinite(numbers)]
