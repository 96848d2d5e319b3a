"""Running class statistics on features that never change: the control of learning that goes on."""

from __future__ import annotations

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import EMBED_BATCH
from harness.learning.fitting import balanced_rows, labels_of
from harness.learning.frozen_body import FrozenBodyConfig, FrozenBodyLearner
from harness.learning.going_on import GoingOn
from harness.learning.heads import HeadName, Heads
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.running import RunningReadout, Sums, add_images, no_sums, read_out
from harness.rng import Rng


@registry.learners.register("streaming-head", family="controls")
class StreamingHead(GoingOn, FrozenBodyLearner):
    """A read-out from running sums, on random ReLU features: nothing is forgotten, in one pass.

    The features are those of a fixed random ReLU layer (Rahimi & Recht 2007) or, with ``units: 0``,
    what is below it: the pixels, embeddings, or a frozen body. ``slda`` is the streaming linear
    discriminant analysis of Hayes & Kanan (2020), ``nearest-mean`` and ``cosine`` compare with
    class means. No image is kept, and the order of the images changes nothing. In streams of tasks
    this is the control that most methods lose to.
    """

    mini_batches = False

    class Config(FrozenBodyConfig):
        """Keys of ``streaming-head``."""

        readout: RunningReadout = Field(
            "slda", description="linear discriminant analysis, or distance to class means"
        )
        units: int = Field(
            1000, ge=0, description="random ReLU units on the features below; 0: none"
        )
        shrinkage: float = Field(
            1e-2, gt=0, le=1, description="share of the identity in the covariance of slda"
        )
        head: HeadName = Field("ridge", description="few-shot head on the features")

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        from harness.learning.nets import he_weights

        self.width = self.body_width
        self.tensors = {}
        if config.units:
            generator = self.rng.torch("projection")
            shape = (self.width, config.units)
            self.tensors["projection"] = he_weights(*shape, fan_in=self.width, generator=generator)
            self.width = config.units
        self.tensors |= self._no_sums()

    def _no_sums(self) -> Sums:
        sums = no_sums(self.n_classes, self.width, self.config.readout)
        return {name: value.to(self.device) for name, value in sums.items()}

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Sum up the training images anew; does nothing without labels."""
        self.carried = {}
        self.tensors |= self._no_sums()
        self.fitted = True
        if train.labels is None:
            return self.new_log()
        rows = balanced_rows(train.labels, budget.cap(len(train)), self.rng.child("within budget"))
        return self.go_on(train.take(rows), progress=progress)

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """Add the images to the sums; ``rivals`` changes nothing, because there is no loss."""
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        with torch.no_grad():
            features = in_batches(self.body(), part.tensor(self.device), batch_size=EMBED_BATCH)
        self.tensors |= add_images(self.tensors, features, labels, self.config.readout)
        self.fitted = True
        progress(1.0, "running sums")
        log = self.new_log()
        log.images_seen = len(part)
        return log

    def body(self) -> nn.Module:
        """The frozen body, and the random layer on it."""
        from harness.learning.nets import Perceptron

        if not self.config.units:
            return self.frozen_body
        projection = self.tensors["projection"]
        no_bias = projection.new_zeros(1, projection.shape[1])
        return nn.Sequential(self.frozen_body, Perceptron([projection, no_bias], activity=True))

    def _readout(self) -> Heads:
        with torch.no_grad():
            return read_out(self.tensors, self.config.readout, self.config.shrinkage)

    def classifier(self) -> nn.Module:
        """The read-out of the classes that have images."""
        return self._readout().on(self.body())

    def connectome(self) -> list[Synapses]:
        """The read-out: the only weights that are learned."""
        return [Synapses(READOUT, self._readout().weight[0])]
