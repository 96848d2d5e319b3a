"""The biology audit: sparsity, weight distribution, Dale's law and the sparseness of responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Loaded
from harness.lazy import torch
from harness.learner import Learner, Synapses
from harness.metrics import dale, distributions, sparsity
from harness.metrics.statistics import t_interval
from harness.protocols.base import Context, Fault, Measurement, Protocol, ProtocolConfig, TrainingData
from harness.records import Value
from harness.registry import protocols


@protocols.register("biology")
class Biology(Protocol):
    """Weights and responses of trained learners: live synapses, Dale's law, lognormality, sparseness.

    A number of a whole network is the mean over its bundles of synapses, each weighted by its live synapses (its
    neurons, for Dale's law); with the setting ``bundle`` it is that bundle's own. The same distances are taken on the
    weights before learning, because only what learning made counts.
    """

    keys = ("bundle",)

    class Config(ProtocolConfig):
        """Which images responses are measured on."""

        splitting: str | None = Field(None, description="which splitting of the dataset; its first one if left out")
        split: Literal["train", "val", "test"] = Field("test", description="the split whose images are shown")
        images: int = Field(1000, ge=2, description="how many of them, drawn at random; all if there are fewer")

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell."""
        yield {"splitting": self.splitting, "split": self.config.split, "images": self.config.images}

    def training(self) -> TrainingData:
        """The labelled train split."""
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        """A splitting or a split that is not there."""
        splittings = self.facts.splittings
        if self.splitting not in splittings:
            yield Fault(("splitting",), f"no splitting {self.splitting!r}", f"allowed: {', '.join(splittings)}")
        elif self.config.split not in splittings[self.splitting]:
            yield Fault(("split",), f"no split {self.config.split!r} in {self.splitting!r}",
                        f"allowed: {', '.join(splittings[self.splitting])}")

    @classmethod
    def measure(cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context) -> Measurement:
        """Synapses before and after learning, then responses to a seeded sample of images."""
        images = data.split(setting["splitting"], setting["split"])
        count = min(setting["images"], len(images))
        rows = np.sort(context.rng.numpy("biology images").choice(len(images), count, replace=False))
        with torch.no_grad():
            shown = images.take(rows).tensor(context.device)
            responses = in_batches(learner.embed, shown, batch_size=context.batch_size).cpu().double().numpy()
        return Measurement([*_synaptic(learner), *_responses(responses)])

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        split = self.facts.splittings[self.splitting][self.config.split]
        return {
            "responses": f"{self.splitting}/{self.config.split}, {min(self.config.images, split.images)} images",
            "training": f"{self.splitting}/train, labelled",
            "live synapse": "it exists, and abs(w) is above 1 % of the mean of those that exist",
            "Dale purity, chance": "if each live synapse drew its sign alone, with the shares of signs that there are",
            "initial": "the same learner before it learned",
            "sparseness": "Treves-Rolls, 0 dense to 1 sparse",
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
    ks: float
    gini: float
    aic: np.ndarray


def audit(synapses: Synapses) -> Bundle:
    """Measure one bundle; distributions are nan where fewer than three synapses live."""
    weight = synapses.weight.detach().cpu().double().numpy()
    live = sparsity.live_synapses(weight, None if synapses.mask is None else synapses.mask.cpu().numpy())
    sizes = np.abs(weight[live & (weight != 0)])
    sigma, skew, ks, criteria = np.nan, np.nan, np.nan, np.full(len(distributions.FAMILIES), np.nan)
    if len(sizes) > 2:
        sigma, skew, _ = distributions.log_moments(sizes)
        ks, criteria = distributions.ks_lognormal(sizes), np.array(list(distributions.aic(sizes).values()))
    purity = dale.sign_purity(weight, live) if synapses.presynaptic_sign else np.empty(0)
    return Bundle(weight.size, int(live.sum()), float(live.sum() / len(weight)), purity[~np.isnan(purity)],
                  dale.chance_purity(weight, live) if synapses.presynaptic_sign else np.nan, sigma, skew, ks,
                  sparsity.gini(weight), criteria)


def _synaptic(learner: Learner) -> Iterator[Value]:
    """Values of the network, then of each bundle; none for a learner without synapses."""
    after = learner.connectome()
    if not after:
        return
    untrained = type(learner)(learner.config, learner.image_shape, learner.n_classes, learner.rng)
    before = {s.name: s for s in untrained.connectome()}
    now = {s.name: audit(s) for s in after}
    then = {s.name: audit(before[s.name]) for s in after if s.name in before}
    flips = {s.name: dale.sign_flips(before[s.name].weight.detach().cpu().numpy(), s.weight.detach().cpu().numpy())
             for s in after if s.name in before and before[s.name].weight.shape == s.weight.shape}
    yield from _network(now, then, None)
    log = getattr(learner, "training_log", None)
    if log is not None:
        yield Value("sign_changes", float(log.sign_changes), n=sum(b.synapses for b in now.values()), unit="synapse")
    yield Value("sign_flips", float(sum(flips.values())), n=sum(b.synapses for b in now.values()), unit="synapse")
    yield Value("enforced", float(any(s.enforced for s in after)), n=len(after), unit="synapse")
    if len(after) > 1:
        for synapses in after:
            name, was = synapses.name, {k: v for k, v in then.items() if k == synapses.name}
            yield from _network({name: now[name]}, was, {"bundle": name})
            yield Value("enforced", float(synapses.enforced), n=now[name].synapses, unit="synapse", setting={"bundle": name})


def _network(now: dict[str, Bundle], then: dict[str, Bundle], setting: dict[str, str] | None) -> Iterator[Value]:
    """Values of some bundles taken together."""
    bundles, live = list(now.values()), sum(b.live for b in now.values())
    total, purity = sum(b.synapses for b in bundles), np.concatenate([b.purity for b in bundles])
    criteria = np.sum([b.aic for b in bundles if b.live > 2], axis=0)
    values = [Value("live_share", live / total, n=total, unit="synapse"),
              Value("live_per_input", bundles[0].per_input, n=bundles[0].synapses, unit="synapse"),
              Value("sigma_log_w", _weighted(bundles, "sigma"), n=live, unit="synapse"),
              Value("sigma_log_w_init", _weighted(then.values(), "sigma"), n=live, unit="synapse"),
              Value("skew_log_w", _weighted(bundles, "skew"), n=live, unit="synapse"),
              Value("ks_log_w", _weighted(bundles, "ks"), n=live, unit="synapse"),
              Value("ks_log_w_init", _weighted(then.values(), "ks"), n=live, unit="synapse"),
              Value("gini_w", _weighted(bundles, "gini"), n=live, unit="synapse")]
    if len(purity):
        chance = sum(b.chance * len(b.purity) for b in bundles if len(b.purity)) / len(purity)
        values += [Value("dale_purity", float(purity.mean()), n=len(purity), unit="neuron"),
                   Value("dale_purity_chance", float(chance), n=len(purity), unit="neuron")]
    if np.ndim(criteria) and np.isfinite(criteria).all():
        lead = float(np.delete(criteria, 0).min() - criteria[0]) / live
        values += [Value("aic_lead", lead, n=live, unit="synapse"),
                   Value("best_family", float(criteria.argmin()), n=live, unit="synapse")]
    for value in values:
        if np.isfinite(value.value):
            yield Value(value.metric, value.value, n=value.n, unit=value.unit, setting=setting)


def _weighted(bundles: Iterator[Bundle], name: str) -> float:
    """Mean over bundles that have the number, weighted by live synapses; nan where none has."""
    having = [(getattr(b, name), b.live) for b in bundles if np.isfinite(getattr(b, name))]
    return sum(value * live for value, live in having) / sum(live for _, live in having) if having else float("nan")


def _responses(responses: np.ndarray) -> Iterator[Value]:
    """Sparseness of responses (stimuli, units) and units that never respond."""
    stimuli, units = responses.shape
    life, population = sparsity.treves_rolls(responses, 0), sparsity.treves_rolls(responses, 1)
    life, population = life[np.isfinite(life)], population[np.isfinite(population)]
    if len(life):
        yield Value("treves_rolls_unit", float(life.mean()), n=len(life), unit="neuron")
    if len(population):
        yield Value("treves_rolls_stimulus", float(population.mean()), *t_interval(population), n=len(population))
    yield Value("dead_units", float(sparsity.silent_units(responses).sum()), n=units, unit="neuron")
