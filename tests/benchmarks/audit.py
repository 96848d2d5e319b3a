"""CPU time of the biology audit of a large network: ``python tests/benchmarks/audit.py``.

Exits with 1 if it takes more than a minute.
"""

from __future__ import annotations

import time

import numpy as np

from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.biology import Biology
from harness.protocols.receptive_fields import ReceptiveFields
from harness.registry import learners
from harness.rng import Rng

UNITS = 2000
SHAPE = (1, 28, 28)
SHOWN = 1000
FITTED = 100
LIMIT_S = 60.0


def images() -> Loaded:
    """Smooth random images of ten classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(2 * SHOWN) % 10
    coarse = generator.random((10, 7, 7))[labels] + generator.random((2 * SHOWN, 7, 7))
    pixels = np.kron(coarse / 2, np.ones((4, 4)))
    split = {"train": np.arange(SHOWN), "test": np.arange(SHOWN, 2 * SHOWN)}
    names = tuple(map(str, range(10)))
    return Loaded((255 * pixels).astype(np.uint8)[:, None], labels, names, None, {"all": split})


def main() -> None:
    """Audit an untrained perceptron and print the time of each protocol."""
    data = images()
    train: Images = data.split("all", "train")
    cls = learners["mlp"]
    learner = cls(cls.Config(hidden=UNITS, epochs=1), SHAPE, 10, Rng(0))
    learner.training_log = learner.fit(train)
    facts = Facts(SHAPE, {"all": {name: SplitFacts(10, 100, SHOWN) for name in ("train", "test")}})
    context = Context(Rng(0), "cpu", 256, silent)
    total = 0.0
    for protocol in (
        Biology(Biology.Config(dataset="mnist5k", images=SHOWN), facts),
        ReceptiveFields(ReceptiveFields.Config(dataset="mnist5k", units=FITTED), facts),
    ):
        start = time.process_time()
        measured = protocol.measure(learner, data, next(protocol.settings()), context)
        spent = time.process_time() - start
        total += spent
        print(f"{protocol.kind:<17} {spent:5.1f} s CPU, {len(measured.values)} numbers")
    print(f"{UNITS} units         {total:5.1f} s CPU of {LIMIT_S:g} s")
    raise SystemExit(total > LIMIT_S)


if __name__ == "__main__":
    main()
