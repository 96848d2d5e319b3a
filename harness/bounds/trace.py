"""From a network to a graph of operations, by recording one run of it.

Any module is recorded, however it is written: functions of torch are seen below the level of
modules, as calls of ATen. What does not depend on the images is computed once, in float32 as the
network does, so weights that are derived from others (a pool's mean subtracted, say) are those that
run. This file imports torch.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from harness.bounds.graph import Graph, NoBound, Step
from harness.bounds.recorder import Recorder, Value
from harness.bounds.relaxed import MaxPool, Relu
from harness.bounds.rules import RULES, rule_name

BATCH = 7
"""Images of the recorded run; a size that no layer is likely to have."""

CHECKED = 64
"""Images on which the graph must give what the network gives."""

AGREEMENT = 1e-4
"""Largest difference of logits, relative to one plus the largest logit."""


def trace(network: nn.Module, images: torch.Tensor) -> Graph:
    """Record a network as a graph, and check that both give the same logits.

    Args:
        network: float32 (B, ...) in [0, 1] to logits (B, classes), in eval mode.
        images: float32 (N, ...), N >= 1; up to 64 of them are compared.

    Raises:
        NoBound: Something in the network has no bound, or it is not a function of the image alone.
    """
    if any(module.training for module in network.modules()):
        raise NoBound("the network is in training mode")
    with torch.no_grad():
        recorded = _record(network, images)
        graph = _pool_last(_convert(recorded, images))
        _check(graph, network, images)
    return graph


def _record(network: nn.Module, images: torch.Tensor) -> torch.fx.GraphModule:
    """A run on ``BATCH`` images, without changes in place."""
    example = images[torch.arange(BATCH) % len(images)].clone()
    try:
        return make_fx(torch.func.functionalize(network))(example)
    except Exception as error:  # whatever the code of the network raises under a tracer
        line = str(error).strip().partition("\n")[0][:200]
        raise NoBound(f"its forward pass cannot be recorded: {line}") from error


def _convert(recorded: torch.fx.GraphModule, images: torch.Tensor) -> Graph:
    """The recorded calls as steps; calls without images are run."""
    recorder = Recorder(BATCH, tuple(images.shape[1:]))
    values: dict[torch.fx.Node, Any] = {}
    for node in recorded.graph.nodes:
        if node.op == "placeholder":
            values[node] = recorder.image
        elif node.op == "get_attr":
            constant = operator.attrgetter(str(node.target))(recorded)
            is_tensor = isinstance(constant, torch.Tensor)
            values[node] = constant.detach() if is_tensor else constant
        elif node.op == "call_function":
            args = torch.fx.node.map_arg(node.args, values.__getitem__)
            kwargs = torch.fx.node.map_arg(node.kwargs, values.__getitem__)
            values[node] = _call(recorder, node.target, args, dict(kwargs))
        else:
            values[node] = torch.fx.node.map_arg(node.args[0], values.__getitem__)
            out = values[node]
    place = recorder.finished(out)
    return _without_unused(recorder.steps, place)


def _without_unused(steps: list[Step], last: int) -> Graph:
    """The steps that the last one depends on."""
    used = {0, last}
    for place in range(last, 0, -1):
        if place in used:
            used.update(steps[place].inputs)
    new_place = {old: new for new, old in enumerate(sorted(used))}
    kept = []
    for old in sorted(used):
        inputs = tuple(new_place[i] for i in steps[old].inputs)
        kept.append(replace(steps[old], inputs=inputs))
    return Graph(tuple(kept))


def _call(recorder: Recorder, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run a call without images, or record one that has some."""
    depends = any(isinstance(value, Value) for value in _flat([args, list(kwargs.values())]))
    if not depends:
        if torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()):
            raise NoBound(f"it draws random numbers ({rule_name(target)})")
        return target(*args, **kwargs)
    if target is operator.getitem:
        return recorder.item(*args)
    name = rule_name(target)
    if name not in RULES:
        raise NoBound(f"{name} has no bound")
    return RULES[name](recorder, *args, **kwargs)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (list, tuple)):
        return [each for value in values for each in _flat(value)]
    return [values]


def _pool_last(graph: Graph) -> Graph:
    """Swap max pooling and a ReLU after it, which gives the same values.

    Bounds of a ReLU's inputs are computed unit by unit only where its sign is open, which leaves
    out most units before a pooling, too.
    """
    steps = list(graph.steps)
    for place, step in enumerate(steps[:-1]):
        follower = steps[place + 1]
        pools = isinstance(step.op, MaxPool)
        if not (pools and isinstance(follower.op, Relu) and follower.inputs == (place,)):
            continue
        if len(graph.users(place)) > 1:
            continue
        source = step.inputs[0]
        steps[place] = Step(follower.op, (source,), steps[source].shape)
        steps[place + 1] = Step(step.op, (place,), step.shape)
    return Graph(tuple(steps))


def _check(graph: Graph, network: nn.Module, images: torch.Tensor) -> None:
    """Compare logits on images, and on the same images with noise.

    Raises:
        NoBound: They differ.
    """
    clean = images[:CHECKED]
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(clean.shape, generator=generator).to(clean)
    noisy = (clean + (noise - 0.5) / 5).clamp(0, 1)
    for points in (clean, noisy, 1 - clean):
        expected = network(points)
        if expected.dtype != torch.float32:
            raise NoBound(f"its logits are {str(expected.dtype).removeprefix('torch.')}")
        found = graph.values(points.double())[-1]
        difference = (found - expected).abs().amax()
        allowed = AGREEMENT * (1 + expected.abs().amax())
        if not difference <= allowed:
            raise NoBound(
                f"its logits differ by {float(difference):.2g} from those of its recorded run, "
                "so it is not a function of the image alone"
            )
