"""Templates of ``harness new suite``, ``learner`` and ``project``; all run unchanged."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Valid names of suites."""

PROJECT = {
    "README.md": "project_readme",
    "{module}.py": "learner",
    "suite.yaml": "project_suite",
    "data/README.md": "project_data",
    "requirements.txt": "project_requirements",
    ".gitignore": "project_gitignore",
    ".github/workflows/numbers.yml": "project_ci",
}
"""Files of a project -> their templates."""


def suite(path: Path) -> list[Path]:
    """Write a suite that compares the rule with its controls; it runs for about a minute.

    Raises:
        HarnessError: wrong ending, invalid name, or the file exists.
    """
    _require_free(path, ".yaml")
    _require_suite_name(path.stem, path)
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
    _require_new_module(name, path)
    _require_free(suite_path, ".yaml")
    words = {"name": name, "cls": _class_name(name)}
    return [_write(path, "learner", **words), _write(suite_path, "learner_suite", **words)]


def project(folder: Path) -> list[Path]:
    """Write a project: a rule, a suite with bars, notes on data, and a workflow that checks them.

    The module of the rule is called after the folder, because names of modules are shared by all
    that Python can import.

    Raises:
        HarnessError: invalid name, a taken module name, or the folder has files already.
    """
    name = folder.resolve().name
    _require_suite_name(name, folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise HarnessError(
            "it exists, and is no empty folder",
            where=str(folder),
            hint="choose another name, or empty it first",
        )
    words = re.findall("[a-z0-9]+", name.lower())
    module = "_".join([*words, "rule"])
    if module[0].isdigit():
        module = f"my_{module}"
    _require_new_module(module, folder)
    written = []
    for file, template in PROJECT.items():
        path = folder / file.replace("{module}", module)
        written.append(_write(path, template, name=name, module=module, cls=_class_name(module)))
    return written


def _class_name(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))


def _require_suite_name(name: str, path: Path) -> None:
    if not NAME.fullmatch(name):
        raise HarnessError(
            f"a suite cannot be called {name!r}",
            where=str(path),
            hint="use letters, digits and . _ + - only, beginning with a letter or digit",
        )


def _require_new_module(name: str, path: Path) -> None:
    if importlib.util.find_spec(name) is not None:
        raise HarnessError(
            f"a module {name!r} is installed, which Python would load instead",
            where=str(path),
            hint="choose another name, e.g. my_rule.py",
        )


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
