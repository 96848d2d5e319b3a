"""Files to start from: ``harness new suite`` and ``harness new learner``. Both run as they are."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_atomically

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""What a suite may be called."""


def suite(path: Path) -> list[Path]:
    """Write a suite that compares the rule with its controls, about a minute of running.

    Raises:
        HarnessError: another ending than .yaml, a name that no suite may have, or a file that is there already.
    """
    _is_free(path, ".yaml")
    if not NAME.fullmatch(path.stem):
        raise HarnessError(
            f"a suite cannot be called {path.stem!r}",
            where=str(path),
            hint="use letters, digits and . _ + - only, beginning with a letter or digit",
        )
    return [_write(path, "suite", name=path.stem)]


def learner(path: Path) -> list[Path]:
    """Write a module with a learner, and beside it a suite of that name that measures it.

    Raises:
        HarnessError: another ending than .py, a name that is no module's or is taken, or a file that is there already.
    """
    name, beside = path.stem, path.with_suffix(".yaml")
    _is_free(path, ".py")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise HarnessError(
            f"a module of ours is not called {name!r}",
            where=str(path),
            hint="use small letters, digits and _, beginning with a letter, e.g. my_rule.py",
        )
    if importlib.util.find_spec(name) is not None:
        raise HarnessError(
            f"there is a module {name!r} already, which Python would load instead",
            where=str(path),
            hint="choose another name, e.g. my_rule.py",
        )
    _is_free(beside, ".yaml")
    words = {"name": name, "cls": "".join(map(str.capitalize, name.split("_")))}
    return [_write(path, "learner", **words), _write(beside, "learner_suite", **words)]


def _is_free(path: Path, ending: str) -> None:
    if path.suffix != ending:
        raise HarnessError(
            f"it should end in {ending}",
            where=str(path),
            hint=f"e.g. {path.with_suffix('')}{ending}",
        )
    if path.exists():
        raise HarnessError(
            "it is there already", where=str(path), hint="choose another name, or remove it first"
        )


def _write(path: Path, template: str, **words: str) -> Path:
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    write_atomically(path, text.encode())
    return path
