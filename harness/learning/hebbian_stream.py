"""Hebbian learners that go on learning: their step knows nothing of the other images."""

from __future__ import annotations

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.fitting import labels_of
from harness.learning.going_on import GoingOn, Imprinting
from harness.learning.hebbian import CODE_BATCH, HebbianLearner
from harness.learning.learner import Progress, Synapses, TrainingLog, silent


class StreamingHebbianLearner(GoingOn, Imprinting, HebbianLearner):
    """A Hebbian learner that goes on with its rule of ``fit``, at the rate that it starts with.

    Classes are then read from the mean codes of their images. A learner that was fitted goes on
    from there.
    """

    def _reset(self) -> None:
        super()._reset()
        self.carried = {}

    def _read_out(
        self, codes: torch.Tensor, labels: torch.Tensor, log: TrainingLog, progress: Progress
    ) -> None:
        super()._read_out(codes, labels, log, progress)
        self.imprint(codes, labels)

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass; ``rivals`` changes nothing, because nothing descends on a loss."""
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        images = part.tensor(self.device)
        order = torch.randperm(len(part), generator=self.next_call().torch("order"))
        log = TrainingLog()
        # Steps are in place, and classifiers that were returned before keep their tensors. A copy
        # keeps the layout: weights may be stored unit by unit.
        weight = self.tensors["weight"].clone()
        with torch.no_grad():
            for rows in order.to(self.device).split(self.config.batch_size):
                self.learn(weight, images[rows].flatten(1), 0.0)
                log.images_seen += len(rows)
                log.step(self)
            self.tensors["weight"] = weight.contiguous()
            self.imprint(in_batches(self.body(), images, batch_size=CODE_BATCH), labels)
        self.tensors.pop("readout", None)  # the mean codes take its place
        self.tensors.pop("readout_bias", None)
        self.fitted = True
        progress(1.0, "one pass")
        return log

    def classifier(self) -> nn.Module:
        """The code and its read-out; that of the mean codes, once it has gone on."""
        if "readout" in self.tensors or "means" not in self.carried:
            return super().classifier()
        return self.nearest_imprint(self.body())

    def connectome(self) -> list[Synapses]:
        """The hidden layer, and the read-out or the mean codes if there are any."""
        bundles = super().connectome()
        if "readout" not in self.tensors and "means" in self.carried:
            bundles.append(self.imprinted())
        return bundles
