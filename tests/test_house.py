"""House rules that no linter knows: sizes, quiet imports, plain English."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = [
    *sorted((ROOT / "harness").rglob("*.py")),
    *sorted((ROOT / "baselines").rglob("*.py")),
]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"]
SUITES = sorted((ROOT / "suites").rglob("*.yaml"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
"""Lines, docstring not counted."""

MAY_PRINT = ("harness/cli/",)
"""The command line is the only part that writes to stdout."""

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "sklearn")
"""Packages that take seconds to import: no command that only reads a suite may load them."""

BANNED = (
    "cry wolf",
    "in the place of",
    "is to be had",
    "left in peace",
    "made anew",
    "of no account",
    "somebody",
    "stands twice",
    "to be believed",
    "told apart",
    "whence",
)
"""Phrases of a translated text; docs, comments, docstrings and messages say it in plain English."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    total = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - (docstring.end_lineno - docstring.lineno + 1)


def test_no_file_is_too_long():
    lengths = {name(path): len(path.read_text().splitlines()) for path in LIBRARY}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long():
    lengths = {
        f"{name(path)}:{function.name}": length(function)
        for path in LIBRARY
        for function in functions(path)
    }
    assert {where: lines for where, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def test_only_the_command_line_prints():
    printing = []
    for path in LIBRARY:
        if name(path).startswith(MAY_PRINT):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                printing.append(f"{name(path)}:{node.lineno}")
    assert printing == []


READS_TEXT = {"open", "read_text", "write_text", "NamedTemporaryFile", "run", "Popen"}
"""Calls that read or write text unless a mode says bytes, or that do if ``text=True``."""


def relies_on_locale(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the encoding of the user's locale."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if function not in READS_TEXT or "encoding" in given:
        return False
    if function in ("run", "Popen"):
        return "text" in given or "universal_newlines" in given
    if function in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)
    values = [*call.args, *given.values()]
    words = [each.value for each in values if isinstance(each, ast.Constant)]
    modes = [word for word in words if isinstance(word, str) and set(word) <= set("rwaxbt+")]
    opens_path = isinstance(call.func, ast.Name) or function == "NamedTemporaryFile" or modes
    return bool(opens_path) and not any("b" in mode for mode in modes)


@pytest.mark.parametrize(
    "text, relies",
    [
        ("open(path)", True),
        ("open(path, 'rb')", False),
        ("path.open('w')", True),
        ("path.open('a', encoding='utf-8')", False),
        ("Image.open(file)", False),
        ("path.read_text()", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("write_text(path, text)", False),
        ("subprocess.run(words, text=True)", True),
        ("subprocess.run(words, encoding='utf-8')", False),
    ],
)
def test_reading_by_locale_is_recognised(text, relies):
    assert relies_on_locale(ast.parse(text, mode="eval").body) == relies


def test_text_is_read_and_written_as_utf_8_whatever_the_locale():
    calls = [
        f"{name(path)}:{node.lineno}"
        for path in LIBRARY
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and relies_on_locale(node)
    ]
    assert calls == []


@pytest.mark.parametrize("words", [["--help"], ["validate", "suites/quickstart.yaml"]], ids=str)
def test_commands_that_only_read_load_nothing_heavy(words):
    code = f"""
import sys
from harness.cli import main
sys.argv = ["harness", *{words!r}]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("loaded:", *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1].split() == ["loaded:"]


def test_imports_leave_global_random_state_alone():
    modules = [
        name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in LIBRARY
        if path.name != "__main__.py"
    ]
    code = f"""
import importlib, random
import numpy, rich.style, torch  # rich draws one random number when it is imported
random.seed(1); numpy.random.seed(2); torch.manual_seed(3)
expected = random.random(), numpy.random.random(), torch.rand(()).item()
random.seed(1); numpy.random.seed(2); torch.manual_seed(3)
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:  # an optional package
        assert not error.name.startswith(("harness", "baselines")), error
assert (random.random(), numpy.random.random(), torch.rand(()).item()) == expected
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def strings_and_comments(path: Path) -> str:
    """The text that a reader of a Python file, or of its messages, sees."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return "\n".join(token.string for token in tokens if token.type in kinds)


@pytest.mark.parametrize("path", [*LIBRARY, *PAGES, *SUITES], ids=name)
def test_prose_is_plain_english(path):
    text = strings_and_comments(path) if path.suffix == ".py" else path.read_text()
    words = re.sub(r"[\s#]+", " ", text).lower()
    assert [phrase for phrase in BANNED if phrase in words] == []


def test_no_folder_of_tests_hides_a_package():
    import baselines

    assert Path(baselines.__file__).parts[-3:-1] != ("tests", "baselines")
    assert str(ROOT / "tests") not in sys.path
