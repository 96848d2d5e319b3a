"""Trust checks: they say whether the result of an attack is reliable. One file adds one check.

A check is a class in a file of this package, registered under the name that reports print. To add
one, copy ``perturbs.py`` (reads the sweep only) or ``converged.py`` (runs another attack).
Thresholds are in ``thresholds.py``; ``docs/trust.md`` gives the evidence for them.
"""

from harness.attacks.trust.run import check

__all__ = ["check"]
