"""Are rates and weights lognormal? Fits and likelihood-ratio tests for the biology audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.fronts.learner import untrained
from harness.learning.connectome import effective
from harness.learning.learner import Learner, Synapses
from harness.metrics import distributions, tails
from harness.protocols.synapse_numbers import weights_and_live
from harness.records import Unit, Value

SILENT = 1e-3
"""A unit whose rate is at most this share of the mean rate is silent."""

FEWEST = 20
"""Least number of rates or weights that are compared with families of distributions."""

MOST = 20000
"""Weights of a bundle that families are fitted to, drawn at random if there are more."""


def rate_values(responses: np.ndarray) -> Iterator[Value]:
    """Yield how mean rates are distributed across units (stimuli, units).

    A rate is the mean of a unit's rectified response. Silent units are counted apart. The lognormal
    is compared with every other family by Vuong's test, whose n is the number of units.
    """
    rates = np.maximum(responses, 0).mean(0)
    units = len(rates)
    if not rates.any():
        yield Value("silent_share", 1.0, n=units, unit="neuron")
        return
    active = rates[rates > SILENT * rates.mean()]
    yield Value("silent_share", 1 - len(active) / units, n=units, unit="neuron")
    busiest = np.sort(rates)[::-1][: max(1, round(units / 10))]
    yield Value("rate_top_tenth", float(busiest.sum() / rates.sum()), n=units, unit="neuron")
    sigma, skew, kurtosis = distributions.log_moments(active)
    if len(active) < FEWEST or sigma == 0:
        return
    moments = {"sigma_log_rate": sigma, "skew_log_rate": skew, "kurtosis_log_rate": kurtosis}
    for metric, number in moments.items():
        yield Value(metric, number, n=len(active), unit="neuron")
    fits = tails.fits(active)
    criteria = {name: fit.aic for name, fit in fits.items()}
    best = min(criteria, key=criteria.__getitem__)
    place = list(fits).index(best)
    yield Value("best_family_rate", float(place), n=len(active), unit="neuron")
    yield from _against("lognormal_z_rate", tails.lognormal_lead(fits), len(active), "neuron")


def weight_tail_values(learner: Learner) -> Iterator[Value]:
    """Yield fits to live weights that know of the cut, of the network, then of each bundle.

    The network's standard deviation is the mean over bundles, weighted by live synapses; its z is
    that of the bundle which is least lognormal.
    """
    after = _tails(effective(learner))
    if not after:
        return
    before = _tails(effective(untrained(learner)))
    yield from _network(after, before)
    if len(after) > 1:
        for name, tail in after.items():
            initial = {name: before[name]} if name in before else {}
            for value in _network({name: tail}, initial):
                yield replace(value, setting={"bundle": name, **(value.setting or {})})


@dataclass(frozen=True)
class Tail:
    """The live weights of a bundle, compared with families of distributions.

    Attributes:
        live: Number of live synapses.
        sigma: Of log w, of a lognormal that lost what is smaller than the smallest live weight.
        cut: The smallest live weight, relative to the mean.
        against: Vuong's z of the lognormal against each other family; each neuron's synapses count
            as one observation.
    """

    live: int
    sigma: float
    cut: float
    against: dict[str, float]


def _tails(bundles: list[Synapses]) -> dict[str, Tail]:
    """The bundles that have enough live weights, of different sizes."""
    found = {}
    for synapses in bundles:
        weight, live = weights_and_live(synapses)
        live = live & (weight != 0)
        if live.sum() >= FEWEST and np.ptp(np.abs(weight[live])) > 0:
            found[synapses.name] = _tail(weight, live)
    return found


def _tail(weight: np.ndarray, live: np.ndarray) -> Tail:
    neuron = np.nonzero(live)[1]
    sizes = np.abs(weight[live])
    cut = float(sizes.min())
    chosen = np.arange(len(sizes))
    if len(sizes) > MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(sizes), MOST, replace=False))
    fitted = tails.fits(sizes[chosen], cut)
    return Tail(
        live=len(sizes),
        sigma=fitted["lognormal"].parameters[0],
        cut=cut / float(sizes.mean()),
        against=tails.lognormal_lead(fitted, neuron[chosen]),
    )


def _network(after: dict[str, Tail], before: dict[str, Tail]) -> Iterator[Value]:
    """The numbers of some bundles taken together."""
    live = sum(tail.live for tail in after.values())
    for metric, each in (
        ("sigma_log_w_cut", [tail.sigma for tail in after.values()]),
        ("cut_w", [tail.cut for tail in after.values()]),
    ):
        mean = float(np.average(each, weights=[tail.live for tail in after.values()]))
        yield Value(metric, mean, n=live, unit="synapse")
    for metric, bundles in (("lognormal_z_w", after), ("lognormal_z_w_init", before)):
        least = _least([tail.against for tail in bundles.values()])
        yield from _against(metric, least, live, "synapse")


def _least(each: list[dict[str, float]]) -> dict[str, float]:
    """The smallest z against each family."""
    return {name: min(one[name] for one in each) for name in (each[0] if each else {})}


def _against(metric: str, leads: dict[str, float], n: int, unit: Unit) -> Iterator[Value]:
    """Yield the z against the family that comes closest, then against each."""
    finite = {name: z for name, z in leads.items() if np.isfinite(z)}
    if finite:
        yield Value(metric, min(finite.values()), n=n, unit=unit)
    for name, z in finite.items():
        yield Value(metric, z, n=n, unit=unit, setting={"against": name})
