"""Numbers of attacked episodes: from one sweep an episode to arrays, and from arrays to values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.attacks.engine.sweep import Sweep, verdict_name
from harness.metrics.statistics import share_interval
from harness.records import Value


def arrays_of_sweeps(sweeps: list[Sweep]) -> dict[str, np.ndarray]:
    """Stack the verdicts of all episodes.

    Args:
        sweeps: one for each episode, all over the same grid of budgets.

    Returns:
        name -> array. ``attack/...`` have the axes (eps, objective, restart, episode, query), the
        others begin with the axis of episodes.
    """
    arrays = {}
    for place, eps in enumerate(sweeps[0].eps):
        correct = np.stack([result.worst[place] for result in sweeps])
        arrays[verdict_name(eps)] = correct.astype(np.uint8)
        arrays[verdict_name(eps, "accuracy")] = correct.mean(axis=1)
    for name in ("correct", "margin", "norm"):
        stacked = np.stack([getattr(result, name) for result in sweeps], axis=-2)
        arrays[f"attack/{name}"] = stacked
    arrays["clean/correct"] = np.stack([result.clean for result in sweeps]).astype(np.uint8)
    arrays["clean/margin"] = np.stack([result.clean_margin for result in sweeps])
    return arrays


def arrays_of_episode(arrays: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """Extract the arrays of one episode's sweep, as ``Sweep.to_arrays`` gives them."""
    own = {}
    for name, array in arrays.items():
        if name.startswith("attack/"):
            own[name] = array[..., number, :]
        elif name.startswith(("correct/", "clean/")):
            own[name] = array[number]
    return own


def accuracies(grid: tuple[float, ...], arrays: Mapping[str, np.ndarray]) -> list[Value]:
    """Accuracy at every eps: the mean over episodes with its 95 % interval."""
    values = []
    for eps in grid:
        accuracy = arrays[verdict_name(eps, "accuracy")]
        low, high = share_interval(accuracy)
        value = Value(
            "accuracy",
            float(accuracy.mean()),
            low,
            high,
            n=len(accuracy),
            unit="episode",
            setting={"eps": eps},
            verdicts=verdict_name(eps, "accuracy"),
        )
        values.append(value)
    return values
