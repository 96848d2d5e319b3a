"""How layers with local receptive fields compute, for E networks at once: maps (E, B, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

TINY = 1e-12
"""Added under the root of a patch's length: an empty patch then has a gradient, which is 0."""

RESTING = 1e-4
"""Activity below which the compressive response is linear, so that its slope stays finite."""


def on_off(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """On- and off-centre channels, (..., 2 D, H, W), all >= 0.

    The surround is a Gaussian, mirrored at the borders. Three colour channels are first turned into
    brightness, red against green and blue against yellow, as retinal ganglion cells signal them.

    Args:
        images: (..., C, H, W) in [0, 1]; D = C.
        sigma: Width of the Gaussian in pixels.
    """
    if images.shape[-3] == 3:
        images = _opponent_colours(images)
    flat = images.flatten(0, -4)
    channels = flat.shape[1]
    smaller = min(images.shape[-2:])
    reach = min(round(2 * sigma), smaller - 1)
    offset = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    gaussian = torch.exp(-offset.square() / (2 * sigma**2))
    gaussian = (gaussian / gaussian.sum()).expand(channels, 1, 1, -1)
    # The Gaussian is separable: blur the rows, then the columns.
    wide = F.pad(flat, (reach, reach, 0, 0), mode="reflect")
    rows = F.conv2d(wide, gaussian, groups=channels)
    tall = F.pad(rows, (0, 0, reach, reach), mode="reflect")
    surround = F.conv2d(tall, gaussian.transpose(2, 3), groups=channels)
    difference = flat - surround
    both = torch.cat([difference.relu(), (-difference).relu()], 1)
    return both.unflatten(0, images.shape[:-3])


def _opponent_colours(images: torch.Tensor) -> torch.Tensor:
    """Brightness, red - green, and blue - yellow of RGB images (..., 3, H, W)."""
    red, green, blue = images.unbind(-3)
    brightness = (red + green + blue) / 3
    red_green = (red - green) / 2
    blue_yellow = blue / 2 - (red + green) / 4
    return torch.stack([brightness, red_green, blue_yellow], -3)


def patches(maps: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """All patches of maps (E, B, C, H, W), (E, B, L, C * kernel * kernel) at L places."""
    columns = F.unfold(maps.flatten(0, 1), kernel, stride=stride)
    return columns.transpose(1, 2).unflatten(0, maps.shape[:2])


def draw_patches(
    maps: torch.Tensor, kernel: int, stride: int, count: int, generator: torch.Generator
) -> torch.Tensor:
    """Draw ``count`` patches of maps (E, B, C, H, W), (E, count, n).

    They are drawn with replacement, at the same places for every network.
    """
    # A view, (E, B, C, h, w, kernel, kernel).
    windows = maps.unfold(3, kernel, stride).unfold(4, kernel, stride)
    height, width = windows.shape[3:5]
    places = maps.shape[1] * height * width
    drawn = torch.randint(places, (count,), generator=generator).to(maps.device)
    image = drawn // (height * width)
    row = drawn // width % height
    column = drawn % width
    # Indices on both sides of a slice move to the front: (count, E, C, kernel, kernel).
    chosen = windows[:, image, :, row, column]
    return chosen.flatten(2).transpose(0, 1).contiguous()


def lengths(maps: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Length of the patch at each place of maps (E, B, C, H, W), (E, B, h, w)."""
    mean_square = F.avg_pool2d(maps.square().sum(2), kernel, stride)
    return (mean_square * kernel**2 + TINY).sqrt()


@dataclass(frozen=True)
class Shown:
    """What the receptive fields of E layers are shown while they learn.

    Attributes:
        maps: step -> output of the layers below, (E, B, C, H, W).
        steps: how many there are.
        kernel: side of a receptive field.
        stride: spacing of receptive fields.
        shared: whether all places share their weights.
        sigma: semi-saturation of the E layers, (E,).
        count: patches drawn per step, if weights are shared; all are seen otherwise.
        generator: step -> what draws them, and then whatever else the step draws.
    """

    maps: Callable[[int], torch.Tensor]
    steps: int
    kernel: int
    stride: int
    shared: bool
    sigma: torch.Tensor
    count: int
    generator: Callable[[int], torch.Generator]

    def patches(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
        """Patches of a step at length one, how strongly each is felt, and the step's generator.

        The gate of a patch x is |x| / (|x| + sigma), divided by its mean over the step.

        Returns:
            (E, P, n) and (E, P). If each of L places has neurons of its own, there are E * L.
        """
        generator = self.generator(step)
        maps, sigma = self.maps(step), self.sigma
        if self.shared:
            seen = draw_patches(maps, self.kernel, self.stride, self.count, generator)
        else:
            everywhere = patches(maps, self.kernel, self.stride)  # (E, B, L, n)
            seen = everywhere.transpose(1, 2).flatten(0, 1)
            sigma = sigma.repeat_interleave(everywhere.shape[2])
        length = torch.linalg.vector_norm(seen, dim=2)
        gate = length / (length + sigma.unsqueeze(1)).clamp_min(TINY)
        gate = gate / gate.mean(1, keepdim=True).clamp_min(1e-6)
        return seen / (length + 1e-6).unsqueeze(2), gate, generator


class LocalCode(nn.Module):
    """A competition of K neurons at every place of a map, over the patch x that they see.

    h = g softmax_k(T (u - b)) with u_k = w_k . x / (|w_k| |x|) and g = |x| / (|x| + sigma). The
    gate g is divisive inhibition with a semi-saturation, so that an empty place is silent.

    Args:
        weight: w, excitatory; (E, K, n) if shared by all places, (E * L, K, n) if each of the L
            places has neurons of its own.
        threshold: Homeostatic b, (E, K) or (E * L, K).
        sigma: Semi-saturation, (E,).
        kernel, stride: Size and spacing of receptive fields.
        temperature: T.
        scaling: Whether each neuron's drive is divided by the length of its weights.
        grid: Activity is averaged over this many regions per side; None: not at all.
    """

    weight: torch.Tensor
    threshold: torch.Tensor
    sigma: torch.Tensor

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
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.temperature = temperature
        self.grid = grid
        if scaling:
            length = torch.linalg.vector_norm(weight, dim=2, keepdim=True).clamp_min(TINY)
            weight = weight / length
        self.register_buffer("weight", weight)
        self.register_buffer("threshold", threshold)
        self.register_buffer("sigma", sigma)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(E, B, C, H, W) to (E, B, K, h, w)."""
        drive = self._shared_drive(maps) if self._is_shared(maps) else self._private_drive(maps)
        length = lengths(maps, self.kernel, self.stride).unsqueeze(2)  # |x|
        u = drive / (length + 1e-6)
        q = torch.softmax(self.temperature * (u - self._thresholds(maps, drive)), 2)
        gate = length / (length + self.sigma.view(-1, 1, 1, 1, 1))
        code = q * gate
        return code if self.grid is None else regions(code, self.grid)

    def _is_shared(self, maps: torch.Tensor) -> bool:
        """Whether all places share their weights."""
        return len(self.weight) == len(maps)

    def _thresholds(self, maps: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """b, such that it broadcasts over drives (E, B, K, h, w)."""
        if self._is_shared(maps):
            return self.threshold[:, None, :, None, None]
        networks = len(maps)
        by_place = self.threshold.view(networks, -1, drive.shape[2])  # (E, L, K)
        return by_place.transpose(1, 2).reshape(networks, 1, *drive.shape[2:])

    def _shared_drive(self, maps: torch.Tensor) -> torch.Tensor:
        """w_k . x, (E, B, K, h, w), as convolutions."""
        filters = self.weight.unflatten(2, (maps.shape[2], self.kernel, self.kernel))
        # One network at a time, so that its result does not depend on the other networks.
        drives = [F.conv2d(x, w, stride=self.stride) for x, w in zip(maps, filters, strict=True)]
        return torch.stack(drives)

    def _private_drive(self, maps: torch.Tensor) -> torch.Tensor:
        """w_k . x, (E, B, K, h, w), if every place has neurons of its own."""
        networks, images, _, height, width = maps.shape
        rows = (height - self.kernel) // self.stride + 1
        columns = (width - self.kernel) // self.stride + 1
        by_place = patches(maps, self.kernel, self.stride).transpose(1, 2).flatten(0, 1)
        drive = torch.bmm(by_place, self.weight.transpose(1, 2))  # (E * L, B, K)
        drive = drive.view(networks, -1, images, self.weight.shape[1])
        return drive.permute(0, 2, 3, 1).unflatten(3, (rows, columns))


class Stack(nn.Module):
    """Local layers on top of each other, and the embedding that the read-out sees.

    The embedding is the activity of the layers that are read, compressed and at length one.

    Args:
        surround: Surround of the on- and off-centre channels in pixels; None: the pixels are used.
        layers: The layers, from the image upwards.
        reads: For each layer below the last, in how many regions per side it is read; None: it is
            not.
    """

    def __init__(
        self, surround: float | None, layers: list[LocalCode], reads: list[int | None]
    ) -> None:
        super().__init__()
        self.surround = surround
        self.layers = nn.ModuleList(layers)
        self.reads = reads

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Images (E, B, C, H, W) to the output of the last layer, (E, B, K, h, w)."""
        return self._all_maps(images)[-1]

    def _all_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The input of the first layer, then the output of each layer."""
        maps = [images if self.surround is None else on_off(images, self.surround)]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D), or (E, B, C, H, W) to (E, B, D)."""
        has_network_axis = images.ndim == 5
        if not has_network_axis:
            images = images.unsqueeze(0)
        _, *below, top = self._all_maps(images)
        read = [regions(maps, side) for maps, side in zip(below, self.reads, strict=True) if side]
        read.append(top)
        codes = torch.cat([_compressed(maps) for maps in read], 2) / len(read) ** 0.5
        return codes if has_network_axis else codes[0]


def regions(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Average maps (E, B, K, H, W) over ``side`` regions per side, (E, B, K, side, side)."""
    return F.adaptive_avg_pool2d(maps.flatten(0, 1), side).unflatten(0, maps.shape[:2])


def _compressed(maps: torch.Tensor) -> torch.Tensor:
    """Square roots of the activity at length one, (E, B, K, H, W) to (E, B, D)."""
    code = (maps.flatten(2) + RESTING).sqrt() - RESTING**0.5
    return code / (torch.linalg.vector_norm(code, dim=2, keepdim=True) + TINY)
