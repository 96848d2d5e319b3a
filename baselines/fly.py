"""FlyModel: a sparse random expansion, and class weights that only their own class changes."""

from __future__ import annotations

import math

from pydantic import Field

from harness import registry
from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import F, nn, torch
from harness.learning.connectome import READOUT
from harness.learning.feature_learner import EMBED_BATCH, FeatureLearner
from harness.learning.fitting import balanced_rows, labels_of
from harness.learning.going_on import GoingOn
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.rng import Rng

SHARPNESS = 8.0
"""Logit of a class whose weights from all active cells are at their bound of one."""


@registry.learners.register("fly", family="memories")
class Fly(GoingOn, FeatureLearner):
    """FlyModel (Shen, Dasgupta & Navlakha 2023): sparse random cells, weights of one class each.

    The paper is "Reducing catastrophic forgetting with associative learning: a lesson from fruit
    flies", Neural Computation 35 (arXiv 2107.07617). Each Kenyon cell sums a few random inputs, and
    the cells that are driven most stay active:

        x <- (x - min x) / (max x - min x),  k = R x,  k_i = 0 below the top share,  k <- k / max k

    An image of class c then changes the weights to that class alone, and the largest drive wins:

        w_c <- min(1, w_c + eta k),  answer argmax_c w_c . k

    Increments are never negative, so any order of the images, and of the tasks, gives the same
    weights. Only the number of images counts: ``lr`` times the images of a class sets how many
    weights reach their bound. Attacks see the true gradient at a fixed set of active cells; the set
    changes in jumps.
    """

    mini_batches = False
    typical_training_s = 2.0

    class Config(registry.Config):
        """Keys of ``fly``."""

        cells: int = Field(10_000, ge=2, description="Kenyon cells")
        inputs: int = Field(32, ge=1, description="random inputs that each of them sums")
        active: float = Field(0.01, gt=0, le=1, description="share of the cells that stay active")
        lr: float = Field(0.005, gt=0, description="eta: change of a weight by an image")
        head: HeadName = Field("ridge", description="few-shot head on the active cells")

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        pixels = math.prod(image_shape)
        lots = torch.rand(config.cells, pixels, generator=self.rng.torch("inputs"))
        chosen = lots.topk(min(config.inputs, pixels), dim=1).indices
        self.tensors = {
            "inputs": chosen.to(torch.int32),
            "weight": torch.zeros(config.cells, n_classes),
        }

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Learn anew from one pass; does nothing without labels."""
        self.carried = {}
        self.tensors["weight"] = torch.zeros_like(self.tensors["weight"])
        log = TrainingLog()
        log.add(self)
        if train.labels is not None:
            chance = self.rng.child("images within the budget")
            rows = balanced_rows(train.labels, budget.cap(len(train)), chance)
            log.images_seen = self.go_on(train.take(rows), progress=progress).images_seen
        self.fitted = True
        log.add(self)
        return log

    def go_on(
        self, part: Images, *, rivals: torch.Tensor | None = None, progress: Progress = silent
    ) -> TrainingLog:
        """One pass; ``rivals`` changes nothing, because classes do not compete while they learn."""
        labels = torch.from_numpy(labels_of(part, self)).to(self.device)
        with torch.no_grad():
            codes = in_batches(self.body(), part.tensor(self.device), batch_size=EMBED_BATCH)
            classes = F.one_hot(labels, self.n_classes).to(codes.dtype)
            change = self.config.lr * (codes.T @ classes)
        self.tensors["weight"] = (self.tensors["weight"] + change).clamp_(max=1)
        self.fitted = True
        progress(1.0, "one pass")
        return TrainingLog(images_seen=len(part))

    def body(self) -> nn.Module:
        """Images to the activity of all Kenyon cells, most of which is zero."""
        from harness.learning.nets import FrozenFunction

        pixels = math.prod(self.image_shape)
        chosen = self.tensors["inputs"].long().T
        projection = torch.zeros(pixels, chosen.shape[1], device=chosen.device)
        projection.scatter_(0, chosen, 1.0)
        return FrozenFunction(kenyon_cells, {"projection": projection}, active=self._active)

    @property
    def _active(self) -> int:
        """Cells that stay active."""
        return max(1, round(self.config.active * self.config.cells))

    def classifier(self) -> nn.Module:
        """The drives w . k, divided by the number of active cells."""
        from harness.learning.nets import LinearHead

        weight = self.tensors["weight"] * (SHARPNESS / self._active)
        return LinearHead(self.body(), weight, weight.new_zeros(1, self.n_classes))

    def connectome(self) -> list[Synapses]:
        """From Kenyon cells to classes: excitatory by construction, and bounded by a clamp."""
        weight = self.tensors["weight"]
        return [Synapses(READOUT, weight, weight > 0 if weight.any() else None, enforced=True)]


def kenyon_cells(
    images: torch.Tensor, tensors: dict[str, torch.Tensor], active: int
) -> torch.Tensor:
    """The code k, (B, C, H, W) to (B, cells); a black image has no active cell."""
    x = images.flatten(1)
    low = x.amin(1, keepdim=True)
    contrast = (x.amax(1, keepdim=True) - low).clamp_min(1e-6)
    drive = ((x - low) / contrast) @ tensors["projection"]
    threshold = drive.detach().topk(active, dim=1).values[:, -1:]
    kept = torch.where(drive >= threshold, drive, 0.0)
    return kept / kept.amax(1, keepdim=True).clamp_min(1e-6)
