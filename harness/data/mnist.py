"""MNIST, complete, from the data root."""

from __future__ import annotations

from harness.data.base import SplitFacts
from harness.data.idx_family import IdxFamily, gzipped_remotes
from harness.data.ten_classes import DIGITS
from harness.registry import datasets


@datasets.register("mnist")
class MNIST(IdxFamily):
    """Handwritten digits: MNIST complete, 60,000 + 10,000 images."""

    licence = "CC BY-SA 3.0"
    citation = "LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998"
    how_to_get = (
        "run `harness data get mnist`; or get train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (.gz or not) and run "
        "`harness data import mnist FOLDER`"
    )
    class_names = DIGITS
    raw_sha256 = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    # PyTorch's mirror (torchvision.datasets.MNIST.mirrors). The hashes are those of LeCun's four
    # gzipped files, which other projects record too (TensorFlow Datasets, url_checksums/mnist.txt).
    remotes = gzipped_remotes(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        (9_912_422, 28_881, 1_648_877, 4_542),
    )
    standard = {
        "train": SplitFacts(10, 4969, 55_000),
        "val": SplitFacts(10, 452, 5_000),
        "test": SplitFacts(10, 892, 10_000),
    }
    classes = {"train": SplitFacts(5, 5842, 30_596), "test": SplitFacts(5, 892, 4_861)}
    pinned = {"{}": "5175c7cc99fe5f24a6f8c1123f9341d380cc01149a358bf8113353fae3ca2b88"}
