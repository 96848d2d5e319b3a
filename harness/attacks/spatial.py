"""Rotation and shift: every transformation of a grid is tried (Engstrom et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from harness import budgets
from harness.attacks.base import TOLERANCE, Attack, Candidates, Fault, Task
from harness.attacks.config import AttackConfig, Problem, config_error, eps_words, view_words
from harness.attacks.engine.victim import Victim, judge
from harness.lazy import F, torch
from harness.registry import attacks


class Move(NamedTuple):
    """A rotation about the centre of the image, followed by a shift.

    Attributes:
        size: share of the largest rotation or shift, whichever is larger.
        degrees: counter-clockwise.
        down, across: pixels.
    """

    size: float
    degrees: float
    down: float
    across: float


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("an odd number, so that 0 is one of the values")
    return number


Odd = Annotated[int, AfterValidator(_odd)]


@attacks.register("spatial")
class Spatial(Attack):
    """Every rotation and shift of a grid (black box); eps is a share of the largest ones."""

    class Config(AttackConfig):
        """Keys of the spatial attack."""

        norm: Literal["spatial"] = Field("spatial", description="spatial: rotation and shift")
        eps: budgets.Budgets = Field(
            [0.0, 1.0], description="shares of `degrees` and `pixels`, ascending, at most 1"
        )
        degrees: float = Field(30.0, ge=0, le=180, description="largest rotation, either way")
        pixels: float = Field(3.0, ge=0, le=1000, description="largest shift along each axis")
        angles: Odd = Field(
            31, ge=3, le=1001, description="rotations tried, evenly spaced; an odd number"
        )
        shifts: Odd = Field(
            5, ge=3, le=101, description="shifts tried along each axis, evenly spaced; odd"
        )

        @model_validator(mode="after")
        def _moves(self) -> Self:
            if self.degrees == 0 and self.pixels == 0:
                message = "nothing moves: degrees or pixels must be above 0"
                raise config_error([(("degrees",), message, self.degrees)])
            return self

        @model_validator(mode="after")
        def _grid_is_fine_enough(self) -> Self:
            tried = {"angles": (self.degrees, self.angles), "shifts": (self.pixels, self.shifts)}
            smallest = next((eps for eps in self.eps if eps > 0), 1.0)
            problems: list[Problem] = []
            for key, (most, number) in tried.items():
                share = 2 / (number - 1)
                if most and share > smallest + TOLERANCE:
                    message = (
                        f"none of {number} {key} is within eps {budgets.words(smallest)} but 0: "
                        f"the smallest other is at {share:.3g}"
                    )
                    problems.append(((key,), message, number))
            if problems:
                raise config_error(problems)
            return self

    config: Config

    @property
    def threat(self) -> str:
        """The transformations at eps 1."""
        parts = {"rotation {:g} degrees": self.config.degrees, "shift {:g} px": self.config.pixels}
        return ", ".join(words.format(most) for words, most in parts.items() if most)

    @property
    def climbs(self) -> tuple[str, ...]:
        """No loss: a black-box attack."""
        return ()

    @property
    def minimal(self) -> bool:
        """The smallest transformation that breaks an image serves every eps."""
        return True

    def words(self) -> str:
        """Describe its settings."""
        return (
            f"{self.threat}, times eps {eps_words(self.config)}; all {len(self.moves())} "
            f"transformations of a grid, bilinear, zeros outside{view_words(self.config)}"
        )

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find shifts that leave nothing of the image."""
        yield from super().faults(image_shape, n_classes)
        side = min(image_shape[1:])
        if self.config.pixels >= side:
            message = f"a shift of {self.config.pixels:g} pixels leaves nothing of {side}"
            yield ("pixels",), message, "a tenth of the side is usual"

    def moves(self) -> list[Move]:
        """The grid without the move that changes nothing, the smallest moves first."""
        config = self.config
        turns = _values(config.degrees, config.angles)
        steps = _values(config.pixels, config.shifts)
        moves = []
        for (share, degrees), (far, down), (wide, across) in product(turns, steps, steps):
            moves.append(Move(max(share, far, wide), degrees, down, across))
        return sorted(moves)[1:]

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Find the smallest move that breaks each image, or else the one of smallest margin."""
        adversarial = task.images.clone()
        sizes = torch.zeros(len(adversarial), device=adversarial.device)
        lowest = torch.full_like(sizes, float("inf"))
        rows = torch.arange(len(adversarial), device=adversarial.device)
        for move in self.moves():
            if not len(rows):
                break
            points = moved(task.images[rows], move.degrees, move.down, move.across)
            correct, margin = judge(victim.logits(points), task.labels[rows])
            better = ~correct | (margin < lowest[rows])
            adversarial[rows[better]] = points[better]
            sizes[rows[better]] = move.size
            lowest[rows[better]] = margin[better]
            rows = rows[correct]
        return Candidates(adversarial, sizes=sizes)


def _values(most: float, number: int) -> list[tuple[float, float]]:
    """Evenly spaced values from -most to most, each after its share of ``most``.

    >>> _values(3.0, 3)
    [(1.0, -3.0), (0.0, 0.0), (1.0, 3.0)]
    """
    if most == 0:
        return [(0.0, 0.0)]
    half = number // 2
    return [(abs(place) / half, most * place / half) for place in range(-half, half + 1)]


def moved(images: torch.Tensor, degrees: float, down: float, across: float) -> torch.Tensor:
    """Rotate images about their centre, then shift them; bilinear, zeros come in from outside.

    Args:
        images: float32 (B, C, H, W) in [0, 1].
        degrees: of the rotation, counter-clockwise.
        down, across: pixels of the shift.

    Returns:
        float32 (B, C, H, W) in [0, 1].

    >>> import torch
    >>> moved(torch.tensor([[[[0.0, 1.0], [0.25, 0.5]]]]), 90, 0, 0)
    tensor([[[[1.0000, 0.5000],
              [0.0000, 0.2500]]]])
    """
    height, width = images.shape[-2:]
    cos = math.cos(math.radians(degrees))
    sin = math.sin(math.radians(degrees))
    # Pixels from the centre, of each place in the result before the shift.
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2 - down
    x = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2 - across
    from_x = cos * x - sin * y
    from_y = sin * x + cos * y
    # ``grid_sample`` wants coordinates from -1 to 1 between the outer edges.
    grid = torch.stack([2 * from_x / width, 2 * from_y / height], 2).to(images)
    grid = grid.expand(len(images), height, width, 2)
    sampled: torch.Tensor = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled.clamp(0, 1)
