"""``--set key.key=value``: one value of a suite, changed from the command line."""

from __future__ import annotations

from harness.errors import SuiteError, did_you_mean
from harness.suite.marked_yaml import Mark, Source, parse


def apply(source: Source, assignment: str) -> Source:
    """``source`` with one assignment made, e.g. ``protocols.few.episodes=50`` or ``seeds=[0, 1]``.

    Steps of the key are separated by dots; a number steps into a list. The value is YAML.

    Raises:
        SuiteError: no ``=``, or a step that leads nowhere.
    """
    flag = f"--set {assignment}"
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise SuiteError(
            "not an assignment",
            where=flag,
            hint="write --set key.key=value, e.g. --set protocols.few.episodes=50",
        )
    new = parse(text or "null", flag)
    steps = key.strip().split(".")
    if "" in steps:
        raise SuiteError(
            "a step of the key is empty", where=flag, hint="separate steps by single dots"
        )
    if steps[0] == "extends":
        raise SuiteError(
            "an override cannot extend", where=flag, hint="write `extends` into the suite file"
        )
    mark, parent, path = Mark(flag, 0, 0), source.value, ()
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        step = _step(parent, step, flag, ".".join(steps[:position]), may_be_new=last)
        path = (*path, step)
        if last:
            parent[step] = new.value
        elif isinstance(parent, dict) and step not in parent:
            parent[step] = {}
            source.keys[path] = source.values[path] = mark
        parent = parent[step]
    source.keys[path] = mark
    for known in [k for k in source.values if k[: len(path)] == path]:
        del source.values[known]
    source.values[path] = mark
    return source


def _step(parent: object, step: str, flag: str, above: str, *, may_be_new: bool) -> str | int:
    if isinstance(parent, list):
        if step.isascii() and step.isdecimal() and int(step) < len(parent):
            return int(step)
        raise SuiteError(
            f"{above!r} is a list of {len(parent)}",
            where=flag,
            hint=f"step into it with 0 to {len(parent) - 1}",
        )
    if not isinstance(parent, dict):
        raise SuiteError(f"{above!r} is a single value", where=flag, hint="nothing stands below it")
    if not may_be_new and step not in parent and above in ("learners", "protocols"):
        raise SuiteError(f"no {above[:-1]} {step!r}", where=flag, hint=did_you_mean(step, parent))
    return step
