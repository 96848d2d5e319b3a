"""Layers with local receptive fields, as modules that only hold buffers, over E networks at once: maps (E, B, C, H, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TINY = 1e-12
"""Added under the root of a patch's length: an empty patch has a gradient too, which is 0."""

RESTING = 1e-4
"""Activity below which the compressive response is linear, so that its slope stays finite."""


def on_off(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Images (..., C, H, W) in [0, 1] to on- and off-centre channels (..., 2 D, H, W), all >= 0.

    The surround is a Gaussian of ``sigma`` pixels, mirrored at the borders. Three colour channels are first turned into
    brightness, red against green and blue against yellow, as retinal ganglion cells signal them: D = 3; else D = C.
    """
    if images.shape[-3] == 3:
        red, green, blue = images.unbind(-3)
        images = torch.stack(
            [(red + green + blue) / 3, (red - green) / 2, blue / 2 - (red + green) / 4], -3
        )
    flat, reach = images.flatten(0, -4), min(round(2 * sigma), min(images.shape[-2:]) - 1)
    place = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    line = torch.exp(-place.square() / (2 * sigma**2))
    line = (line / line.sum()).expand(flat.shape[1], 1, 1, -1)
    across = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="reflect"), line, groups=flat.shape[1])
    surround = F.conv2d(
        F.pad(across, (0, 0, reach, reach), mode="reflect"),
        line.transpose(2, 3),
        groups=flat.shape[1],
    )
    difference = flat - surround
    return torch.cat([difference.relu(), (-difference).relu()], 1).unflatten(0, images.shape[:-3])


def patches(maps: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Maps (E, B, C, H, W) to the patches at L places, (E, B, L, C * kernel * kernel)."""
    return (
        F.unfold(maps.flatten(0, 1), kernel, stride=stride)
        .transpose(1, 2)
        .unflatten(0, maps.shape[:2])
    )


def some_patches(
    maps: torch.Tensor, kernel: int, stride: int, count: int, generator: torch.Generator
) -> torch.Tensor:
    """``count`` patches drawn at random from maps (E, B, C, H, W), at the same places for every network: (E, count, n)."""
    windows = maps.unfold(3, kernel, stride).unfold(
        4, kernel, stride
    )  # a view, (E, B, C, h, w, kernel, kernel)
    down, across = windows.shape[3:5]
    drawn = torch.randint(maps.shape[1] * down * across, (count,), generator=generator).to(
        maps.device
    )
    image, row, column = drawn // (down * across), drawn // across % down, drawn % across
    # Indices on both sides of a slice move to the front: (count, E, C, kernel, kernel).
    return windows[:, image, :, row, column].flatten(2).transpose(0, 1).contiguous()


def lengths(maps: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Length of the patch at each place of maps (E, B, C, H, W): (E, B, h, w)."""
    return (F.avg_pool2d(maps.square().sum(2), kernel, stride) * kernel**2 + TINY).sqrt()


class LocalCode(nn.Module):
    """A competition among K neurons at every place of a map, by what they see in their receptive field.

    h = g softmax_k(T (u - b)), u_k = w_k . x / (|w_k| |x|) for the patch x, and g = |x| / (|x| + sigma): divisive
    inhibition with a semi-saturation, so that an empty place is silent.

    Args:
        weight: excitatory, (E, K, n) shared by all places, or (E * L, K, n) with neurons of their own at each.
        threshold: homeostatic b, (E, K) or (E * L, K).
        sigma: (E,), semi-saturation.
        kernel, stride: size and spacing of receptive fields.
        temperature: T.
        scaling: whether each neuron's drive is divided by the length of its weights.
        grid: activity is averaged over this many regions a side; None: not at all.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        threshold: torch.Tensor,
        sigma: torch.Tensor,
        *,
        kernel: int,
        stride: int,
        temperature: float,
        scaling: bool = True,
        grid: int | None = None,
    ):
        super().__init__()
        self.kernel, self.stride, self.temperature, self.grid = kernel, stride, temperature, grid
        read = (
            weight / torch.linalg.vector_norm(weight, dim=2, keepdim=True).clamp_min(TINY)
            if scaling
            else weight
        )
        for name, value in (("weight", read), ("threshold", threshold), ("sigma", sigma)):
            self.register_buffer(name, value)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(E, B, C, H, W) to (E, B, K, h, w)."""
        shared = len(self.weight) == len(maps)
        drive, length = self._shared(maps) if shared else self._private(maps)
        length = length.unsqueeze(2)
        code = torch.softmax(
            self.temperature * (drive / (length + 1e-6) - self._thresholds(maps, drive)), 2
        )
        code = code * (length / (length + self.sigma.view(-1, 1, 1, 1, 1)))
        return code if self.grid is None else regions(code, self.grid)

    def _thresholds(self, maps: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """b, broadcast over (E, B, K, h, w)."""
        if len(self.weight) == len(maps):
            return self.threshold[:, None, :, None, None]
        return (
            self.threshold.view(len(maps), -1, drive.shape[2])
            .transpose(1, 2)
            .reshape(len(maps), 1, *drive.shape[2:])
        )

    def _shared(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Drives (E, B, K, h, w) and patch lengths (E, B, h, w), as convolutions."""
        filters = self.weight.unflatten(2, (maps.shape[2], self.kernel, self.kernel))
        # One network at a time: what its images get must not depend on its neighbours.
        drive = torch.stack(
            [F.conv2d(x, w, stride=self.stride) for x, w in zip(maps, filters, strict=True)]
        )
        return drive, lengths(maps, self.kernel, self.stride)

    def _private(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same where every place has neurons of its own."""
        networks, images, _, height, width = maps.shape
        seen = patches(maps, self.kernel, self.stride)
        size = [(side - self.kernel) // self.stride + 1 for side in (height, width)]
        inputs = seen.transpose(1, 2).flatten(0, 1)
        drive = torch.bmm(inputs, self.weight.transpose(1, 2)).view(
            networks, -1, images, self.weight.shape[1]
        )
        return drive.permute(0, 2, 3, 1).unflatten(3, size), lengths(maps, self.kernel, self.stride)


class Stack(nn.Module):
    """Local layers one on another. What the read-out sees, compressed and of length one, is the embedding.

    Args:
        surround: of the on- and off-centre channels, in pixels; None: the pixels themselves.
        layers: ``LocalCode`` each.
        reads: for each layer below the last, in how many regions a side the read-out sees it too; None: it does not.
    """

    def __init__(self, surround: float | None, layers: list[LocalCode], reads: list[int | None]):
        super().__init__()
        self.surround, self.layers, self.reads = surround, nn.ModuleList(layers), reads

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Images (E, B, C, H, W) to what the last layer gives, (E, B, K, h, w)."""
        return self._all_maps(images)[-1]

    def _all_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What each layer gives, the eye first."""
        maps = [images if self.surround is None else on_off(images, self.surround)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, D), or (E, B, C, H, W) -> (E, B, D)."""
        *below, top = self._all_maps(images if images.ndim == 5 else images.unsqueeze(0))
        seen = [
            regions(maps, side) for maps, side in zip(below[1:], self.reads, strict=True) if side
        ]
        codes = torch.cat([_compressed(maps) for maps in (*seen, top)], 2) / (len(seen) + 1) ** 0.5
        return codes if images.ndim == 5 else codes[0]


def regions(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Maps (E, B, K, H, W) averaged over ``side`` regions a side, (E, B, K, side, side)."""
    return F.adaptive_avg_pool2d(maps.flatten(0, 1), side).unflatten(0, maps.shape[:2])


def _compressed(maps: torch.Tensor) -> torch.Tensor:
    """Square roots of activities, at length one: (E, B, K, H, W) -> (E, B, D)."""
    code = (maps.flatten(2) + RESTING).sqrt() - RESTING**0.5
    return code / (torch.linalg.vector_norm(code, dim=2, keepdim=True) + TINY)
