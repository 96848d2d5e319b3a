"""FOMAML: MAML without second derivatives. Through learn2learn."""

from __future__ import annotations

from harness.learning.meta import MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("fomaml", family="few-shot")
class Fomaml(MetaLearner):
    """First-order MAML (Finn, Abbeel & Levine 2017, 5.2; Nichol, Achiam & Schulman 2018, eq. 8).

    The gradient of the query loss at the adapted weights is used as that at the initial weights:
    how the inner steps depend on the initial weights is ignored. Otherwise it is like `maml`:
    inductive, head from zero.
    """

    typical_training_s = 60.0
    first_order = True

    class Config(MetaConfig):
        """Keys of ``fomaml``, the same as those of ``maml``."""
