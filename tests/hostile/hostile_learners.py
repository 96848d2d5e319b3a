"""Learners that do what a third party's learner may do."""

import os
import sys
import time

import torch

from baselines.nearest_mean import NearestMean


class _Odd(NearestMean):
    def logits(self, right, images):
        return right

    def classifier(self):
        inner, odd = super().classifier(), self

        class Module(torch.nn.Module):
            def forward(self, images):
                return odd.logits(inner(images), images)

        return Module().eval()


class Raises(NearestMean):
    """Raises in training, with a message of many lines."""

    def fit(self, train, **_):
        raise ArithmeticError("first line\nsecond line")


class Shouts(NearestMean):
    """Prints, through Python and past it."""

    def fit(self, train, **options):
        line = b"x" * 1023 + b"\n"
        for _ in range(int(os.environ.get("SHOUT_KB", 1000)) // 2):
            print(line.decode(), end="")
            os.write(1, line)
        sys.stderr.flush()
        return super().fit(train, **options)


class Leaves(NearestMean):
    """Leaves without a word."""

    def fit(self, train, **_):
        os._exit(0)


class LeavesLater(_Odd):
    """Leaves when it is measured."""

    def logits(self, right, images):
        os._exit(3)


class NotANumber(_Odd):
    """Answers with NaN."""

    def logits(self, right, images):
        return right * float("nan")


class NowAndThen(_Odd):
    """Answers with NaN for one image in ten, and with infinity for another."""

    def logits(self, right, images):
        right = right.clone()
        right[::10, 0] = float("nan")
        right[5::10, 1] = float("inf")
        return right


class TooWide(_Odd):
    """Gives a logit too many."""

    def logits(self, right, images):
        return torch.cat([right, right[:, :1]], 1)


class TooFlat(_Odd):
    """Gives one number an image."""

    def logits(self, right, images):
        return right.argmax(1)


class TooShort(_Odd):
    """Forgets an image."""

    def logits(self, right, images):
        return right[1:]


class NoTensor(_Odd):
    """Gives a list."""

    def logits(self, right, images):
        return right.tolist()


class Hungry(NearestMean):
    """Wants more memory than there is."""

    def fit(self, train, **_):
        torch.zeros(2**40)


class HungryInPython(NearestMean):
    """Wants more memory than there is, as Python objects."""

    def fit(self, train, **_):
        bytearray(2**44)


class Recurses(NearestMean):
    """Calls itself without end."""

    def fit(self, train, **options):
        return self.fit(train, **options)


class BadState(NearestMean):
    """Keeps what is no tensor."""

    def state_dict(self):
        return {"means": [1, 2]}


class BadLog(NearestMean):
    """Says nothing of its training."""

    def fit(self, train, **options):
        super().fit(train, **options)


class Greedy(NearestMean):
    """Takes memory until there is none, piece by piece; gives up at 6 GiB."""

    def fit(self, train, **options):
        pieces = []
        for _ in range(96):
            pieces.append(torch.ones(2**24))
        return super().fit(train, **options)


class Interrupts(NearestMean):
    """Signals that it has reached a stage, and waits there for the run to be interrupted."""

    def fit(self, train, **options):
        self._send("fit")
        return super().fit(train, **options)

    def classifier(self):
        self._send("measure")
        return super().classifier()

    def _send(self, stage):
        if os.environ.get("INTERRUPT_AT") == stage:
            arrive()


class Hangs(NearestMean):
    """Never comes to an end."""

    def fit(self, train, **options):
        while True:
            pass


class Counted(NearestMean):
    """Notes on which machine it is trained, and takes its time."""

    def fit(self, train, **options):
        with open(os.environ["FITS"], "a") as file:
            file.write(f"{os.environ['MACHINE']}\n")
        time.sleep(1)
        return super().fit(train, **options)


def arrive():
    """Leave a sign, and wait."""
    open(os.environ["INTERRUPT_SIGN"], "w").close()
    time.sleep(600)


if os.environ.get("INTERRUPT_AT") == "import":
    arrive()
