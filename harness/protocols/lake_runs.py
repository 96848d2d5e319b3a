"""Lake's twenty one-shot runs: the episodes on which people were measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.data.base import Loaded
from harness.data.shipped import split_file
from harness.learning.learner import Learner, Regime
from harness.protocols.base import Context, Measurement, ProtocolConfig
from harness.protocols.episode_settings import FewShotSetting
from harness.protocols.few_shot import FewShot
from harness.registry import protocols

RUNS = "lake_runs.json"
"""Two runs of 20 characters for each of ten alphabets of the evaluation set.

Support and query are each drawn by one person. The drawings are those of ``all_runs.zip`` of
github.com/brendenlake/omniglot (folder python/one-shot-classification; MIT), found among Omniglot's
by their pixels, which are unique. On the original drawings the modified Hausdorff distance errs in
38.75 % of these 400 trials; that repository reports 38.8 % for its baseline."""


@protocols.register("lake_runs")
class LakeRuns(FewShot):
    """Lake's 20 fixed one-shot runs on Omniglot: 20-way 1-shot within an alphabet; the error."""

    class Config(ProtocolConfig):
        """What learners may have seen before the runs."""

        dataset: str | dict[str, Any] = Field(
            "omniglot", description="omniglot, or a mapping with its `kind` and switches"
        )
        regime: Regime = Field(
            "class_transfer", description="what a learner may see before the support set"
        )

    @property
    def list_path(self) -> Path:
        """The runs, which the package ships."""
        return split_file(RUNS)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: FewShotSetting, context: Context
    ) -> Measurement:
        """Share of a run's 20 trials that are wrong; mean with its 95 % interval over the runs."""
        measured = super().measure(learner, data, setting, context)
        accuracy = measured.values[0]
        assert accuracy.low is not None and accuracy.high is not None  # of 20 runs
        error = replace(
            accuracy,
            metric="error",
            value=1 - accuracy.value,
            low=1 - accuracy.high,
            high=1 - accuracy.low,
            verdicts="error",
        )
        arrays = {**measured.arrays, "error": 1 - measured.arrays["accuracy"]}
        return replace(measured, values=[error], arrays=arrays)
