"""MAML: initial weights that a few gradient steps on a support set turn into a classifier."""

from __future__ import annotations

from harness.learning.meta import MetaConfig, MetaLearner
from harness.registry import learners


@learners.register("maml", family="few-shot")
class Maml(MetaLearner):
    """MAML (Finn, Abbeel & Levine 2017, Algorithm 2), on a Conv4 or a perceptron; by learn2learn.

    theta <- theta - lr d/d theta of sum over episodes of L_query(theta'), with
    theta' = theta - inner_lr grad L_support(theta), `inner_steps` times (their equation 1). The
    gradient goes through the inner steps.

    Inductive: the Conv4 has group normalisation, so no statistic of a query batch, or of another
    image, is used. Finn et al. report 98.7 % for Omniglot's 5-way 1-shot, with 60,000 iterations of
    32 episodes and transductively (batch normalisation over the query batch).

    The output layer starts at zero, so that one trained model adapts to any number of ways; only
    the body is learned. As a plain classifier it is adapted to a class-balanced sample of the
    training set, with `classifier_shots` images per class.
    """

    class Config(MetaConfig):
        """Keys of ``maml``."""
