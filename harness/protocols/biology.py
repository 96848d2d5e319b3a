"""The biology audit: sparsity, weight distribution, Dale's law, sparseness and selectivity, at the end and over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images, Loaded
from harness.errors import HarnessError
from harness.lazy import torch
from harness.learning.connectome import effective
from harness.learning.learner import Learner, Synapses
from harness.metrics import capacity, dale, distributions, selectivity, similarity, sparsity
from harness.metrics.statistics import t_interval
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
    TrainingData,
)
from harness.protocols.setting import Setting
from harness.records import Value
from harness.registry import protocols


@dataclass(frozen=True)
class BiologySetting(Setting):
    """Which images are shown, and whether the states during training are measured too."""

    splitting: str
    split: str
    images: int
    over_time: bool


@protocols.register("biology")
class Biology(Protocol[BiologySetting]):
    """Weights and responses of trained learners: live synapses, Dale's law, lognormality, sparseness.

    A number of a whole network is the mean over its bundles of synapses, each weighted by its live synapses (its
    neurons, for Dale's law); with the setting ``bundle`` it is that bundle's own. The same distances are taken on the
    weights before learning, because only what learning made counts. Over time, the same numbers are taken of the states
    that a suite with ``snapshots: true`` keeps, with the setting ``images_seen``.
    """

    setting_type = BiologySetting
    keys = ("bundle", "images_seen")

    class Config(ProtocolConfig):
        """Which images responses are measured on."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split whose images are shown"
        )
        images: int = Field(
            1000, ge=2, description="how many of them, drawn at random; all if there are fewer"
        )
        over_time: bool = Field(
            False,
            description="measure the states during training too; the suite must keep `snapshots`",
        )

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[BiologySetting]:
        """One cell."""
        config = self.config
        yield BiologySetting(self.splitting, config.split, config.images, config.over_time)

    def training(self) -> TrainingData:
        """The labelled train split."""
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        """A splitting or a split that is not there."""
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

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: BiologySetting, context: Context
    ) -> Measurement:
        """Synapses before and after learning, then responses to a seeded sample of images."""
        images = data.split(setting.splitting, setting.split)
        count = min(setting.images, len(images))
        rows = np.sort(
            context.rng.numpy("biology images").choice(len(images), count, replace=False)
        )
        stimuli = Stimuli.of(images.take(rows), context)
        responses = stimuli.shown_to(learner, context)
        values = [
            *_synaptic(learner),
            *_responses(responses, stimuli),
            *_resources(learner, responses),
        ]
        arrays = _arrays(learner, responses, stimuli, context)
        if setting.over_time:
            values += _over_time(learner, stimuli, context)
        return Measurement(values, arrays)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        split = self.facts.splittings[self.splitting][self.config.split]
        return {
            "responses": f"{self.splitting}/{self.config.split}, {min(self.config.images, split.images)} images",
            "training": f"{self.splitting}/train, labelled",
            "weights": "as neurons read them: at length one where the learner scales them so",
            "live synapse": "it exists, and abs(w) is above 1 % of the mean of those that exist",
            "Dale purity, chance": "if each live synapse drew its sign alone, with the shares of signs that there are",
            "initial": "the same learner before it learned",
            "sparseness": "Treves-Rolls and Hoyer, 0 dense to 1 sparse",
            "stimulus clusters": "k-means of the pixels shown, as many as there are classes",
            "eta squared": "share of a unit's variance between classes (or clusters), mean over units",
            "mutual information": f"of a unit's response in {selectivity.BINS} bins and the class (or cluster), Miller-Madow",
            "CKA": "linear, of the responses with the one-hot labels (or the pixels)",
            "task index": "CKA with labels / (CKA with labels + CKA with pixels)",
            "information": f"sum over units of the entropy of their response in {capacity.LEVELS} steps: an upper bound",
        }


@dataclass(frozen=True)
class Bundle:
    """What is measured on one bundle of synapses."""

    synapses: int
    live: int
    per_input: float
    purity: np.ndarray
    chance: float
    sigma: float
    skew: float
    kurtosis: float
    ks: float
    gini: float
    aic: np.ndarray


def audit(synapses: Synapses) -> Bundle:
    """Measure one bundle; distributions are nan where fewer than three synapses live."""
    weight = synapses.weight.detach().cpu().double().numpy()
    live = sparsity.live_synapses(
        weight, None if synapses.mask is None else synapses.mask.cpu().numpy()
    )
    sizes = np.abs(weight[live & (weight != 0)])
    sigma, skew, kurtosis, ks, criteria = (
        np.nan,
        np.nan,
        np.nan,
        np.nan,
        np.full(len(distributions.FAMILIES), np.nan),
    )
    if len(sizes) > 2:
        sigma, skew, kurtosis = distributions.log_moments(sizes)
        ks, criteria = (
            distributions.ks_lognormal(sizes),
            np.array(list(distributions.aic(sizes).values())),
        )
    purity = dale.sign_purity(weight, live) if synapses.presynaptic_sign else np.empty(0)
    return Bundle(
        weight.size,
        int(live.sum()),
        float(live.sum() / len(weight)),
        purity[~np.isnan(purity)],
        dale.chance_purity(weight, live) if synapses.presynaptic_sign else np.nan,
        sigma,
        skew,
        kurtosis,
        ks,
        sparsity.gini(weight),
        criteria,
    )


def _synaptic(learner: Learner) -> Iterator[Value]:
    """Values of the network, then of each bundle; none for a learner without synapses."""
    after = effective(learner)
    if not after:
        return
    untrained = type(learner)(learner.config, learner.image_shape, learner.n_classes, learner.rng)
    before = {s.name: s for s in effective(untrained)}
    now = {s.name: audit(s) for s in after}
    then = {s.name: audit(before[s.name]) for s in after if s.name in before}
    flips = {
        s.name: dale.sign_flips(
            before[s.name].weight.detach().cpu().numpy(), s.weight.detach().cpu().numpy()
        )
        for s in after
        if s.name in before and before[s.name].weight.shape == s.weight.shape
    }
    yield from _network(now, then, None)
    log = getattr(learner, "training_log", None)
    if log is not None:
        yield Value(
            "sign_changes",
            float(log.sign_changes),
            n=sum(b.synapses for b in now.values()),
            unit="synapse",
        )
    yield Value(
        "sign_flips",
        float(sum(flips.values())),
        n=sum(b.synapses for b in now.values()),
        unit="synapse",
    )
    yield Value("enforced", float(any(s.enforced for s in after)), n=len(after), unit="synapse")
    if len(after) > 1:
        for synapses in after:
            name, was = synapses.name, {k: v for k, v in then.items() if k == synapses.name}
            yield from _network({name: now[name]}, was, {"bundle": name})
            yield Value(
                "enforced",
                float(synapses.enforced),
                n=now[name].synapses,
                unit="synapse",
                setting={"bundle": name},
            )


def _network(
    now: dict[str, Bundle], then: dict[str, Bundle], setting: dict[str, str] | None
) -> Iterator[Value]:
    """Values of some bundles taken together."""
    bundles, live = list(now.values()), sum(b.live for b in now.values())
    total, purity = sum(b.synapses for b in bundles), np.concatenate([b.purity for b in bundles])
    criteria = np.sum([b.aic for b in bundles if b.live > 2], axis=0)
    values = [
        Value("live_share", live / total, n=total, unit="synapse"),
        Value("live_per_input", bundles[0].per_input, n=bundles[0].synapses, unit="synapse"),
        Value("sigma_log_w", _weighted(bundles, "sigma"), n=live, unit="synapse"),
        Value("sigma_log_w_init", _weighted(then.values(), "sigma"), n=live, unit="synapse"),
        Value("skew_log_w", _weighted(bundles, "skew"), n=live, unit="synapse"),
        Value("kurtosis_log_w", _weighted(bundles, "kurtosis"), n=live, unit="synapse"),
        Value("ks_log_w", _weighted(bundles, "ks"), n=live, unit="synapse"),
        Value("ks_log_w_init", _weighted(then.values(), "ks"), n=live, unit="synapse"),
        Value("gini_w", _weighted(bundles, "gini"), n=live, unit="synapse"),
    ]
    if len(purity):
        chance = sum(b.chance * len(b.purity) for b in bundles if len(b.purity)) / len(purity)
        values += [
            Value("dale_purity", float(purity.mean()), n=len(purity), unit="neuron"),
            Value("dale_purity_chance", float(chance), n=len(purity), unit="neuron"),
        ]
    if np.ndim(criteria) and np.isfinite(criteria).all():
        lead = float(np.delete(criteria, 0).min() - criteria[0]) / live
        values += [
            Value("aic_lead", lead, n=live, unit="synapse"),
            Value("best_family", float(criteria.argmin()), n=live, unit="synapse"),
        ]
    for value in values:
        if np.isfinite(value.value):
            yield Value(value.metric, value.value, n=value.n, unit=value.unit, setting=setting)


def _weighted(bundles: Iterator[Bundle], name: str) -> float:
    """Mean over bundles that have the number, weighted by live synapses; nan where none has."""
    having = [(getattr(b, name), b.live) for b in bundles if np.isfinite(getattr(b, name))]
    return (
        sum(value * live for value, live in having) / sum(live for _, live in having)
        if having
        else float("nan")
    )


@dataclass(frozen=True)
class Stimuli:
    """What is shown, and what is known of it beside the pixels.

    Attributes:
        images: float32 (N, C, H, W).
        pixels: (N, n), the same, flat.
        classes, clusters: int64 (N,).
    """

    images: torch.Tensor
    pixels: np.ndarray
    classes: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, images: Images, context: Context) -> Stimuli:
        """A sample of labelled images; as many clusters as there are classes."""
        classes = np.unique(images.labels, return_inverse=True)[1]
        pixels = images.pixels.reshape(len(images), -1) / 255
        clusters = selectivity.stimulus_clusters(
            pixels, classes.max() + 1, context.rng.child("clusters").seed
        )
        return cls(images.tensor(context.device), pixels, classes, clusters)

    def shown_to(self, learner: Learner, context: Context) -> np.ndarray:
        """Responses (N, units)."""
        with torch.no_grad():
            return (
                in_batches(learner.embed, self.images, batch_size=context.batch_size)
                .cpu()
                .double()
                .numpy()
            )


def _over_time(learner: Learner, stimuli: Stimuli, context: Context) -> Iterator[Value]:
    """The network's numbers and its responses' at each state that was kept, then at the end."""
    if learner.snapshots is None:
        raise HarnessError(
            "no states over time were kept", hint="set `snapshots: true` in the suite"
        )
    then = type(learner)(learner.config, learner.image_shape, learner.n_classes, learner.rng).to(
        context.device
    )
    courses: dict[str, list[float]] = {}
    # The last snapshot may be of the very end, before a read-out was fitted: the end itself takes its place.
    for seen, state in {
        **learner.snapshots(),
        learner.training_log.images_seen: learner.state_dict(),
    }.items():
        then.load_state_dict(state)
        bundles = {s.name: audit(s) for s in effective(then)[:1]}
        for value in [
            *(_network(bundles, {}, None) if bundles else ()),
            *_responses(stimuli.shown_to(then, context), stimuli),
        ]:
            courses.setdefault(value.metric, []).append(value.value)
            yield replace(value, setting={"images_seen": seen})
    for metric in GAINED:
        if courses.get(metric):
            yield Value(
                f"{metric}_gain", courses[metric][-1] - courses[metric][0], n=len(stimuli.classes)
            )


def _resources(learner: Learner, responses: np.ndarray) -> Iterator[Value]:
    """What the first bundle's live synapses carry."""
    bits = capacity.information(responses)
    yield Value("information_bits", bits, n=responses.shape[1], unit="neuron")
    first = effective(learner)[:1]
    if first:
        live = audit(first[0]).live
        yield Value("live_synapses", float(live), n=first[0].weight.numel(), unit="synapse")
        if live:
            yield Value("capacity_bits", capacity.capacity(bits, live), n=live, unit="synapse")


GAINED = ("task_index", "cka_labels", "class_selectivity")
"""Numbers whose change from before learning to its end is a value of its own."""

FIELDS, QUANTILES = 36, 1001
"""Receptive fields that a figure shows; points of a weight distribution that are kept for it."""


def _arrays(
    learner: Learner, responses: np.ndarray, stimuli: Stimuli, context: Context
) -> dict[str, np.ndarray]:
    """What figures need beside the numbers, of the first bundle and of its neurons."""
    arrays = {
        "selectivity": selectivity.class_selectivity(np.abs(responses), stimuli.classes).astype(
            np.float32
        )
    }
    for synapses in effective(learner)[:1]:
        weight = synapses.weight.detach().cpu().double().numpy()
        live = sparsity.live_synapses(
            weight, None if synapses.mask is None else synapses.mask.cpu().numpy()
        )
        arrays["live_per_neuron"] = live.sum(0)
        if live.any():
            arrays["log_weight_quantiles"] = np.quantile(
                np.log(np.abs(weight[live])), np.linspace(0, 1, QUANTILES)
            )
        if len(weight) == stimuli.pixels.shape[1]:
            neurons = np.sort(context.rng.numpy("fields").permutation(weight.shape[1])[:FIELDS])
            arrays["receptive_fields"] = (
                weight.T[neurons].reshape(-1, *learner.image_shape).astype(np.float32)
            )
    return arrays


def _responses(responses: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """Sparseness of responses (stimuli, units), what units are selective for, and units that never respond."""
    for name, sparseness in (("treves_rolls", sparsity.treves_rolls), ("hoyer", sparsity.hoyer)):
        for axis, over in ((0, "unit"), (1, "stimulus")):
            found = sparseness(responses, axis)
            found = found[np.isfinite(found)]
            if len(found):
                low, high = t_interval(found) if over == "stimulus" else (None, None)
                unit = "neuron" if over == "unit" else "sample"
                yield Value(f"{name}_{over}", float(found.mean()), low, high, len(found), unit)
    yield Value(
        "dead_units",
        float(sparsity.silent_units(responses).sum()),
        n=responses.shape[1],
        unit="neuron",
    )
    yield from _selectivity(np.abs(responses), stimuli)


def _selectivity(rates: np.ndarray, stimuli: Stimuli) -> Iterator[Value]:
    """From features to task: single units by class and by cluster, then the whole population."""
    units = {
        "class_selectivity": selectivity.class_selectivity(rates, stimuli.classes),
        "eta2_class": selectivity.eta_squared(rates, stimuli.classes),
        "eta2_cluster": selectivity.eta_squared(rates, stimuli.clusters),
        "mi_class": selectivity.mutual_information(rates, stimuli.classes),
        "mi_cluster": selectivity.mutual_information(rates, stimuli.clusters),
    }
    for name, found in units.items():
        found = found[np.isfinite(found)]
        if len(found):
            yield Value(name, float(found.mean()), n=len(found), unit="neuron")
    labels = similarity.linear_cka(rates, np.eye(stimuli.classes.max() + 1)[stimuli.classes])
    pixels = similarity.linear_cka(rates, stimuli.pixels)
    if np.isfinite(labels) and np.isfinite(pixels):
        for name, value in (
            ("cka_labels", labels),
            ("cka_pixels", pixels),
            ("task_index", labels / (labels + pixels)),
        ):
            yield Value(name, value, n=len(rates))
    yield Value(
        "units_per_class",
        selectivity.units_per_class(rates, stimuli.classes),
        n=rates.shape[1],
        unit="neuron",
    )
