"""Few-shot episodes: N ways, K shots, Q queries; the same episodes for every learner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.data.base import Loaded
from harness.learning.learner import Learner
from harness.metrics.statistics import share_interval
from harness.protocols.base import Context, Measurement
from harness.protocols.episode_protocol import EpisodeProtocol
from harness.protocols.episode_settings import EpisodesConfig, FewShotSetting
from harness.protocols.episode_verdicts import NOTHING, drawn, episode_verdicts
from harness.protocols.inference import of_episodes
from harness.records import Unit, Value
from harness.registry import protocols


@protocols.register("few_shot")
class FewShot(EpisodeProtocol[FewShotSetting]):
    """N-way K-shot episodes in one of three regimes, paired between learners."""

    setting_type = FewShotSetting

    class Config(EpisodesConfig):
        """Which episodes, and what learners may have seen before them."""

    def settings(self) -> Iterator[FewShotSetting]:
        """Yield one setting for each (ways, shots), or one for a list of episodes."""
        return self.episode_settings()

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: FewShotSetting, context: Context
    ) -> Measurement:
        """Measure the accuracy of every episode; the mean has a 95 % interval over episodes."""
        images, episodes = drawn(data, setting, context)
        correct = episode_verdicts(learner, images, episodes, context)
        accuracy = np.mean(correct, axis=1, where=correct != NOTHING)
        low, high = share_interval(accuracy)
        unit: Unit = "episode" if setting.episodes_from is None else "listed episode"
        value = Value(
            "accuracy",
            float(accuracy.mean()),
            low,
            high,
            n=len(accuracy),
            unit=unit,
            verdicts="accuracy",
        )
        arrays = {"accuracy": accuracy, "correct": correct, "classes": episodes.classes}
        inference = of_episodes(learner, images, episodes, context.device)
        return Measurement([value], arrays, inference.checks, remarks=inference.remarks)
