"""Capacity and prototypes of recurrent rules: ``python tests/benchmarks/memory.py``."""

from __future__ import annotations

import numpy as np

from harness.metrics.associative import (
    RULES,
    Rule,
    bits_a_synapse,
    capacity,
    prototype_share,
    recalled_share,
)

MODULES, UNITS, DRAWS = 20, 10, 3
PROTOTYPES = (10, 20, 40, 80)


def mean_recalled(rule: Rule, count: int) -> float:
    """Share of so many patterns that a rule recalls, mean over draws."""
    draws = [np.random.default_rng([count, seed]) for seed in range(DRAWS)]
    return float(np.mean([recalled_share(rule, count, MODULES, UNITS, draw) for draw in draws]))


def mean_extracted(rule: Rule, count: int) -> float:
    """Share of so many prototypes that a rule extracts, mean over draws."""
    draws = [np.random.default_rng([count, seed]) for seed in range(DRAWS)]
    return float(np.mean([prototype_share(rule, count, MODULES, UNITS, draw) for draw in draws]))


def main() -> None:
    """Print a line for each rule."""
    print(f"{MODULES} modules of {UNITS} units; prototypes: {PROTOTYPES}")
    for rule in RULES:
        patterns = capacity(lambda count, rule=rule: mean_recalled(rule, count), 1000)
        bits = bits_a_synapse(patterns, MODULES, UNITS)
        found = "  ".join(f"{mean_extracted(rule, count):.2f}" for count in PROTOTYPES)
        print(f"{rule:<11} {patterns:4d} patterns  {bits:.3f} bits a synapse  {found}")


if __name__ == "__main__":
    main()
