"""A network of your own, measured as it is or after fine-tuning."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from harness import registry
from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import F, nn, torch
from harness.learning.at_hand import AtHand, Module
from harness.learning.code_names import MayRunCode
from harness.learning.feature_learner import FeatureLearner
from harness.learning.files import File
from harness.learning.fitting import accuracy, labels_of, shuffled_batches
from harness.learning.heads import HeadName
from harness.learning.learner import NO_LIMIT, Budget, Progress, Synapses, TrainingLog, silent
from harness.learning.normalise import Normalise, moments
from harness.rng import Rng


@registry.learners.register("network", family="trained elsewhere")
class Network(FeatureLearner):
    """A trained PyTorch, exported or ONNX network: measured as it is, or fine-tuned first.

    It comes trained: protocols measure it without a training, unless ``epochs`` asks for one.
    Few examples: a head on its features, which are the input of its last linear layer.
    """

    regimes = frozenset({"class_transfer"})

    class Config(registry.Config):
        """Keys of ``network``."""

        module: Module | None = Field(
            None,
            description="code that builds it, package.module:name, or timm:name; a class, a "
            "function, or a network. In Python also a network at hand",
        )
        arguments: dict[str, Any] = Field({}, description="passed to that code by name")
        weights: File | None = Field(
            None,
            description="its weights: .safetensors, or what torch.save wrote; random if left out",
        )
        weights_key: str | None = Field(
            None, description="where a checkpoint keeps them, if not in a usual place"
        )
        file: File | None = Field(
            None,
            description="a whole network instead of `module`: .onnx, or .pt2 of torch.export, "
            "which needs `trust_pickle`",
        )
        trust_pickle: MayRunCode = Field(
            False, description="unpickle the file whatever it holds, which may run any code"
        )
        normalise: Normalise | None = Field(
            None, description="mean and std of each channel that it was trained with"
        )
        output: str | Annotated[int, Field(ge=0)] = Field(
            "logits",
            description="what it returns: logits, probabilities, log-probabilities, one-logit (of "
            "the second of two classes), or the index or key of the logits",
        )
        features: str | None = Field(
            None,
            description="part whose output few-shot heads read; null: the input of the last linear "
            "layer",
        )
        head: HeadName = Field("ridge", description="few-shot head on the features")
        epochs: int = Field(0, ge=0, description="passes of fine-tuning; 0: measured as it is")
        batch_size: int = Field(64, ge=2, description="images per step of fine-tuning")
        lr: float = Field(1e-4, gt=0, description="Adam's rate; falls linearly to zero")

        @model_validator(mode="after")
        def _one_source(self) -> Self:
            if (self.module is None) == (self.file is None):
                raise ValueError("name `module` (with `weights`), or `file`")
            if self.file is not None and (self.weights is not None or self.arguments):
                raise ValueError("`file` is a whole network: leave out `weights` and `arguments`")
            if isinstance(self.module, AtHand) and self.arguments:
                raise ValueError("a network at hand is built already: leave out `arguments`")
            return self

    config: Config

    def __init__(
        self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng
    ) -> None:
        super().__init__(config, image_shape, n_classes, rng)
        self.tensors = {}

    @classmethod
    def comes_trained(cls, config: Any) -> bool:
        """Unless it is fine-tuned."""
        return not config.epochs

    @cached_property
    def network(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] to logits, on the learner's device."""
        from harness.networks import sources
        from harness.networks.outputs import Prepared

        config = self.config
        if config.file is not None:
            made = sources.from_file(config.file.checked(), trust_pickle=config.trust_pickle)
        else:
            made = self._built()
            if config.weights is not None:
                sources.with_weights(
                    made,
                    config.weights.checked(),
                    key=config.weights_key,
                    trust_pickle=config.trust_pickle,
                )
        mean, std = moments(config.normalise, self.image_shape[0])
        network = sources.in_eval_mode(Prepared(made, config.output, mean, std).to(self.device))
        self._try(network)
        return network

    def _built(self) -> nn.Module:
        """The network that ``module`` builds or is."""
        from harness.networks import sources

        module = self.config.module
        if isinstance(module, AtHand):
            return module.open()
        assert module is not None
        with torch.random.fork_rng():
            torch.manual_seed(self.rng.child("initial weights").seed)
            return sources.from_code(module, self.config.arguments)

    def _try(self, network: nn.Module) -> None:
        """Show the network a black image, so that one that does not fit the dataset is said so."""
        size = "x".join(map(str, self.image_shape))
        try:
            with torch.no_grad():
                network(torch.zeros(1, *self.image_shape, device=self.device))
        except HarnessError:
            raise
        except Exception as error:  # whatever the code of a user raises
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise HarnessError(
                f"the network does not take images of {size}: {reason}",
                hint="use a dataset of the images that it was trained on, or its `size`",
            ) from error

    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Fine-tune every weight by Adam on the cross-entropy; without ``epochs``, do nothing."""
        log = TrainingLog()
        if self.config.epochs:
            self.__dict__.pop("network", None)  # a second fit starts from the file again
            self._fine_tune(train, budget, log, progress)
            self.tensors = self.network.state_dict()
        self.fitted = True
        return log

    def _fine_tune(
        self, train: Images, budget: Budget, log: TrainingLog, progress: Progress
    ) -> None:
        config = self.config
        labels = torch.from_numpy(labels_of(train, self)).to(self.device)
        images = torch.from_numpy(train.pixels).to(self.device)
        network = self.network.train()
        log.add(self)
        optimiser = torch.optim.Adam(network.parameters(), lr=config.lr)
        total = budget.cap(config.epochs * len(train))
        generator = self.rng.torch("order")
        for rows in shuffled_batches(len(train), config.batch_size, total, generator):
            optimiser.param_groups[0]["lr"] = config.lr * (1 - log.images_seen / total)
            rows = rows.to(self.device)
            logits = network(images[rows].float().div_(255))
            loss = F.cross_entropy(logits, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            log.images_seen += len(rows)
            log.step(self)
            progress(log.images_seen / total, "fine-tuning")
            if log.images_seen % len(train) == 0 or log.images_seen >= total:
                log.add(self, loss=float(loss.detach()), accuracy=accuracy(logits, labels[rows]))
        optimiser.zero_grad()
        network.eval()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; without fine-tuning it is empty, and the files have everything."""
        super().load_state_dict(state)
        if self.tensors:
            self.network.load_state_dict(self.tensors)

    def to(self, device: str | torch.device) -> Network:
        """Move the network to ``device``."""
        super().to(device)
        self.network.to(self.device)
        return self

    def classifier(self) -> nn.Module:
        """The network."""
        return self.network

    def body(self) -> nn.Module:
        """The network up to its features."""
        from harness.networks.parts import Features

        example = torch.zeros(1, *self.image_shape, device=self.device)
        return Features(self.network, self._part(), example)

    def _part(self) -> str | None:
        """Name of the part with the features, within ``Prepared``."""
        return None if self.config.features is None else f"network.{self.config.features}"

    def connectome(self) -> list[Synapses]:
        """One bundle for each linear or convolution layer."""
        from harness.networks.parts import connections

        return [
            Synapses(name.removeprefix("network."), weight, presynaptic_sign=dense)
            for name, (weight, dense) in connections(self.network).items()
        ]
