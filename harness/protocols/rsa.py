"""Representational similarity: does a learner find the same images alike as brains do?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data import acquire, recordings
from harness.data.base import Loaded
from harness.errors import DataError
from harness.lazy import torch
from harness.learning.files import File
from harness.learning.learner import Learner
from harness.metrics import representations as rsa
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
    SuiteFile,
)
from harness.protocols.on_a_split import TrainsOnASplit
from harness.protocols.setting import Setting
from harness.records import Value
from harness.registry import protocols


@dataclass(frozen=True)
class RsaSetting(Setting):
    """What is compared with.

    Attributes:
        splitting: That learners are trained on.
        files: hashes of the dissimilarities, of what their rows are, and of the stimuli.
        draws: bootstrap samples, and permutations.
    """

    splitting: str
    files: tuple[str, ...]
    draws: int


@protocols.register("rsa")
class Rsa(TrainsOnASplit[RsaSetting]):
    """Rank correlation of dissimilarities with those of monkey IT, human IT and judgements.

    Learners are trained on the dataset, which should be photographs in colour or grey: those of
    digits or characters have no responses to objects that mean anything.
    """

    setting_type = RsaSetting
    keys = ("brain",)

    class Config(ProtocolConfig):
        """The recordings."""

        recordings: SuiteFile | None = Field(
            None,
            description="folder with stimuli/*.png, rdms.npy and rdms.csv; brain-92 below the data "
            "root if left out",
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        draws: int = Field(
            200, ge=20, description="bootstrap samples of stimuli and subjects; permutations"
        )

    config: Config

    @cached_property
    def _files(self) -> list[File]:
        """The files of the recordings; none if some are missing, which ``files`` reports."""
        try:
            return [File.at(path) for path in recordings.files_of(self._folder)]
        except DataError:
            return []

    @property
    def _folder(self) -> Path:
        if self.config.recordings is not None:
            return Path(self.config.recordings)
        root = acquire.data_root()
        if root is None:
            raise DataError(
                f"no data root is set that holds {recordings.DEFAULT}/",
                hint="set HARNESS_DATA, or name a folder with `recordings`",
            )
        return root / recordings.DEFAULT

    def settings(self) -> Iterator[RsaSetting]:
        """Yield one setting."""
        hashes = tuple(file.sha256 for file in self._files)
        yield RsaSetting(self.splitting, hashes, self.config.draws)

    def files(self) -> dict[str, Path]:
        """The recordings, by their hashes.

        Raises:
            DataError: some are missing. A suite is valid without those below the data root, as it
                is without its datasets; ``faults`` reports those that a suite names itself.
        """
        recordings.files_of(self._folder)
        return {file.sha256: file.path for file in self._files if file.path}

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splittings, and recordings that are missing."""
        yield from self.splitting_faults()
        if self.config.recordings is None:
            return
        try:
            recordings.files_of(self._folder)
        except DataError as error:
            message = f"{error.where}: {error.message}" if error.where else error.message
            yield Fault(("recordings",), message, error.hint or "")

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: RsaSetting, context: Context
    ) -> Measurement:
        """Compare the learner's dissimilarities of the stimuli with those of each target.

        Raises:
            DataError: the recordings are damaged.
        """
        matrices, rows, *stimuli = (context.files[each] for each in setting.files)
        pixels = recordings.images(stimuli, learner.image_shape)
        shown = torch.from_numpy(pixels).to(context.device).float() / 255
        with torch.no_grad():
            responses = in_batches(learner.embed, shown, batch_size=context.batch_size)
        model = rsa.dissimilarities(responses.flatten(1).cpu().double().numpy())
        if not np.isfinite(model).all():
            return Measurement([], remarks=["some stimuli get the same response from all units"])
        of_pixels = rsa.dissimilarities(pixels.reshape(len(pixels), -1).astype(np.float64))
        values: list[Value] = []
        for name, subjects in recordings.read(matrices, rows, len(stimuli)).targets.items():
            values += _compared(name, model, of_pixels, subjects, setting.draws, context)
        return Measurement(values, {"dissimilarities": model})

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        own = self.config.recordings is not None
        return {
            "training": f"{self.splitting}/train, labelled",
            "recordings": "the suite's own" if own else recordings.SOURCE,
            "dissimilarity": "1 - Pearson correlation of the responses of all units",
            "rank correlation": "Spearman's, or Kendall's tau-a, which gives no credit for ties; "
            "mean over subjects",
            "interval": "95 %, bootstrap of stimuli and subjects, corrected for counting the "
            "noise of measurement twice",
            "noise ceiling": "correlation of a subject with the mean of the others (lower) and of "
            "all (upper); one subject has none",
            "p": "one-sided, by relabelling stimuli",
        }


def _compared(
    target: str,
    model: np.ndarray,
    pixels: np.ndarray,
    subjects: np.ndarray,
    draws: int,
    context: Context,
) -> Iterator[Value]:
    """Yield the numbers of one target: the learner's, those of its pixels, and the ceiling."""
    at = {"brain": target}
    n = rsa.count_of_stimuli(model)
    seed = context.rng.child("rsa", target).seed % 2**32
    value = rsa.mean_correlation(model, subjects)
    half = 1.96 * rsa.standard_error(model, subjects, draws, seed)
    yield Value("rsa_spearman", value, value - half, value + half, n, setting=at)
    yield Value("rsa_tau", rsa.mean_correlation(model, subjects, rsa.TAU), n=n, setting=at)
    p = rsa.permutation_p(model, subjects, draws, seed)
    yield Value("rsa_p", p, n=n, setting=at)
    yield Value("rsa_pixels", rsa.mean_correlation(pixels, subjects), n=n, setting=at)
    given = rsa.partial_correlation(model, subjects, pixels)
    if np.isfinite(given):
        yield Value("rsa_given_pixels", given, n=n, setting=at)
    if len(subjects) > 1:
        ceiling = rsa.noise_ceiling(subjects)
        yield Value("rsa_ceiling_low", ceiling.lower, n=n, setting=at)
        yield Value("rsa_ceiling_high", ceiling.upper, n=n, setting=at)
