"""Exact least margins by other means: integer programming, linear programming, grids."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import nn


def dense_layers(network: nn.Module, shape) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (out, in) and biases of a ReLU network, convolutions unrolled."""
    layers = []
    part: list[nn.Module] = []
    size = torch.zeros(1, *shape).double()

    def close() -> None:
        nonlocal size, part
        block = nn.Sequential(*part).double()
        basis = torch.eye(size.numel()).double().view(-1, *size.shape[1:])
        bias = block(torch.zeros_like(size)).flatten()
        weight = (block(basis).flatten(1) - bias).T
        layers.append((weight.numpy(), bias.numpy()))
        size = block(size)
        part = []

    for module in network:
        if isinstance(module, nn.ReLU):
            close()
        else:
            part.append(module)
    close()
    network.float()
    return layers


def least_margin(layers, image: np.ndarray, eps: float, norm: str, label: int, other: int) -> float:
    """Least margin of a ReLU network on a ball cut by [0, 1]: exact, by integer programming.

    Variables: the pixels, how far each moves; per hidden unit z, max(z, 0) and whether it is on.
    Bounds of z come from interval arithmetic, written here.
    """
    n = len(image)
    low = np.maximum(0, image - eps)
    high = np.minimum(1, image + eps)
    rows: list[tuple[dict[int, float], float, float]] = []
    lower, upper, integral = list(low), list(high), [0] * n
    if norm == "l1":
        moved = range(n, 2 * n)
        lower += [0.0] * n
        upper += [eps] * n
        integral += [0] * n
        for i, d in enumerate(moved):
            rows.append(({i: 1, d: -1}, -np.inf, image[i]))
            rows.append(({i: -1, d: -1}, -np.inf, -image[i]))
        rows.append((dict.fromkeys(moved, 1.0), 0, eps))
    units = list(range(n))
    z_low, z_high = low, high
    for weight, bias in layers[:-1]:
        centre, radius = (z_low + z_high) / 2, (z_high - z_low) / 2
        z_min = weight @ centre + bias - np.abs(weight) @ radius
        z_max = weight @ centre + bias + np.abs(weight) @ radius
        outputs = []
        for k in range(len(bias)):
            z, a = len(lower), len(lower) + 1
            lower += [z_min[k], max(z_min[k], 0.0)]
            upper += [z_max[k], max(z_max[k], 0.0)]
            integral += [0, 0]
            row = {unit: weight[k, i] for i, unit in enumerate(units)}
            rows.append(({**row, z: -1.0}, -bias[k], -bias[k]))
            if z_min[k] >= 0:
                rows.append(({a: 1.0, z: -1.0}, 0, 0))
            elif z_max[k] > 0:
                on = len(lower)
                lower.append(0)
                upper.append(1)
                integral.append(1)
                rows.append(({a: 1.0, z: -1.0}, 0, np.inf))
                rows.append(({a: 1.0, z: -1.0, on: -z_min[k]}, -np.inf, -z_min[k]))
                rows.append(({a: 1.0, on: -z_max[k]}, -np.inf, 0))
            outputs.append(a)
        units = outputs
        z_low, z_high = np.maximum(z_min, 0), np.maximum(z_max, 0)
    weight, bias = layers[-1]
    cost = np.zeros(len(lower))
    cost[units] = weight[label] - weight[other]
    matrix = np.zeros((len(rows), len(lower)))
    for r, (row, _, _) in enumerate(rows):
        for column, value in row.items():
            matrix[r, column] = value
    constraints = LinearConstraint(matrix, [r[1] for r in rows], [r[2] for r in rows])
    found = milp(
        cost,
        integrality=integral,
        bounds=Bounds(lower, upper),
        constraints=constraints if rows else None,
    )
    assert found.status == 0, found.message
    return found.fun + bias[label] - bias[other]


def exact_margins(network, points: torch.Tensor, labels: torch.Tensor, eps: float, norm="linf"):
    """``least_margin`` of every image and class, (N, classes); inf at the label."""
    layers = dense_layers(network, points.shape[1:])
    classes = len(layers[-1][1])
    result = np.full((len(points), classes), np.inf)
    for i, (x, y) in enumerate(
        zip(points.double().flatten(1).numpy(), labels.tolist(), strict=True)
    ):
        for c in range(classes):
            if c != y:
                result[i, c] = least_margin(layers, x, eps, norm, y, c)
    return result


def grid_points(image: torch.Tensor, eps: float, norm: str, steps: int = 121) -> torch.Tensor:
    """Points of a two-pixel image's ball, cut by [0, 1]: (N, 1, 1, 2), with its edge."""
    axis = torch.linspace(-eps, eps, steps, dtype=torch.float64)
    moves = torch.cartesian_prod(axis, axis)
    angle = torch.linspace(0, 2 * torch.pi, 8 * steps, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    rim = eps * circle / torch.linalg.vector_norm(circle, ord=order, dim=1, keepdim=True)
    moves = torch.cat([moves, rim])
    inside = torch.linalg.vector_norm(moves, ord=order, dim=1) <= eps * (1 + 1e-12)
    # Clipping a point moves it towards the image: it stays in the ball.
    points = (image.flatten().double() + moves[inside]).clamp(0, 1)
    return points.view(-1, 1, 1, 2)


def margins_at(network, points: torch.Tensor, label: int) -> torch.Tensor:
    """Label's logit minus each class's at every point, as float32 computes the logits."""
    logits = network(points.float()).double()
    margin = logits[:, label : label + 1] - logits
    margin[:, label] = torch.inf
    return margin


def least_on_grid(network, image: torch.Tensor, label: int, eps: float, norm: str) -> torch.Tensor:
    """Least margins over a grid of the ball of a two-pixel image, (classes,)."""
    return margins_at(network, grid_points(image, eps, norm), label).amin(0)
