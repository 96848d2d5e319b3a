"""The metrics that tables can show."""

from __future__ import annotations

from typing import Literal

Form = Literal["percent", "count", "flag", "family", "standing", "bracket", "number"]
"""How the values of a metric are printed."""

METRICS: dict[str, tuple[str, Form]] = {
    "accuracy": ("accuracy", "percent"),
    "error": ("error", "percent"),
    "proven": ("proven, %", "percent"),
    "bracket": ("proven–attacked, %", "bracket"),
    "undecided": ("undecided, %", "percent"),
    "broken": ("broken, %", "percent"),
    "transferred": ("transferred, %", "percent"),
    "rank": ("rank", "number"),
    "band": ("in the band", "standing"),
    "relative_drop": ("share of clean accuracy lost, %", "percent"),
    "mce": ("mCE, %", "percent"),
    "auroc": ("AUROC, %", "percent"),
    "fpr95": ("FPR95, %", "percent"),
    "ece": ("ECE, %", "percent"),
    "overconfidence": ("overconfidence, %", "percent"),
    "confidence": ("confidence, %", "percent"),
    "nll": ("NLL, nats", "number"),
    "temperature": ("temperature", "number"),
    "right_in_bin": ("right in the bin, %", "percent"),
    "confidence_in_bin": ("confidence in the bin, %", "percent"),
    "live_share": ("live synapses, %", "percent"),
    "live_per_input": ("live synapses per input", "number"),
    "dale_purity": ("Dale purity", "number"),
    "dale_purity_chance": ("Dale purity, by chance", "number"),
    "enforced": ("enforced", "flag"),
    "sign_changes": ("sign changes", "count"),
    "sign_flips": ("signs flipped since start", "count"),
    "sigma_log_w": ("σ(log w)", "number"),
    "sigma_log_w_init": ("σ(log w), initial", "number"),
    "skew_log_w": ("skew(log w)", "number"),
    "kurtosis_log_w": ("excess kurtosis(log w)", "number"),
    "ks_log_w": ("KS(log w)", "number"),
    "ks_log_w_init": ("KS(log w), initial", "number"),
    "aic_lead": ("AIC lead of lognormal, per synapse", "number"),
    "best_family": ("best family by AIC", "family"),
    "gini_w": ("Gini of weights", "number"),
    "treves_rolls_unit": ("Treves-Rolls, unit", "number"),
    "treves_rolls_stimulus": ("Treves-Rolls, stimulus", "number"),
    "hoyer_unit": ("Hoyer, unit", "number"),
    "hoyer_stimulus": ("Hoyer, stimulus", "number"),
    "dead_units": ("dead units", "count"),
    "class_selectivity": ("class selectivity", "number"),
    "eta2_class": ("η², class", "number"),
    "eta2_cluster": ("η², cluster", "number"),
    "mi_class": ("bits of class, unit", "number"),
    "mi_cluster": ("bits of cluster, unit", "number"),
    "cka_labels": ("CKA, labels", "number"),
    "cka_pixels": ("CKA, pixels", "number"),
    "task_index": ("task index", "number"),
    "task_index_gain": ("task index, gained by learning", "number"),
    "cka_labels_gain": ("CKA with labels, gained", "number"),
    "class_selectivity_gain": ("class selectivity, gained", "number"),
    "units_per_class": ("units per class", "number"),
    "live_synapses": ("live synapses", "count"),
    "information_bits": ("information, bits", "number"),
    "capacity_bits": ("bits per live synapse", "number"),
}
"""Heading and form of each metric, by name. Tables show metrics in this order."""

SHARES = frozenset(
    {
        "accuracy",
        "error",
        "proven",
        "undecided",
        "live_share",
        "dale_purity",
        "dale_purity_chance",
        "ks_log_w",
        "ks_log_w_init",
        "gini_w",
        "treves_rolls_unit",
        "treves_rolls_stimulus",
        "hoyer_unit",
        "hoyer_stimulus",
        "class_selectivity",
        "eta2_class",
        "eta2_cluster",
        "cka_labels",
        "cka_pixels",
        "task_index",
    }
)
"""Metrics that are between 0 and 1 by definition; so are their intervals."""
