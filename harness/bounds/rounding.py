"""How far a network in float32 can be from the same network in exact arithmetic.

A proof is computed in float64 from the float32 weights. What runs is rounded at every step, so a
margin is proven only if it exceeds what rounding can change. The bound holds for any order of
summation (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1). It does not
hold for tensor cores with shorter mantissas (TF32) or for Winograd convolutions.
"""

from __future__ import annotations

UNIT = 2.0**-24
"""Unit roundoff of float32."""

FLOAT64 = 1e-9
"""What the computation of a bound in float64 may be wrong by, in logits."""


def gamma(terms: int) -> float:
    """Relative error of a sum of products, n u / (1 - n u) for n roundings.

    >>> 5.9e-8 < gamma(1) < 6.0e-8
    True
    """
    return terms * UNIT / (1 - terms * UNIT)
