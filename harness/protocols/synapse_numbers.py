"""Numbers of synapses for the biology audit: live synapses, weight distribution, Dale's law."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.fronts.learner import untrained
from harness.learning.connectome import effective
from harness.learning.learner import Learner, Synapses
from harness.metrics import dale, distributions, sparsity
from harness.records import Value


@dataclass(frozen=True)
class Bundle:
    """Numbers of one bundle of synapses.

    Attributes:
        synapses: Number of possible synapses.
        live: Number of live ones.
        per_input: Live synapses for each presynaptic neuron.
        purity: (n,), sign purity of each presynaptic neuron with live synapses; empty where rows
            do not hold everything that a neuron sends.
        chance: Expected mean purity if signs were drawn independently; nan without ``purity``.
        sigma, skew, kurtosis: Moments of the log sizes of live synapses.
        ks: Kolmogorov-Smirnov distance of the log sizes from a normal distribution.
        gini: Gini coefficient of the sizes.
        aic: (families,), Akaike's criterion of each family in ``distributions.FAMILIES``.
    """

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


def weights_and_live(synapses: Synapses) -> tuple[np.ndarray, np.ndarray]:
    """Read the weights of a bundle and find its live synapses.

    Returns:
        weights, float64 (pre, post), and live synapses, bool of the same shape.
    """
    weight = synapses.weight.detach().cpu().double().numpy()
    mask = None if synapses.mask is None else synapses.mask.cpu().numpy()
    return weight, sparsity.live_synapses(weight, mask)


def audit(synapses: Synapses) -> Bundle:
    """Measure one bundle; its distribution is nan if fewer than three synapses are live."""
    weight, live = weights_and_live(synapses)
    sizes = np.abs(weight[live & (weight != 0)])
    sigma = skew = kurtosis = ks = np.nan
    criteria = np.full(len(distributions.FAMILIES), np.nan)
    if len(sizes) > 2:
        sigma, skew, kurtosis = distributions.log_moments(sizes)
        ks = distributions.ks_lognormal(sizes)
        criteria = np.array(list(distributions.aic(sizes).values()))

    # Dale's law can only be tested where a row holds everything that a neuron sends.
    purity = np.empty(0)
    chance = np.nan
    if synapses.presynaptic_sign:
        purity = dale.sign_purity(weight, live)
        chance = dale.chance_purity(weight, live)
    return Bundle(
        synapses=weight.size,
        live=int(live.sum()),
        per_input=float(live.sum() / len(weight)),
        purity=purity[~np.isnan(purity)],
        chance=chance,
        sigma=sigma,
        skew=skew,
        kurtosis=kurtosis,
        ks=ks,
        gini=sparsity.gini(weight),
        aic=criteria,
    )


def synaptic_values(learner: Learner) -> Iterator[Value]:
    """Yield the numbers of the network, then of each bundle; none without synapses."""
    after = effective(learner)
    if not after:
        return
    before = {synapses.name: synapses for synapses in effective(untrained(learner))}
    trained_bundles = {synapses.name: audit(synapses) for synapses in after}
    initial_bundles = {
        synapses.name: audit(before[synapses.name]) for synapses in after if synapses.name in before
    }
    count = sum(bundle.synapses for bundle in trained_bundles.values())
    yield from network_values(trained_bundles, initial_bundles)
    log = getattr(learner, "training_log", None)
    if log is not None and log.sign_changes is not None:
        yield Value("sign_changes", float(log.sign_changes), n=count, unit="synapse")
    yield Value("sign_flips", float(_sign_flips(before, after)), n=count, unit="synapse")
    is_enforced = any(synapses.enforced for synapses in after)
    yield Value("enforced", float(is_enforced), n=len(after), unit="synapse")
    if len(after) > 1:
        for synapses in after:
            yield from _bundle_values(synapses, trained_bundles, initial_bundles)


def _sign_flips(before: dict[str, Synapses], after: list[Synapses]) -> int:
    """Count reversed signs over all bundles that had the same shape before training."""
    flips = 0
    for synapses in after:
        initial = before.get(synapses.name)
        if initial is None or initial.weight.shape != synapses.weight.shape:
            continue
        flips += dale.sign_flips(
            initial.weight.detach().cpu().numpy(), synapses.weight.detach().cpu().numpy()
        )
    return flips


def _bundle_values(
    synapses: Synapses, trained: dict[str, Bundle], initial: dict[str, Bundle]
) -> Iterator[Value]:
    """Yield the numbers of one bundle, with the setting ``bundle``."""
    name = synapses.name
    setting = {"bundle": name}
    own_initial = {name: initial[name]} if name in initial else {}
    for value in network_values({name: trained[name]}, own_initial):
        yield replace(value, setting=setting)
    yield Value(
        "enforced",
        float(synapses.enforced),
        n=trained[name].synapses,
        unit="synapse",
        setting=setting,
    )


def network_values(trained: dict[str, Bundle], initial: dict[str, Bundle]) -> Iterator[Value]:
    """Yield the finite numbers of some bundles taken together.

    Args:
        trained: name -> bundle; the first gives the live synapses for each input.
        initial: the same bundles before training, as far as they existed.
    """
    bundles = list(trained.values())
    live = sum(bundle.live for bundle in bundles)
    values = _distribution(bundles, list(initial.values()), live)
    values += _dale(bundles)
    values += _families(bundles, live)
    for value in values:
        if np.isfinite(value.value):
            yield value


def _distribution(bundles: list[Bundle], initial: list[Bundle], live: int) -> list[Value]:
    """How many synapses are live, and how their sizes are distributed."""
    total = sum(bundle.synapses for bundle in bundles)
    first = bundles[0]
    sizes = {
        "sigma_log_w": _weighted(bundles, "sigma"),
        "sigma_log_w_init": _weighted(initial, "sigma"),
        "skew_log_w": _weighted(bundles, "skew"),
        "kurtosis_log_w": _weighted(bundles, "kurtosis"),
        "ks_log_w": _weighted(bundles, "ks"),
        "ks_log_w_init": _weighted(initial, "ks"),
        "gini_w": _weighted(bundles, "gini"),
    }
    return [
        Value("live_share", live / total, n=total, unit="synapse"),
        Value("live_per_input", first.per_input, n=first.synapses, unit="synapse"),
        *(Value(metric, number, n=live, unit="synapse") for metric, number in sizes.items()),
    ]


def _dale(bundles: list[Bundle]) -> list[Value]:
    """Mean sign purity over neurons, and the purity expected by chance."""
    purity = np.concatenate([bundle.purity for bundle in bundles])
    if not len(purity):
        return []
    weighted = sum(bundle.chance * len(bundle.purity) for bundle in bundles if len(bundle.purity))
    chance = weighted / len(purity)
    return [
        Value("dale_purity", float(purity.mean()), n=len(purity), unit="neuron"),
        Value("dale_purity_chance", float(chance), n=len(purity), unit="neuron"),
    ]


def _families(bundles: list[Bundle], live: int) -> list[Value]:
    """The best family of distributions, and the lognormal's lead over the best other one."""
    fitted = [bundle.aic for bundle in bundles if bundle.live > 2]
    if not fitted:
        return []
    criteria = np.sum(fitted, axis=0)
    if not np.isfinite(criteria).all():
        return []
    best_other = np.delete(criteria, 0).min()
    lead = float(best_other - criteria[0]) / live
    return [
        Value("aic_lead", lead, n=live, unit="synapse"),
        Value("best_family", float(criteria.argmin()), n=live, unit="synapse"),
    ]


def _weighted(bundles: Iterable[Bundle], name: str) -> float:
    """Mean of a finite number over bundles, weighted by live synapses; nan if none has it."""
    having = [bundle for bundle in bundles if np.isfinite(getattr(bundle, name))]
    live = sum(bundle.live for bundle in having)
    if not live:
        return float("nan")
    return sum(getattr(bundle, name) * bundle.live for bundle in having) / live
