"""The metrics that tables can show."""

from __future__ import annotations

from typing import Literal

Form = Literal["percent", "count", "flag", "family", "tail family", "standing", "bracket", "number"]
"""How the values of a metric are printed."""

METRICS: dict[str, tuple[str, Form]] = {
    "accuracy": ("accuracy", "percent"),
    "error": ("error", "percent"),
    "proven": ("proven, %", "percent"),
    "bracket": ("proven–attacked, %", "bracket"),
    "undecided": ("undecided, %", "percent"),
    "smoothed_proven": ("proven of the smoothed network, %", "percent"),
    "broken": ("broken, %", "percent"),
    "transferred": ("transferred, %", "percent"),
    "rank": ("rank", "number"),
    "band": ("in the band", "standing"),
    "pooled_accuracy": ("accuracy, all images, %", "percent"),
    "average_incremental": ("AIA, %", "percent"),
    "learning_accuracy": ("LA, %", "percent"),
    "backward_transfer": ("BWT, %", "percent"),
    "forgetting": ("forgetting, %", "percent"),
    "forward_transfer": ("FWT, %", "percent"),
    "intransigence": ("intransigence, %", "percent"),
    "min_accuracy": ("min-ACC, %", "percent"),
    "worst_case_accuracy": ("WC-ACC, %", "percent"),
    "closed_gap": ("gap to joint closed, %", "percent"),
    "state_bytes": ("bytes of state", "count"),
    "kept_bytes": ("bytes of images kept", "count"),
    "images_trained": ("images trained on", "count"),
    "images_replayed": ("images replayed", "count"),
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
    "sigma_log_w_cut": ("σ(log w), left-truncated fit", "number"),
    "sigma_log_w_init": ("σ(log w), initial", "number"),
    "skew_log_w": ("skew(log w)", "number"),
    "lognormal_z_w": ("lognormal z, weights", "number"),
    "lognormal_z_w_init": ("lognormal z, weights, initial", "number"),
    "cut_w": ("cut of weights, share of mean", "number"),
    "kurtosis_log_w": ("excess kurtosis(log w)", "number"),
    "ks_log_w": ("KS(log w)", "number"),
    "ks_log_w_init": ("KS(log w), initial", "number"),
    "aic_lead": ("AIC lead of lognormal, per synapse", "number"),
    "best_family": ("best family by AIC", "family"),
    "gini_w": ("Gini of weights", "number"),
    "treves_rolls_unit": ("lifetime sparseness", "number"),
    "treves_rolls_unit_pixels": ("lifetime sparseness, pixels", "number"),
    "treves_rolls_stimulus": ("population sparseness", "number"),
    "treves_rolls_stimulus_pixels": ("population sparseness, pixels", "number"),
    "hoyer_unit": ("Hoyer, unit", "number"),
    "hoyer_stimulus": ("Hoyer, stimulus", "number"),
    "dead_units": ("dead units", "count"),
    "silent_share": ("units without a rate, %", "percent"),
    "sigma_log_rate": ("σ(log rate)", "number"),
    "skew_log_rate": ("skew(log rate)", "number"),
    "kurtosis_log_rate": ("excess kurtosis(log rate)", "number"),
    "rate_top_tenth": ("activity of the busiest tenth, %", "percent"),
    "lognormal_z_rate": ("lognormal z, rates", "number"),
    "best_family_rate": ("best family of rates by AIC", "tail family"),
    "spectrum_exponent": ("eigenspectrum exponent", "number"),
    "spectrum_exponent_pixels": ("eigenspectrum exponent, pixels", "number"),
    "spectrum_r2": ("R² of the power law", "number"),
    "spectrum_first": ("first component fitted", "count"),
    "spectrum_last": ("last component fitted", "count"),
    "participation_ratio": ("participation ratio", "number"),
    "participation_ratio_pixels": ("participation ratio, pixels", "number"),
    "class_selectivity": ("class selectivity", "number"),
    "eta2_class": ("η², class", "number"),
    "eta2_cluster": ("η², cluster", "number"),
    "mi_class": ("bits of class, unit", "number"),
    "mi_cluster": ("bits of cluster, unit", "number"),
    "cka_labels": ("CKA, labels", "number"),
    "cka_pixels": ("CKA, pixels", "number"),
    "task_alignment": ("task alignment", "number"),
    "task_share": ("task share", "number"),
    "label_effect": ("label effect", "number"),
    "task_alignment_gain": ("task alignment, gained by learning", "number"),
    "cka_labels_gain": ("CKA with labels, gained", "number"),
    "class_selectivity_gain": ("class selectivity, gained", "number"),
    "units_per_class": ("units per class", "number"),
    "live_synapses": ("live synapses", "count"),
    "information_bits": ("information, bits", "number"),
    "rsa_spearman": ("Spearman with brains", "number"),
    "rsa_tau": ("tau-a with brains", "number"),
    "rsa_p": ("p", "number"),
    "rsa_given_pixels": ("Spearman given pixels", "number"),
    "rsa_pixels": ("Spearman of pixels", "number"),
    "rsa_ceiling_low": ("noise ceiling, lower", "number"),
    "rsa_ceiling_high": ("noise ceiling, upper", "number"),
    "capacity_bits": ("bits per live synapse", "number"),
}
"""Heading and form of each metric, by name. Tables show metrics in this order."""

HEADLINES = frozenset(
    {
        "live_share",
        "dale_purity",
        "sigma_log_w",
        "best_family",
        "treves_rolls_unit",
        "class_selectivity",
    }
)
"""Metrics of the biology audit that a narrow terminal shows first."""

SHARES = frozenset(
    {
        "accuracy",
        "error",
        "pooled_accuracy",
        "average_incremental",
        "learning_accuracy",
        "min_accuracy",
        "worst_case_accuracy",
        "proven",
        "undecided",
        "smoothed_proven",
        "live_share",
        "dale_purity",
        "dale_purity_chance",
        "ks_log_w",
        "ks_log_w_init",
        "gini_w",
        "treves_rolls_unit",
        "treves_rolls_stimulus",
        "treves_rolls_unit_pixels",
        "treves_rolls_stimulus_pixels",
        "silent_share",
        "rate_top_tenth",
        "spectrum_r2",
        "hoyer_unit",
        "hoyer_stimulus",
        "class_selectivity",
        "eta2_class",
        "eta2_cluster",
        "cka_labels",
        "cka_pixels",
    }
)
"""Metrics that are between 0 and 1 by definition; so are their intervals."""

SHOWN_WITH = {"sigma_log_w": ("sigma_log_w_cut", "skew_log_w", "lognormal_z_w")}
"""Metrics that a table never shows alone, and what it shows beside them.

A Gaussian-initialised network has a standard deviation of log weights of 1.03, that of cortex, and
is not lognormal; pruning a fifth of the weights turns 0.94 into 0.72.
"""

SIGNED = frozenset({"backward_transfer", "forgetting", "forward_transfer", "intransigence"})
"""Metrics that are differences of two shares, so between -1 and 1."""
