"""Keeping the perturbed images of a few samples of a sweep, without asking the network more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.attacks.base import TOLERANCE, Attack, Candidates, Objective, Task
from harness.attacks.engine.sweep import SKIPPED, Sweep
from harness.attacks.engine.victim import Victim
from harness.lazy import torch

Run = tuple[float, Objective, int]
"""The eps, objective and restart of one run."""


class Keeping:
    """An attack that keeps what each run made of some images. A sweep may take it for the attack.

    The network is asked nothing more, so the verdicts are those of a sweep without it.

    Args:
        attack: The attack.
        identity: int (K,), of the images that are kept; distinct.
        clean: float32 (K, C, H, W), those images.
    """

    def __init__(self, attack: Attack, identity: np.ndarray, clean: torch.Tensor) -> None:
        self.attack = attack
        self.clean = clean
        self.places = {int(each): place for place, each in enumerate(identity)}
        self.runs: dict[Run, torch.Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies are asked for these before they have an attack
            raise AttributeError(name)
        return getattr(self.attack, name)

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Perturb the images of a task."""
        candidates = self.attack.perturb(victim, task)
        rows = [row for row, each in enumerate(task.identity) if int(each) in self.places]
        if rows:
            run = (task.eps, task.objective, task.restart)
            kept = self.runs.setdefault(run, self.clean.clone())
            places = [self.places[int(task.identity[row])] for row in rows]
            kept[places] = candidates.adversarial[rows].detach()
        return candidates

    def strongest(self, result: Sweep, place: int) -> torch.Tensor:
        """The strongest perturbed image within one eps of each image, float32 (K, C, H, W).

        That is one that was misclassified, or else the one of the lowest margin, of the runs at
        this and smaller eps. An image that no such run attacked is returned unchanged.

        Args:
            result: what the sweep of this attack found; its first K samples are those kept.
            place: index of the eps.
        """
        strongest = self.clean.clone()
        for row in range(len(self.clean)):
            runs = sorted(self._judged(result, place, row), key=lambda judged: judged[:2])
            if runs:
                strongest[row] = self.runs[runs[0][2]][row]
        return strongest

    def _judged(self, result: Sweep, place: int, row: int) -> Iterator[tuple[bool, float, Run]]:
        """The runs of one image within one eps: still correct, margin, and which run."""
        first = min((run[0] for run in self.runs), default=0.0)
        for at, number, restart in np.ndindex(place + 1, *result.correct.shape[1:3]):
            cell = (at, number, restart, row)
            if result.eps[at] == 0 or result.correct[cell] == SKIPPED:
                continue
            # One run of an attack without a budget serves every eps.
            eps = first if self.attack.minimal else result.eps[at]
            if self.attack.minimal and result.norm[cell] > result.eps[place] + TOLERANCE:
                continue
            margin = float(np.nan_to_num(result.margin[cell], nan=-np.inf))
            yield bool(result.correct[cell]), margin, (eps, self.attack.objectives[number], restart)
