"""``--set key.key=value``: one value of a suite, changed from the command line."""

from __future__ import annotations

import re
from typing import Any

from harness.errors import SuiteError, did_you_mean
from harness.suite.marked_yaml import Mark, Path_, Source, parse

_QUOTED = r"\"[^\"]+\"|'[^']+'"
_STEP = rf"(?:{_QUOTED}|[^.\"']+)"
_STEPS = rf"{_STEP}(?:\.{_STEP})*"
_ASSIGNMENT = re.compile(rf"(?P<key>(?:{_QUOTED}|[^=\"'])*)=(?P<value>.*)", re.DOTALL)


def apply(source: Source, assignment: str) -> Source:
    """Make one assignment in a source, e.g. ``protocols.few.episodes=50`` or ``seeds=[0, 1]``.

    Steps of the key are separated by dots, and a step that has dots is quoted, as in
    ``learners."a.b".lr=1``; a number steps into a list. The value is YAML.

    Raises:
        SuiteError: no ``=``, or a step that does not exist.
    """
    flag = f"--set {assignment}"
    parts = _ASSIGNMENT.fullmatch(assignment)
    if parts is None or not parts["key"].strip():
        raise SuiteError(
            "not an assignment",
            where=flag,
            hint="write --set key.key=value, e.g. --set protocols.few.episodes=50",
        )
    new = parse(parts["value"] or "null", flag)
    names = _steps(parts["key"].strip(), flag)
    mark = Mark(flag, 0, 0)

    # Walk down to the parent of the value; mappings on the way are created.
    parent: Any = source.value
    path: Path_ = ()
    for position, name in enumerate(names[:-1]):
        step = _step(parent, name, flag, ".".join(names[:position]), may_be_new=False)
        path = (*path, step)
        if isinstance(parent, dict) and step not in parent:
            parent[step] = {}
            source.keys[path] = mark
            source.values[path] = mark
        parent = parent[step]

    last = _step(parent, names[-1], flag, ".".join(names[:-1]), may_be_new=True)
    parent[last] = new.value
    path = (*path, last)
    below = [known for known in source.values if known[: len(path)] == path]
    for known in below:
        del source.values[known]
    source.keys[path] = mark
    source.values[path] = mark
    return source


def _steps(key: str, flag: str) -> list[str]:
    steps = [step[1:-1] if step[0] in "\"'" else step for step in re.findall(_STEP, key)]
    if not re.fullmatch(_STEPS, key):
        raise SuiteError(
            "a step of the key is empty or badly quoted",
            where=flag,
            hint="separate steps by single dots, and quote a step that has dots",
        )
    if steps[0] == "extends":
        raise SuiteError(
            "an override cannot extend", where=flag, hint="write `extends` into the suite file"
        )
    return steps


def _step(parent: object, step: str, flag: str, above: str, *, may_be_new: bool) -> str | int:
    """Check one step below ``parent``, which is at the key ``above``; a list's step is a number."""
    if isinstance(parent, list):
        if step.isascii() and step.isdecimal() and int(step) < len(parent):
            return int(step)
        raise SuiteError(
            f"{above!r} is a list of {len(parent)}",
            where=flag,
            hint=f"step into it with 0 to {len(parent) - 1}",
        )
    if not isinstance(parent, dict):
        raise SuiteError(f"{above!r} is a single value", where=flag, hint="it has no keys below it")
    if not may_be_new and step not in parent and above in ("learners", "protocols"):
        dotted = [name for name in parent if name.startswith(f"{step}.")]
        hint = did_you_mean(step, parent)
        if dotted:
            hint = f"quote a name that has dots: --set '{above}.\"{dotted[0]}\".key=value'"
        raise SuiteError(f"no {above[:-1]} {step!r}", where=flag, hint=hint)
    return step
