"""Randomly damaged suites: ``harness validate`` accepts them, or says what is wrong and where."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from harness.cli import entry, output
from harness.suite import shipped

SUITES = {name: shipped.locate(name).read_text() for name in shipped.names()}
LONGEST_S = 20
"""Processor time; a suite that takes longer to refuse has found a bug, not a slow machine."""
COMMAND = typer.main.get_command(entry.app)  # made once, which takes half of the time otherwise
MOST_MEMORY = 8 * 2**30
AMOUNT = int(os.environ.get("HOSTILE_SUITES", 10_000))

NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    10**6,
    10**15,
    10**16,
    10**30,
    10**4000,
    2**63,
    -(2**63),
    1e308,
    -1e308,
    1e-320,
    0.1,
    1.5,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "\0",
    "\x1b[31m",
    "\u202e\u0000",
    "ß∂ƒ∆",
    "💥" * 50,
    "a" * 100_000,
    "..",
    "/",
    "/dev/zero",
    "/dev/null",
    "/proc/self/mem",
    "../../../etc/passwd",
    "~",
    "null",
    "1e400",
    "0x",
    "0o9",
    "1_000",
    "1-5",
    "5-1",
    "0-0",
    "1-99999999999",
    "-1--1",
    "1-",
    "[",
    "]",
    "{",
    "%s%n{0}{x}",
    "os:system",
    "json:loads",
    "nosuch:Thing",
    ":",
    "a:",
    ":b",
    "harness.learning.learner:Learner",
    "baselines.mlp:Mlp.Config",
    "ech",
    "mlp",
    "digits",
    "mnist5k",
    "few_shot",
    "attack_sweep",
    "pgd",
    "torchattacks.PGD",
    "torchattacks.Nothing",
    "worst",
    "test",
    "kind",
    "learner",
    "seed",
    "metric",
    "2020-01-01",
    "yes",
    "<<",
    [],
    {},
    [[]],
    [{}],
    [None],
    [[[[[[]]]]]],
    {"": ""},
    {"kind": None},
    {"kind": []},
    {"kind": "mlp"},
    {"kind": "digits"},
    {"kind": "image-folder"},
    {"kind": "image-folder", "folder": "/dev"},
    {"a": {"b": {"c": {}}}},
    [0] * 1000,
    list(range(2000)),
    [0.1] * 500,
    ["ech", "ech"],
    [float("nan")],
    [10**30],
    [True, 1],
    {"mlp": {"hidden": "x"}},
]
LINES = [
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    "&x a: *x\n",
    "x: &x [*x]\n",
    "<<: {name: other}\n",
    "<<: *nothing\n",
    "---\n",
    "...\n",
    "%YAML 9.9\n---\n",
    "%TAG ! tag:evil,2000:\n---\n",
    "? [a, b]\n: c\n",
    "? complex\n",
    "- a\n",
    "\t- a\n",
    "!!python/none x: 1\n",
    "x: !!python/object/apply:os.system ['true']\n",
    "x: !!binary aGVsbG8=\n",
    "x: !!set {a, b}\n",
    "x: !!float abc\n",
    "x: !!int 1:2\n",
    "x: !!timestamp 2020\n",
    "x: |\n",
    "x: >-\n   a\n  b\n",
    "x: 'unclosed\n",
    'x: "\\xZZ"\n',
    'x: "\\uD800"\n',
    "x: [1, 2\n",
    "x: {a: 1\n",
    "x: @at\n",
    "x: `tick\n",
    "name: a\nname: b\n",
    "learners: {}\n",
    "protocols: []\n",
    "extends: .\n",
    "extends: suite.yaml\n",
    "extends: /dev/zero\n",
    "extends: [nothing.yaml]\n",
    "defaults: 3\n",
    "defaults: {learners: {mlp: {}}}\n",
    "x: " + "[" * 5000 + "\n",
    "x: " + "{a: " * 300 + "1" + "}" * 300 + "\n",
    "x: " + "[" * 300 + "]" * 300 + "\n",
    "? " * 2000 + "\n",
    "x: " + "9" * 5000 + "\n",
    "x: 0x" + "f" * 5000 + "\n",
    "x: 1e" + "9" * 400 + "\n",
    "# " + "c" * 100_000 + "\n",
    "\ufeffx: 1\n",
    "x: \u2028\n",
    "x: \x85y\n",
    "- - - - - - -\n",
    "bomb: &l [" + ",".join(["0"] * 3000) + "]\nmore: [" + ",".join(["*l"] * 60) + "]\n",
]
TREE_CHANGES = [
    "delete",
    "replace",
    "replace",
    "replace",
    "rename",
    "add",
    "wrap",
    "swap",
    "repeat",
    "text",
]
TEXT_CHANGES = ["cut", "drop", "double", "indent", "insert", "insert", "character", "swap", "bomb"]
BOMB = "b0: &b0 [lol, lol]\n" + "".join(
    f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 4)}]\n" for n in range(1, 24)
)


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value of a tree."""
    below = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


def at(tree: Any, path: tuple) -> Any:
    for step in path:
        tree = tree[step]
    return tree


@st.composite
def mutated_tree(draw, text: str) -> str:
    """A suite with some of its values deleted, exchanged, renamed, retyped or repeated."""
    tree = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from([place for place in places(tree) if place] or [()]))
        if not path:
            break
        parent, key = at(tree, path[:-1]), path[-1]
        what = draw(st.sampled_from(TREE_CHANGES))
        if what == "delete":
            del parent[key]
        elif what == "replace":
            parent[key] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        elif what == "rename" and isinstance(parent, dict):
            names = [
                f"{key}s",
                f"{key}"[:-1],
                f"{key}".upper(),
                "",
                "ключ",
                7,
                None,
                True,
                "kind",
                "a.b",
                "x" * 200,
            ]
            parent[draw(st.sampled_from(names))] = parent.pop(key)
        elif what == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=12))] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        elif what == "wrap":
            parent[key] = copy.deepcopy(
                draw(st.sampled_from([[parent[key]], {"kind": parent[key]}, [parent[key]] * 3]))
            )
        elif what == "swap":
            parent[key] = yaml.safe_load(
                yaml.safe_dump(at(tree, draw(st.sampled_from(places(tree)))))
            )
        elif what == "repeat" and isinstance(parent, list):
            parent += [copy.deepcopy(parent[key]) for _ in range(draw(st.sampled_from([1, 50])))]
        elif what == "text":
            parent[key] = draw(st.text(max_size=30))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))


@st.composite
def mutated_text(draw, text: str) -> bytes:
    """A suite whose text was cut, spliced, re-indented, or mixed with other text."""
    for _ in range(draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True) or [""]
        row = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(TEXT_CHANGES))
        if what == "cut":
            lines = lines[:row] + [lines[row][: draw(st.integers(0, 40))]]
        elif what == "drop":
            del lines[row]
        elif what == "double":
            lines.insert(row, lines[row])
        elif what == "indent":
            text = draw(st.sampled_from([lines[row], lines[row].lstrip()]))
            lines[row] = draw(st.sampled_from(["", " ", "  ", "\t", "    "])) + text
        elif what == "insert":
            lines.insert(row, draw(st.sampled_from(LINES)))
        elif what == "character":
            column = draw(st.integers(0, max(0, len(lines[row]) - 1)))
            new = draw(
                st.one_of(
                    st.sampled_from(list("{}[]:,&*!|>'\"%@`#-?\t \n\0")),
                    st.characters(codec="utf-8"),
                )
            )
            lines[row] = lines[row][:column] + new + lines[row][column + draw(st.integers(0, 1)) :]
        elif what == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[row], lines[other] = lines[other], lines[row]
        else:
            lines.append(BOMB)
        text = "".join(lines)
    data = text.encode()
    if draw(st.integers(0, 7)) == 0:  # and now and then bytes that are no text at all
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(min_size=1, max_size=20)) + data[place:]
    return data


@st.composite
def mutated(draw) -> bytes:
    text = SUITES[draw(st.sampled_from(sorted(SUITES)))]
    return draw(mutated_tree(text)).encode() if draw(st.booleans()) else draw(mutated_text(text))


def validate(path: Path) -> tuple[int, str, str]:
    """``harness validate`` in this process: (exit status, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv, output.out.file, entry.app
    sys.argv, output.out.file, entry.app = ["harness", "validate", str(path)], out, COMMAND
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            entry.main()
        status = 0
    except SystemExit as leaving:
        status = leaving.code or 0
    finally:
        sys.argv, output.out.file, entry.app = before
    return status, out.getvalue(), err.getvalue()


class TooLong(BaseException):
    """Which nothing that handles errors takes for one of its own."""


@contextlib.contextmanager
def limits():
    """A suite must not hang the process nor eat its memory."""

    def too_long(*_):
        raise TooLong

    before, memory = signal.signal(signal.SIGPROF, too_long), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, memory[1]))
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, memory)


seen = {0: 0, 2: 0}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    yield tmp_path_factory.mktemp("mutated") / "suite.yaml"
    print(f"\nmutated suites: {seen[0]} still good, {seen[2]} refused")


@settings(
    max_examples=AMOUNT,
    deadline=None,
    database=None,
    print_blob=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(data=mutated())
def test_a_mutated_suite_is_good_or_has_clear_faults(path, data):
    path.write_bytes(data)
    note(repr(data))
    with limits():
        status, out, error = validate(path)
    seen[status] = seen.get(status, 0) + 1
    if status == 0:
        assert out.startswith(f"{path}: good") and not error
        return
    assert status == 2 and "Traceback" not in error
    lines = error.rstrip("\n").split("\n")
    assert all(line.isprintable() and len(line) <= 1000 for line in lines), error
    # Each fault is a line that says where it is, and a second one if there is a hint.
    fault = re.compile(rf"{re.escape(str(path.parent))}/?[^:]*(:\d+:\d+)?: \S")
    faults = [bool(fault.match(line.strip())) for line in lines]
    assert faults[0], error
    hints = [line for line, is_fault in zip(lines, faults, strict=True) if not is_fault]
    assert all(line.startswith("  ") for line in hints), error
    assert len(hints) <= sum(faults), error
