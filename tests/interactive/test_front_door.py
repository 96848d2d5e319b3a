"""``import harness`` is fast, and lists everything public with a docstring."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import harness


def test_importing_it_imports_no_library():
    heavy = ["torch", "pandas", "numpy", "scipy", "pydantic", "matplotlib", "rich", "yaml"]
    code = f"import sys, harness; print([n for n in {heavy} if n in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_every_public_name_is_listed_and_documented():
    assert dir(harness) == sorted(harness.__all__) == sorted(harness._HOME)
    for name in harness.__all__:
        assert inspect.getdoc(getattr(harness, name)), name


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse(Path(harness.__file__).read_text())
    (checking,) = [each for each in tree.body if isinstance(each, ast.If)]
    seen = {
        alias.name: statement.module
        for statement in checking.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == harness._HOME


def test_a_notebook_shows_the_message_of_an_error_and_no_traceback():
    error = harness.HarnessError("unknown key 'a'", where="suite['a']", hint="b?")
    assert error._render_traceback_() == ["HarnessError: suite['a']: unknown key 'a'\n  b?"]


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(harness, "evalute")
