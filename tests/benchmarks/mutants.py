"""Mutation tests: change one operator, constant or statement and see whether a test fails.

    python tests/benchmarks/mutants.py [TARGET ...] [--sample 20] [--seed 0] [--all] [--workers 2]

Prints a Markdown table with the share of mutants that the tests of each target kill, and every
survivor. By default a seeded sample is run, in about ten minutes on two cores; ``--all`` runs every
mutant, which takes hours.

The usual tools do not fit. mutmut rewrites functions into trampolines, which would change what code
that hashes syntax trees sees (``harness/cells``). cosmic-ray edits files of the checkout in place
and starts a new interpreter for each mutant, whose time goes mostly into importing torch. Here each
worker edits its own copy of the tree, and forks processes that have torch loaded already.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("harness", "baselines", "tests", "suites")
LINKED = ("docs", "results", "README.md", "CONTRIBUTING.md", "pyproject.toml", "Makefile")


@dataclass(frozen=True)
class Target:
    """Modules to mutate, and the tests that must notice.

    Attributes:
        modules: Files or folders, relative to the repository.
        tests: Arguments for pytest.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]


TARGETS = {
    "metrics": Target(("harness/metrics",), ("tests/metrics",)),
    "episodes": Target(
        ("harness/data/episodes.py", "harness/data/sampler.py"), ("tests/data/test_episodes.py",)
    ),
    "geometry": Target(
        ("harness/attacks/engine/geometry.py",), ("tests/attacks/test_attack_geometry.py",)
    ),
    "code versions": Target(
        ("harness/cells/code.py", "harness/cells/syntax.py", "harness/cells/modules.py"),
        ("tests/cells/test_code.py",),
    ),
    "leases": Target(("harness/storage/lease.py",), ("tests/storage",)),
    "pairs": Target(("harness/report/pairs.py",), ("tests/report/test_pairs.py",)),
}

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
"""Operator -> the operator that replaces it."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the node with this number, changed in this way."""

    target: str
    module: str
    node: int
    line: int
    change: str


# --------------------------------------------------------------------------- changes


def mutable(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of code that computes something, in a fixed order.

    Left out are docstrings, annotations, decorators, and arguments of errors.
    """
    for node in ast.iter_child_nodes(tree):
        if node in beside_the_code(tree):
            continue
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from mutable(node)


def beside_the_code(tree: ast.AST) -> list[ast.AST | None]:
    """Annotations and decorators of a node."""
    match tree:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [tree.returns, *tree.decorator_list]
        case ast.ClassDef():
            return [*tree.decorator_list]
        case ast.AnnAssign() | ast.arg():
            return [tree.annotation]
    return []


def changed(node: ast.AST) -> str | None:
    """Change a node in place and describe the change; None if the node has no mutation."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            node.ops = [SWAPS[type(operator)]()]
            return f"{type(operator).__name__} -> {type(node.ops[0]).__name__}"
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in SWAPS:
            node.op = SWAPS[type(operator)]()
            return f"{type(operator).__name__} -> {type(node.op).__name__}"
        case ast.AugAssign(op=operator) if type(operator) in SWAPS:
            node.op = SWAPS[type(operator)]()
            return f"{type(operator).__name__}= -> {type(node.op).__name__}="
        case ast.UnaryOp(op=ast.Not() | ast.USub() as operator):
            node.op = ast.UAdd() if isinstance(operator, ast.USub) else operator
            if isinstance(operator, ast.Not):
                node.operand = ast.UnaryOp(ast.Not(), node.operand)
            return f"{type(operator).__name__} dropped"
        case ast.Constant(value=bool() as value):
            node.value = not value
            return f"{value} -> {node.value}"
        case ast.Constant(value=int() | float() as value):
            node.value = value + 1 if isinstance(value, int) else 2 * value or 1.0
            return f"{value} -> {node.value}"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            node.value = ast.Constant(None)
            return "return None"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            node.test = ast.UnaryOp(ast.Not(), test)
            return "condition negated"
        case ast.Expr(value=ast.Call()):
            node.value = ast.Constant(None)
            return "call dropped"
    return None


def mutants_of(target: str, module: str, root: Path) -> list[Mutant]:
    """Every mutant of a file."""
    tree = ast.parse((root / module).read_text())
    found = []
    for number, node in enumerate(mutable(tree)):
        change = changed(copy.deepcopy(node))
        if change is not None:
            found.append(Mutant(target, module, number, node.lineno, change))
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """The source of the file with the change."""
    tree = ast.parse(source)
    for number, node in enumerate(mutable(tree)):
        if number == mutant.node:
            changed(node)
            break
    return ast.unparse(ast.fix_missing_locations(tree))


# --------------------------------------------------------------------------- running


def copy_of_the_tree(source: Path, folder: Path) -> Path:
    """Copy the tree: once at the start, so that later edits do not matter, and for each worker."""
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        shutil.copytree(source / name, folder / name, ignore=skip)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    return folder


def tests_pass(tree: Path, tests: tuple[str, ...], limit: float) -> bool:
    """Run tests in a forked process; one that takes longer than the limit has failed."""
    child = os.fork()
    if child == 0:
        os.setsid()  # so that what the tests start can be ended with them
        status = 3
        try:
            status = run_pytest(tree, tests)
        finally:
            os._exit(status)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def run_pytest(tree: Path, tests: tuple[str, ...]) -> int:
    """pytest's exit status, with all output dropped."""
    import pytest

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = str(tree)
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", *tests]))


def worker(pipe: Connection, source: Path) -> None:
    """Receive mutants, answer whether the tests noticed; imports what is slow to import once."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    import hypothesis
    import pandas
    import scipy.stats
    import torch

    assert hypothesis and pandas and scipy.stats
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_the_tree(source, Path(folder))
        limits: dict[str, float] = {}
        while (mutant := pipe.recv()) is not None:
            tests = TARGETS[mutant.target].tests
            if mutant.target not in limits:
                start = time.monotonic()
                if not tests_pass(tree, tests, 600.0):
                    raise SystemExit(f"mutants: the tests of {mutant.target} fail as they are")
                limits[mutant.target] = 10.0 + 3.0 * (time.monotonic() - start)
            path = tree / mutant.module
            original = path.read_text()
            path.write_text(mutated(original, mutant))
            noticed = not tests_pass(tree, tests, limits[mutant.target])
            path.write_text(original)
            pipe.send(noticed)


def noticed(mutants: list[Mutant], workers: int, source: Path) -> dict[Mutant, bool]:
    """Whether the tests noticed each mutant."""
    queue = list(reversed(mutants))
    answers: dict[Mutant, bool] = {}

    def drive(_: int) -> None:
        context = get_context("spawn")
        pipe, other_end = context.Pipe()
        process = context.Process(target=worker, args=(other_end, source))
        process.start()
        other_end.close()
        while queue:
            mutant = queue.pop()
            pipe.send(mutant)
            answers[mutant] = pipe.recv()
            print(f"{len(answers)}/{len(mutants)}", end="\r", file=sys.stderr, flush=True)
        pipe.send(None)
        process.join()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(drive, range(workers)))
    return answers


# ------------------------------------------------------------------------------ main


def chosen(
    names: list[str], sample: int | None, seed: int, root: Path
) -> tuple[list[Mutant], dict[str, int]]:
    """Choose the mutants to run, ordered by target, and count all mutants of each target."""
    mutants: list[Mutant] = []
    totals: dict[str, int] = {}
    for name in names:
        files = []
        for entry in TARGETS[name].modules:
            path = root / entry
            files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
        every = []
        for file in files:
            every += mutants_of(name, file.relative_to(root).as_posix(), root)
        totals[name] = len(every)
        if sample is not None and sample < len(every):
            every = random.Random(f"{seed} {name}").sample(every, sample)
        mutants += every
    return mutants, totals


def row(name: str, total: int, killed: list[bool]) -> str:
    """A row of the table."""
    score = 100 * sum(killed) / len(killed)
    return f"| {name} | {total} | {len(killed)} | {sum(killed)} | {score:.0f} |"


def main() -> None:
    """Run the mutants, print the table and the survivors."""
    parser = argparse.ArgumentParser(description="Mutation tests.")
    parser.add_argument("targets", nargs="*", default=[], help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, default=20, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    sample = None if options.all else options.sample

    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source = copy_of_the_tree(ROOT, Path(folder))
        mutants, totals = chosen(names, sample, options.seed, source)
        answers = noticed(mutants, options.workers, source)
    print(f"{len(mutants)} mutants, {time.monotonic() - start:.0f} s", file=sys.stderr)

    print("| target | mutants | run | killed | score, % |")
    print("| :--- | ---: | ---: | ---: | ---: |")
    for name in names:
        ran = [answers[mutant] for mutant in mutants if mutant.target == name]
        print(row(name, totals[name], ran))
    print(row("all", sum(totals.values()), list(answers.values())))
    print()
    for mutant in mutants:
        if not answers[mutant]:
            print(f"survived: {mutant.module}:{mutant.line}: {mutant.change}")


if __name__ == "__main__":
    main()
