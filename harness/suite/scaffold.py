"""Templates of ``harness new suite`` and ``harness new learner``; both run unchanged."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Valid names of suites."""


def suite(path: Path) -> list[Path]:
    """Write a suite that compares the rule with its controls; it runs for about a minute.

    Raises:
        HarnessError: wrong ending, invalid name, or the file exists.
    """
    _require_free(path, ".yaml")
    if not NAME.fullmatch(path.stem):
        raise HarnessError(
            f"a suite cannot be called {path.stem!r}",
            where=str(path),
            hint="use letters, digits and . _ + - only, beginning with a letter or digit",
        )
    return [_write(path, "suite", name=path.stem)]


def learner(path: Path) -> list[Path]:
    """Write a module with a learner, and beside it a suite of the same name that measures it.

    Raises:
        HarnessError: wrong ending, invalid or taken module name, or a file exists.
    """
    name = path.stem
    suite_path = path.with_suffix(".yaml")
    _require_free(path, ".py")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise HarnessError(
            f"{name!r} is not a valid module name",
            where=str(path),
            hint="use lower-case letters, digits and _, beginning with a letter, e.g. my_rule.py",
        )
    if importlib.util.find_spec(name) is not None:
        raise HarnessError(
            f"a module {name!r} is installed, which Python would load instead",
            where=str(path),
            hint="choose another name, e.g. my_rule.py",
        )
    _require_free(suite_path, ".yaml")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    words = {"name": name, "cls": class_name}
    return [_write(path, "learner", **words), _write(suite_path, "learner_suite", **words)]


def _require_free(path: Path, ending: str) -> None:
    if path.suffix != ending:
        raise HarnessError(
            f"the file name must end in {ending}",
            where=str(path),
            hint=f"e.g. {path.with_suffix('')}{ending}",
        )
    if path.exists():
        raise HarnessError(
            "the file exists", where=str(path), hint="choose another name, or remove it first"
        )


def _write(path: Path, template: str, **words: str) -> Path:
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"{{{word}}}", value)
    write_text(path, text)
    return path
