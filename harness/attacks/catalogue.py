"""What torchattacks offers, read from its source without importing it: importing it imports torch, which takes seconds."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean


@dataclass(frozen=True)
class Entry:
    """One attack class of torchattacks.

    Attributes:
        name: of the class.
        parameters: name -> default, of its constructor (``model`` left out).
        norms: in which it measures perturbations, first its default; all of them where its docstring does not say.
    """

    name: str
    parameters: dict[str, Any]
    norms: tuple[str, ...]

    @property
    def budget(self) -> str | None:
        """The parameter that takes the budget; None: it looks for the smallest perturbation."""
        return next((name for name in ("eps", "max_epsilon") if name in self.parameters), None)


@cache
def _package() -> tuple[Path, dict[str, str]]:
    """Where torchattacks is, and its attacks: class name -> module."""
    spec = find_spec("torchattacks")
    if spec is None or spec.origin is None:
        raise HarnessError("torchattacks is not installed", hint="pip install torchattacks")
    modules = {}
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attacks."):
            modules.update({alias.name: node.module for alias in node.names})
    return Path(spec.origin).parent, modules


def names() -> list[str]:
    """Every attack of torchattacks (its wrappers, which need other attacks or training data, are not attacks)."""
    return sorted(_package()[1])


@cache
def entry(name: str) -> Entry:
    """What is known of one attack.

    Raises:
        HarnessError: torchattacks has no such attack, or is not installed.
    """
    root, modules = _package()
    if name not in modules:
        raise HarnessError(f"torchattacks has no attack {name!r}", hint=did_you_mean(name, modules))
    tree = ast.parse(
        (root / Path(*modules[name].split("."))).with_suffix(".py").read_text(encoding="utf-8")
    )
    cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return Entry(name, _parameters(cls), _norms(ast.get_docstring(cls) or ""))


def _parameters(cls: ast.ClassDef) -> dict[str, Any]:
    init = next(
        (
            node
            for node in cls.body
            if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        ),
        None,
    )
    if init is None:
        return {}
    arguments = [argument.arg for argument in init.args.args][2:]  # without self and model
    defaults = [_constant(default) for default in init.args.defaults]
    return dict(zip(arguments, [None] * (len(arguments) - len(defaults)) + defaults, strict=True))


def _constant(node: ast.expr) -> Any:
    """A default's value; ``8 / 255`` is a number, what is not a literal is None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ast.literal_eval(node.left) / ast.literal_eval(node.right)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _norms(docstring: str) -> tuple[str, ...]:
    stated = re.search(r"Distance Measure\s*:\s*(.*)", docstring)
    found = re.findall(r"L(?:inf|[012])", stated.group(1)) if stated else []
    return tuple(measure.lower() for measure in found) or ("linf", "l2", "l1", "l0")
