"""Names, parameters and norms of the attacks of torchattacks, read from its source code.

Nothing is imported: importing torchattacks imports torch, which takes seconds, and suites are
validated without it.
"""

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
class Signature:
    """One attack class of torchattacks.

    Attributes:
        name: of the class.
        parameters: name -> default, of its constructor (without ``model``).
        norms: in which it measures perturbations, its default first; all if its docstring names
            none.
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
    """The folder of torchattacks, and its attacks: class name -> module."""
    spec = find_spec("torchattacks")
    if spec is None or spec.origin is None:
        raise HarnessError("torchattacks is not installed", hint="pip install torchattacks")
    init = Path(spec.origin)
    modules: dict[str, str] = {}
    for node in ast.parse(init.read_text(encoding="utf-8")).body:
        # Wrappers come from other modules. They need other attacks, or training data.
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("attacks."):
            for alias in node.names:
                modules[alias.name] = str(node.module)
    return init.parent, modules


def names() -> list[str]:
    """Names of all attacks of torchattacks, sorted."""
    _, modules = _package()
    return sorted(modules)


@cache
def signature(name: str) -> Signature:
    """Parameters and norms of one attack.

    Raises:
        HarnessError: torchattacks has no such attack, or is not installed.
    """
    root, modules = _package()
    if name not in modules:
        raise HarnessError(f"torchattacks has no attack {name!r}", hint=did_you_mean(name, modules))
    path = (root / Path(*modules[name].split("."))).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return Signature(name, _parameters(cls), _norms(ast.get_docstring(cls) or ""))


def _parameters(cls: ast.ClassDef) -> dict[str, Any]:
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = [argument.arg for argument in node.args.args][2:]  # without self and model
            defaults = [_constant(default) for default in node.args.defaults]
            required = len(arguments) - len(defaults)
            return dict(zip(arguments, [None] * required + defaults, strict=True))
    return {}


def _constant(node: ast.expr) -> Any:
    """The value of a default; ``8 / 255`` is evaluated, anything that is not a literal is None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ast.literal_eval(node.left) / ast.literal_eval(node.right)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _norms(docstring: str) -> tuple[str, ...]:
    stated = re.search(r"Distance Measure\s*:\s*(.*)", docstring)
    measures = re.findall(r"L(?:inf|[012])", stated.group(1)) if stated else []
    return tuple(measure.lower() for measure in measures) or ("linf", "l2", "l1", "l0")
