"""How many survivors of a sweep another attack breaks: the nearest, and some drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness import budgets
from harness.attacks.trust.context import CheckContext
from harness.attacks.trust.thresholds import (
    A_CLASS,
    BLACK_BOX,
    DRAWN,
    NEAREST,
    OF_A_CLASS,
    SPREAD,
)
from harness.records import Trust

Breaks = Callable[[np.ndarray, int], np.ndarray]
"""Rows and the index of an eps, to whether an attack breaks each of them, bool (len(rows),)."""


@dataclass(frozen=True)
class Broken:
    """What an attack broke of a sweep's survivors at two budgets.

    Attributes:
        level: the more alarming of both budgets, of the nearest and of those drawn at random.
        words: the counts, as a report prints them.
    """

    level: Trust
    words: str

    @classmethod
    def by(cls, context: CheckContext, breaks: Breaks) -> Broken:
        """Attack the nearest survivors and random ones, balanced over classes, at two budgets."""
        levels: list[Trust] = []
        words = []
        for place in context.two_places:
            nearest = context.nearest_survivors(NEAREST, place)
            drawn = context.spread_survivors(DRAWN, place)
            rows = context.tried_again(place)
            if not len(rows):
                continue
            broken = breaks(rows, place)
            of_nearest = int(broken[np.isin(rows, nearest)].sum())
            of_drawn = int(broken[np.isin(rows, drawn)].sum())
            # One sample alone is an accident.
            levels.append(BLACK_BOX.level((of_nearest - 1) / len(nearest)))
            levels.append(SPREAD.level((of_drawn - 1) / len(drawn)))
            levels.append(OF_A_CLASS.level(_worst_class(context, rows, broken)))
            words.append(
                f"{of_nearest} of the {len(nearest)} nearest and {of_drawn} of {len(drawn)} others "
                f"at eps {budgets.words(context.result.eps[place])}"
            )
        levels.append("PASS")
        worst = max(levels, key=("PASS", "WARN", "FAIL").index)
        return cls(worst, f"broke {', '.join(words)}" if words else "no survivors")


def _worst_class(context: CheckContext, rows: np.ndarray, broken: np.ndarray) -> float:
    """Largest share broken of a class, not counting one sample; 0 if all classes are small."""
    labels = context.labels.cpu().numpy()[rows]
    classes = [broken[labels == label] for label in np.unique(labels)]
    shares = [(each.sum() - 1) / len(each) for each in classes if len(each) >= A_CLASS]
    return float(max(shares, default=0.0))
