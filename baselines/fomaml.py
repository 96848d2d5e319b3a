"""FOMAML: MAML without second derivatives. Through learn2learn."""

from __future__ import annotations

from harness.learning.meta import MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("fomaml")
class Fomaml(MetaLearner):
    """First-order MAML (Finn, Abbeel & Levine 2017, section 5.2; Nichol, Achiam & Schulman 2018, equation 8).

    The gradient of the query loss at the adapted weights stands in for that at the initial ones: the inner steps'
    dependence on the initial weights is ignored. Otherwise as `maml`: inductive, head from zero.
    """

    typical_training_s = 60.0
    first_order = True

    class Config(MetaConfig):
        """Switches of ``fomaml``, those of ``maml``."""
