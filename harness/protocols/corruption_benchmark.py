"""Accuracy on the published corruptions: MNIST-C and CIFAR-10-C, drawn here or read from files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.batching import ROWS, in_batches
from harness.data.base import Images, Loaded
from harness.data.corrupted.files import labels_file, part_of_file, pixels_file, same_labels
from harness.data.corrupted.sets import SETS, corrupted
from harness.lazy import torch
from harness.learning.files import File
from harness.learning.learner import Learner
from harness.metrics.statistics import share_interval, wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
    SuiteFile,
)
from harness.protocols.classification import detectable_words
from harness.protocols.corruption import CLEAN, MEAN, relative_drop
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit
from harness.protocols.requirements import classifier_of, require_logits
from harness.protocols.setting import Setting
from harness.protocols.subset import Several, number_of, of_config, subset
from harness.protocols.subset import words as subset_words
from harness.records import Unit, Value
from harness.registry import distinct, protocols

PUBLISHED = "published"
"""Value of the key ``severities`` for those of the files that the authors published."""

ALL = (1, 2, 3, 4, 5)

REFERENCE = "reference learner"
"""Condition in the protocol block that names the learner of which mCE is relative to the errors."""

Severity = Annotated[int, Field(ge=1, le=5)]


@dataclass(frozen=True)
class CorruptionBenchmarkSetting(Setting):
    """Which published corruptions of which images.

    Attributes:
        corruption_set: name of the set.
        kinds: names of its corruptions.
        severities: 1 to 5; empty: of each kind the one that its authors published.
        files: hashes of the published files of each kind, then of their labels; empty: images are
            corrupted here.
    """

    corruption_set: str
    kinds: tuple[str, ...]
    severities: tuple[int, ...]
    splitting: str
    split: str
    images: int | str | None
    files: tuple[str, ...]

    def severities_of(self, kind: str) -> tuple[int, ...]:
        """The severities that a kind is measured at: one where it has no others."""
        definition = SETS[self.corruption_set].kinds[kind]
        if definition.sizes is None:
            return (1,)
        if self.severities:
            return self.severities
        return ALL if definition.published is None else (definition.published,)


@protocols.register("corruption_benchmark")
class CorruptionBenchmark(OnASplit[CorruptionBenchmarkSetting]):
    """Accuracy on MNIST-C or CIFAR-10-C: fifteen published corruptions, and mCE."""

    setting_type = CorruptionBenchmarkSetting
    keys = ("corruption", "severity")

    class Config(ProtocolConfig):
        """Which corruptions, and of which images."""

        corruption_set: Literal["mnist-c", "cifar-10-c"] = Field(
            description="mnist-c: 28 x 28 in grey; cifar-10-c: 32 x 32 in colour"
        )
        kinds: Annotated[list[str], AfterValidator(distinct)] | None = Field(
            None, min_length=1, description="which of its corruptions; all fifteen if left out"
        )
        severities: Annotated[list[Severity], AfterValidator(distinct)] | Literal["published"] = (
            Field(
                list(ALL),
                description="from 1, light, to 5, heavy; published: of each kind the one in the "
                "published files (MNIST-C has one, CIFAR-10-C all five)",
            )
        )
        files: SuiteFile | None = Field(
            None,
            description="folder of the published files, instead of corrupting images here: "
            "KIND/test_images.npy (mnist-c) or KIND.npy (cifar-10-c)",
        )
        reference: str | None = Field(
            None, description="the learner whose errors mCE is relative to; no mCE if left out"
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field(
            "test", description="the split whose images are corrupted"
        )
        images: Several | None = Field(
            None,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order; the whole split if left out",
        )

    config: Config

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the corruptions in use."""
        return tuple(self.config.kinds or SETS[self.config.corruption_set].kinds)

    @cached_property
    def _files(self) -> tuple[File, ...]:
        """The published files: one for each kind, then one of labels for each kind."""
        if self.config.files is None:
            return ()
        folder = Path(self.config.files)
        name = self.config.corruption_set
        paths = [pixels_file(folder, name, kind) for kind in self.kinds]
        paths += [labels_file(folder, name, kind) for kind in self.kinds]
        return tuple(map(File.at, paths))

    def settings(self) -> Iterator[CorruptionBenchmarkSetting]:
        """Yield one setting: the mean is over all corruptions together."""
        config = self.config
        severities = () if config.severities == PUBLISHED else tuple(config.severities)
        yield CorruptionBenchmarkSetting(
            config.corruption_set,
            self.kinds,
            severities,  # type: ignore[arg-type] # the literal was handled
            self.splitting,
            config.split,
            of_config(config.images),
            tuple(file.sha256 for file in self._files),
        )

    def files(self) -> dict[str, Path]:
        """The published files, by their hashes."""
        return {file.sha256: file.path for file in self._files if file.path}

    def compared_with(self) -> str | None:
        """The learner whose errors mCE is relative to."""
        return self.config.reference

    def faults(self) -> Iterator[Fault]:
        """Yield unknown kinds and splits, images of another size, and missing files."""
        config = self.config
        known = SETS[config.corruption_set]
        for place, kind in enumerate(config.kinds or []):
            if kind not in known.kinds:
                allowed = f"allowed: {', '.join(known.kinds)}"
                yield Fault(("kinds", place), f"{config.corruption_set} has no {kind!r}", allowed)
        if self.facts.image_shape != known.image_shape:
            needed, shape = (
                "x".join(map(str, s)) for s in (known.image_shape, self.facts.image_shape)
            )
            message = f"{config.corruption_set} is defined for images of {needed}, not {shape}"
            yield Fault(("corruption_set",), message, "use `kind: corruption` for other images")
        yield from self.split_faults(config.images)
        yield from self._file_faults()

    def _file_faults(self) -> Iterator[Fault]:
        if self.config.files is None:
            return
        folder = Path(self.config.files)
        name = self.config.corruption_set
        if name == "mnist-c" and self.config.severities != PUBLISHED:
            message = "the files of MNIST-C have one severity of each kind"
            yield Fault(("severities",), message, "set `severities: published`")
        if self.config.split != "test":
            yield Fault(("split",), "the published files are of test images", "leave out `split`")
        for kind in self.kinds:
            for path in (pixels_file(folder, name, kind), labels_file(folder, name, kind)):
                if not path.is_file():
                    yield Fault(("files",), f"no file {path}", "name the folder that has it")
                    return

    @classmethod
    def measure(
        cls,
        learner: Learner,
        data: Loaded,
        setting: CorruptionBenchmarkSetting,
        context: Context,
    ) -> Measurement:
        """Accuracy on clean images, on each kind and severity, and means.

        Raises:
            DataError: a published file is not of these images.
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        whole = data.split(setting.splitting, setting.split)
        images = subset(whole, setting.images)
        model = classifier_of(learner)
        clean = _correct(model, learner, images, context)
        verdicts: dict[str, np.ndarray] = {}
        for place, kind in enumerate(setting.kinds):
            severities = setting.severities_of(kind)
            rows = [
                _correct(model, learner, shown, context)
                for shown in _shown(images, whole, setting, place, severities, context)
            ]
            verdicts[kind] = np.stack(rows)
            context.progress((place + 1) / len(setting.kinds), kind)
        values, arrays = summary(clean, verdicts, setting)
        first = images.take(np.arange(min(ROWS, len(images)))).tensor(context.device)
        inference = of_classifier(model, first)
        arrays["index"] = images.index
        return Measurement(values, arrays, inference.checks, remarks=inference.remarks)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images."""
        split = self.facts.splittings[self.splitting][self.config.split]
        chosen = of_config(self.config.images)
        return detectable_words(split.images if chosen is None else number_of(chosen), spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        known = SETS[config.corruption_set]
        severities = (
            "those of the published files"
            if config.severities == PUBLISHED
            else f"{', '.join(map(str, config.severities))} of 5"
        )
        reference = {REFERENCE: config.reference} if config.reference else {}
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": subset_words(of_config(config.images)),
            "training": f"{self.splitting}/train, labelled, without corruptions",
            "corruptions": f"{config.corruption_set} ({known.source}), "
            + ("published files" if config.files else "drawn here by the published definitions"),
            "severities": f"{severities}; a kind's number is the mean over them",
            **reference,
            **{kind: known.kinds[kind].describe() for kind in self.kinds if kind in known.kinds},
        }


def _shown(
    images: Images,
    whole: Images,
    setting: CorruptionBenchmarkSetting,
    place: int,
    severities: tuple[int, ...],
    context: Context,
) -> Iterator[Images]:
    """Corrupted images of one kind, once for each severity, drawn here or read from its file.

    Args:
        images: the clean ones.
        whole: the split that they are of.
        place: which of the setting's kinds.
    """
    kind = setting.kinds[place]
    if not setting.files:
        rng = context.rng.child("corruption benchmark")
        for severity in severities:
            pixels = corrupted(
                images.pixels, setting.corruption_set, kind, severity, images.index, rng
            )
            yield replace(images, pixels=pixels)
        return
    count = len(setting.kinds)
    pixels_at, labels_at = (context.files[setting.files[at]] for at in (place, count + place))
    rows = np.searchsorted(whole.index, images.index)
    for severity in severities:
        part = part_of_file(setting.corruption_set, severity, len(whole))
        same_labels(labels_at, part, whole.known_labels)
        yield replace(images, pixels=part.pixels(pixels_at, whole.shape)[rows])


def _correct(model: Any, learner: Learner, images: Images, context: Context) -> np.ndarray:
    """Which images are classified correctly, uint8 (N,)."""
    with torch.no_grad():
        pixels = images.tensor(context.device)
        logits = in_batches(model, pixels, batch_size=context.batch_size)
    require_logits(logits, (len(images), images.n_classes), learner)
    right: np.ndarray = logits.argmax(1).cpu().numpy() == images.known_labels
    return right.astype(np.uint8)


def summary(
    clean: np.ndarray, verdicts: dict[str, np.ndarray], setting: CorruptionBenchmarkSetting
) -> tuple[list[Value], dict[str, np.ndarray]]:
    """Summarise verdicts.

    A kind's number is the mean over its severities, and the mean over kinds weighs them equally.
    ``relative_drop`` is the share of the clean accuracy that is lost.

    Args:
        clean: uint8 (N,), verdicts without corruption.
        verdicts: kind -> uint8 (severities, N).
        setting: says which severities these are.

    Returns:
        the values, and the arrays that they are means of.
    """
    values: list[Value] = []
    arrays: dict[str, np.ndarray] = {}

    def add(keys: dict[str, Any], units: np.ndarray, *, drop: bool = False) -> None:
        value = _accuracy(keys, units)
        arrays[str(value.verdicts)] = units
        values.append(value)
        if drop and clean.any():
            lost, low, high = relative_drop(clean, units)
            values.append(Value("relative_drop", lost, low, high, len(clean), "image", keys))

    add({"corruption": CLEAN}, clean)
    for kind, rows in verdicts.items():
        add({"corruption": kind}, rows[0] if len(rows) == 1 else rows.mean(0), drop=True)
        if len(rows) > 1:
            for severity, row in zip(setting.severities_of(kind), rows, strict=True):
                add({"corruption": kind, "severity": severity}, row)
    graded = [rows for rows in verdicts.values() if len(rows) > 1]
    if graded:
        severities = setting.severities or ALL
        for severity, row in zip(severities, np.stack(graded).mean(0), strict=True):
            add({"corruption": MEAN, "severity": severity}, row)
    add(
        {"corruption": MEAN},
        np.stack([rows.mean(0) for rows in verdicts.values()]).mean(0),
        drop=True,
    )
    return values, arrays


def _accuracy(keys: dict[str, Any], units: np.ndarray) -> Value:
    """The mean of verdicts (uint8), or of means of several verdicts an image (float)."""
    are_verdicts = units.dtype == np.uint8
    low: float | None
    high: float | None
    if are_verdicts:
        low, high = wilson(int(units.sum()), len(units))
    else:
        low, high = share_interval(units)
    unit: Unit = "sample" if are_verdicts else "image"
    name = "/".join(map(str, keys.values()))
    return Value("accuracy", float(units.mean()), low, high, len(units), unit, keys, name)
