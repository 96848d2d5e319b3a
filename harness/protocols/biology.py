"""The biology audit: synapses and responses of trained learners, at the end and over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.fronts.learner import untrained
from harness.learning.connectome import effective
from harness.learning.learner import Budget, Learner
from harness.metrics import capacity, cortex, selectivity, spectrum
from harness.protocols.balance_numbers import NOT_APPLICABLE, balance_values
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.dimension_numbers import dimension_values
from harness.protocols.on_a_split import TrainsOnASplit
from harness.protocols.response_numbers import Stimuli, pixel_values, response_values
from harness.protocols.setting import Setting
from harness.protocols.subset import First, Several, of_config, subset, too_many
from harness.protocols.synapse_numbers import (
    audit,
    network_values,
    synaptic_values,
    weights_and_live,
)
from harness.protocols.tail_numbers import rate_values, weight_tail_values
from harness.records import Value
from harness.registry import protocols

GAINED = ("task_alignment", "cka_labels", "class_selectivity")
"""Numbers whose change over training is a value of its own."""

FIELDS = 36
"""Receptive fields that are kept for a figure."""

QUANTILES = 1001
"""Points of a weight distribution that are kept for a figure."""


@dataclass(frozen=True)
class BiologySetting(Setting):
    """Which images are shown, and whether states during training are measured too.

    Attributes:
        splitting, split: That the images are drawn from.
        images: How many, drawn at random; or ``"first N"``.
        over_time: Whether snapshots are measured.
        label_effect: Whether the learner is trained again, on permuted labels.
    """

    splitting: str
    split: str
    images: int | str
    over_time: bool
    label_effect: bool


@protocols.register("biology")
class Biology(TrainsOnASplit[BiologySetting]):
    """Weights and responses of trained learners: synapses, Dale's law, sparseness, selectivity.

    A number of a whole network is the mean over its bundles of synapses. Bundles are weighted by
    live synapses (for Dale's law, by neurons). With the setting ``bundle`` a number describes that
    bundle alone. Distances from a lognormal are also taken before training: only what learning
    added counts.

    With ``over_time``, the same numbers are measured on the snapshots that a suite with
    ``snapshots: true`` keeps, under the setting ``images_seen``.
    """

    setting_type = BiologySetting
    keys = ("bundle", "images_seen", "against")

    class Config(ProtocolConfig):
        """Which images responses are measured on."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split whose images are shown"
        )
        images: Several = Field(
            1000,
            description="how many of them, drawn at random (all if there are fewer), or "
            "{first: N}: the first N in the dataset's order",
        )
        over_time: bool = Field(
            False,
            description="measure the states during training too; the suite must keep `snapshots`",
        )
        label_effect: bool = Field(
            False,
            description="train each learner again on permuted labels, and measure what the true "
            "ones caused; doubles the cost",
        )

    config: Config

    def settings(self) -> Iterator[BiologySetting]:
        """Yield one setting."""
        config = self.config
        images = of_config(config.images)
        assert images is not None, "the key has a default and does not take null"
        yield BiologySetting(
            self.splitting, config.split, images, config.over_time, config.label_effect
        )

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splittings and splits."""
        splittings = self.facts.splittings
        if self.splitting not in splittings:
            yield Fault(
                ("splitting",),
                f"no splitting {self.splitting!r}",
                f"allowed: {', '.join(splittings)}",
            )
        elif self.config.split not in splittings[self.splitting]:
            yield Fault(
                ("split",),
                f"no split {self.config.split!r} in {self.splitting!r}",
                f"allowed: {', '.join(splittings[self.splitting])}",
            )
        elif isinstance(self.config.images, First):
            available = splittings[self.splitting][self.config.split].images
            yield from too_many(self.config.images, available)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: BiologySetting, context: Context
    ) -> Measurement:
        """Measure synapses before and after training, and responses to a seeded sample of images.

        Raises:
            HarnessError: ``over_time`` is set and no snapshots were kept.
        """
        images = data.split(setting.splitting, setting.split)
        stimuli = Stimuli.of(_shown(images, setting.images, context), context)
        responses = stimuli.shown_to(learner, context)
        values = [
            *synaptic_values(learner),
            *weight_tail_values(learner),
            *response_values(responses, stimuli),
            *pixel_values(stimuli.pixels),
            *rate_values(responses),
            *dimension_values(responses, stimuli.pixels),
            *_resources(learner, responses),
        ]
        balanced = list(balance_values(learner, stimuli.pixels))
        values += balanced
        arrays = _arrays(learner, responses, stimuli, context)
        if setting.label_effect and not learner.comes_trained(learner.config):
            train = data.split(setting.splitting, "train")
            values += _label_effect(learner, train, responses, stimuli, context)
        if setting.over_time:
            values += _over_time(learner, stimuli, context)
        return Measurement(values, arrays, remarks=[] if balanced else [NOT_APPLICABLE])

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        split = self.facts.splittings[self.splitting][config.split]
        chosen = config.images
        if isinstance(chosen, First):
            images = f"the first {chosen.first} images"
        else:
            images = f"{min(chosen, split.images)} images"
        return {
            "responses": f"{self.splitting}/{config.split}, {images}",
            "training": f"{self.splitting}/train, labelled",
            "weights": "as neurons read them: scaled to length one where the learner does so",
            "live synapse": "exists, and abs(w) exceeds 1 % of the mean over those that exist",
            "Dale purity, chance": "expected if each live synapse drew its sign independently, "
            "with the network's shares of signs",
            "initial": "the same learner before training",
            "sparseness": "Treves-Rolls and Hoyer, 0 dense to 1 sparse",
            "stimulus clusters": "k-means of the pixels shown, as many as there are classes",
            "eta squared": "share of a unit's variance between classes (or clusters), mean over "
            "units",
            "mutual information": f"of a unit's response in {selectivity.BINS} bins and the class "
            "(or cluster), Miller-Madow corrected",
            "CKA": "linear, of the responses with the one-hot labels (or the pixels)",
            "task alignment": "cosine, from -1 to 1, of the geometries of code and labels, after "
            "all that kernels of pixels, random networks and clusters explain was removed",
            "task share": "share of the code's geometry that only the labels explain, with the "
            "sign of the alignment",
            "label effect": "task alignment less that of the same rule, seed and images with "
            "permuted labels; 0 by construction for a rule that sees no labels",
            "eigenspectrum": f"variance ~ n^-exponent from component {spectrum.FIRST} on, weights "
            "1/n, 95 % jackknife interval over stimuli",
            "participation ratio": "unbiased for Gaussian responses",
            "lognormal z": "Vuong's test against the family that comes closest; above 1.96 the "
            "lognormal is shown to be better, below -1.96 worse; of weights, synapses "
            "of one neuron count as one observation",
            "left-truncated fit": "a lognormal that lost what is smaller than the smallest live "
            "weight",
            "E, I": "drives of the first layer from pixels by positive and by negative weights; "
            "correlation over images, median over units; inputs that rise and fall together give "
            "random weights 0.9",
            "information": "sum over units of the entropy of their response in "
            f"{capacity.LEVELS} steps: an upper bound, as are bits per live synapse",
            cortex.CONDITION: "ranges of recordings that differ in species, area, stimuli and "
            "measure; inside is compatible with cortex, not evidence of it",
        }


def _shown(images: Images, chosen: int | str, context: Context) -> Images:
    """The first images, or a sample that is drawn anew for each seed."""
    if isinstance(chosen, str):
        return subset(images, chosen)
    generator = context.rng.numpy("biology images")
    rows = generator.choice(len(images), min(chosen, len(images)), replace=False)
    return images.take(np.sort(rows))


def _label_effect(
    learner: Learner, train: Images, responses: np.ndarray, stimuli: Stimuli, context: Context
) -> Iterator[Value]:
    """Yield what the labels caused: task alignment less that of a twin with permuted labels."""
    own = stimuli.geometry(responses).alignment
    order = context.rng.numpy("permuted labels").permutation(len(train))
    permuted = replace(train, labels=train.known_labels[order])
    seen = learner.training_log.images_seen if learner.training_log else 0
    twin = untrained(learner).to(context.device)
    twin.fit(permuted, budget=Budget(seen or None), progress=context.progress)
    effect = own - stimuli.geometry(stimuli.shown_to(twin, context)).alignment
    if np.isfinite(effect):
        yield Value("label_effect", effect, n=len(responses))


def _over_time(learner: Learner, stimuli: Stimuli, context: Context) -> Iterator[Value]:
    """Yield the network's numbers at each snapshot and at the end, then their gains.

    Raises:
        HarnessError: no snapshots were kept, or the images of training were not counted.
    """
    if learner.snapshots is None or learner.training_log is None:
        raise HarnessError(
            "no states over time were kept", hint="set `snapshots: true` in the suite"
        )
    if not learner.training_log.images_seen:
        raise HarnessError(
            f"{learner.kind} counts no training images, so its states have no times",
            hint="add to `images_seen` of the TrainingLog in `fit`",
        )
    # The last snapshot may be of the very end, before a read-out was fitted: the final state
    # replaces it.
    states = {**learner.snapshots(), learner.training_log.images_seen: learner.state_dict()}
    earlier = untrained(learner).to(context.device)
    courses: dict[str, list[float]] = {}
    for images_seen, state in states.items():
        earlier.load_state_dict(state)
        bundles = {synapses.name: audit(synapses) for synapses in effective(earlier)[:1]}
        values = list(network_values(bundles, {})) if bundles else []
        values += response_values(stimuli.shown_to(earlier, context), stimuli)
        for value in values:
            courses.setdefault(value.metric, []).append(value.value)
            yield replace(value, setting={"images_seen": images_seen})
    for metric in GAINED:
        course = courses.get(metric)
        if course:
            yield Value(f"{metric}_gain", course[-1] - course[0], n=len(stimuli.classes))


def _resources(learner: Learner, responses: np.ndarray) -> Iterator[Value]:
    """Yield the information in responses, and the capacity of the first bundle's live synapses."""
    bits = capacity.information(responses)
    yield Value("information_bits", bits, n=responses.shape[1], unit="neuron")
    for first in effective(learner)[:1]:
        live = audit(first).live
        yield Value("live_synapses", float(live), n=first.weight.numel(), unit="synapse")
        if live:
            yield Value("capacity_bits", capacity.capacity(bits, live), n=live, unit="synapse")


def _arrays(
    learner: Learner, responses: np.ndarray, stimuli: Stimuli, context: Context
) -> dict[str, np.ndarray]:
    """Arrays that figures need beside the numbers, of the first bundle and its neurons."""
    selective = selectivity.class_selectivity(np.abs(responses), stimuli.classes)
    arrays = {
        "selectivity": selective.astype(np.float32),
        "spectrum": spectrum.variances(responses)[: spectrum.LAST],
        "spectrum_pixels": spectrum.variances(stimuli.pixels)[: spectrum.LAST],
    }
    for first in effective(learner)[:1]:
        weight, live = weights_and_live(first)
        arrays["live_per_neuron"] = live.sum(0)
        if live.any():
            logs = np.log(np.abs(weight[live]))
            arrays["log_weight_quantiles"] = np.quantile(logs, np.linspace(0, 1, QUANTILES))
        if len(weight) == stimuli.pixels.shape[1]:
            order = context.rng.numpy("fields").permutation(weight.shape[1])
            neurons = np.sort(order[:FIELDS])
            fields = weight.T[neurons].reshape(-1, *learner.image_shape)
            arrays["receptive_fields"] = fields.astype(np.float32)
    return arrays
