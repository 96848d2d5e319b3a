"""Versions of code: every line that a cell reaches counts, and nothing that only people read."""

from __future__ import annotations

import pytest

from harness.cells import code
from harness.errors import HarnessError

HELPERS = '''
"""Helpers."""
from dataclasses import dataclass

LIMIT = 3
UNUSED = 1


def base(x):
    """Double."""
    return 2 * x


def unused():
    return base(1)


class Parent:
    """What children share."""

    def step(self):
        return LIMIT


@dataclass
class Point:
    """A point."""

    x: int
    y: float = 0.0
    """Upwards."""
'''

RULE = '''
"""A rule."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from mine.helpers import Parent, Point, base

if TYPE_CHECKING:
    from collections.abc import Sequence

Mode = Literal["a", "b"]
TABLE = {"double": base}
TABLE["floor"] = math.floor


class Config(BaseModel):
    """Keys."""

    rate: float = Field(0.1, gt=0, description="how fast")
    mode: Mode = "a"


class Rule(Parent):
    """Learns."""

    config: Config
    typical_training_s = 3.0

    def fit(self, values: Sequence[float]) -> float:
        """Fit."""
        # A comment.
        from mine.late import late

        if not values:
            raise ValueError("no values: give some")
        assert values[0] > 0, "positive"
        return late(TABLE["double"](values[0])) + Point(1).x

    def words(self) -> str:
        """In words."""
        return "a rule"
'''

LATE = "def late(x):\n    return x + 1\n"


@pytest.fixture
def version(tmp_path, monkeypatch):
    """The version of ``Rule`` after replacements in the files of its package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "mine"
    package.mkdir()

    def write(**texts):
        for name, text in texts.items():
            (package / f"{name}.py").write_text(text)

    def find(*replacements, entry="mine.rule:Rule", **texts):
        write(__init__="", helpers=HELPERS, rule=RULE, late=LATE)
        write(**texts)
        for name, old, new in replacements:
            path = package / f"{name}.py"
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
        code.forget()
        return code.version((entry,))

    yield find
    code.forget()


@pytest.mark.parametrize(
    "replacement",
    [
        ("rule", "# A comment.", "# Another comment."),
        ("rule", '"""Learns."""', '"""Learns well."""'),
        ("rule", '"""Learns."""\n', ""),
        ("rule", '"""Fit."""', '"""Fit the values."""'),
        ("helpers", '"""Upwards."""', '"""The other coordinate."""'),
        ("rule", 'description="how fast"', 'description="learning rate"'),
        ("rule", "no values: give some", "values are missing"),
        ("rule", ', "positive"', ""),
        ("rule", "values: Sequence[float]) -> float", "values) -> int"),
        ("rule", "    config: Config\n", "    config: dict\n"),
        ("rule", "typical_training_s = 3.0", "typical_training_s = 5.0"),
        ("rule", 'return "a rule"', 'return "another rule"'),
        ("helpers", "    x: int\n", "    x: float\n"),
        ("helpers", "return base(1)", "return base(2)"),
        ("helpers", "UNUSED = 1", "UNUSED = 2"),
        ("helpers", "def unused():\n    return base(1)\n", ""),
        ("rule", "from collections.abc import Sequence", "from typing import Sequence"),
    ],
    ids=lambda replacement: replacement[1].strip()[:30],
)
def test_what_only_people_read_changes_no_version(version, replacement):
    before = version()
    assert version(replacement) == before


@pytest.mark.parametrize(
    "replacement",
    [
        ("helpers", "return 2 * x", "return 3 * x"),
        ("helpers", "LIMIT = 3", "LIMIT = 4"),
        ("helpers", "y: float = 0.0", "y: float = 1.0"),
        ("helpers", "return LIMIT", "return LIMIT + 1"),
        ("helpers", "@dataclass\n", ""),
        ("late", "x + 1", "x + 2"),
        ("rule", "Field(0.1", "Field(0.2"),
        ("rule", "gt=0", "ge=0"),
        ("rule", "mode: Mode", "mode: str"),
        ("rule", 'Literal["a", "b"]', 'Literal["a"]'),
        ("rule", "math.floor", "math.ceil"),
        ("rule", "values[0] > 0", "values[0] >= 0"),
        ("rule", "raise ValueError", "raise TypeError"),
        ("rule", "class Rule(Parent)", "class Rule"),
        ("rule", 'TABLE["double"]', 'TABLE["floor"]'),
        ("rule", "Point(1).x", "Point(1).y"),
    ],
    ids=lambda replacement: replacement[2].strip()[:30],
)
def test_every_line_that_is_reached_changes_the_version(version, replacement):
    # Config is reached through its own entry: nothing in Rule but an annotation names it.
    entry = "mine.rule:Rule"
    if replacement[2] in ("Field(0.2", "ge=0", "mode: str", 'Literal["a"]'):
        entry = "mine.rule:Config"
    before = version(entry=entry)
    assert version(replacement, entry=entry) != before


def test_moving_and_renaming_files_changes_no_version(version):
    before = version()
    moved = RULE.replace("mine.helpers", "mine.deeper").replace("mine.late", "mine.later")
    assert version(rule=moved, deeper=HELPERS, later=LATE, helpers="", late="") == before
    assert version(entry="mine.other:Rule", other=RULE, rule="") == before


def test_a_definition_that_moves_to_another_file_is_followed_there(version):
    before = version()
    assert version(late="from mine.deeper import late\n", deeper=LATE) == before


def test_which_of_two_definitions_a_name_means_counts(version):
    both = "def late(x):\n    return x + 1\n\n\ndef later(x):\n    return x + 1000\n"
    before = version(late=both)
    assert version(("rule", "import late", "import later as late"), late=both) != before
    swapped = RULE.replace("import math", "import cmath as math")
    assert version(rule=swapped, late=both) != before


def test_a_module_reached_as_an_attribute_is_followed(version):
    text = RULE.replace("from mine.late import late", "from mine import late as module").replace(
        "late(TABLE", "module.late(TABLE"
    )
    before = version(rule=text)
    assert version(("late", "x + 1", "x + 2"), rule=text) != before


def test_of_an_entry_with_a_member_only_what_it_uses_counts(version):
    text = RULE + (
        "\n    @classmethod\n    def measure(cls, x):\n        return cls.helped(x)\n"
        "\n    @classmethod\n    def helped(cls, x):\n        return base(x)\n"
        "\n    def caption(self):\n        return 'words'\n"
    )
    entry = "mine.rule:Rule.measure"
    before = version(rule=text, entry=entry)
    assert version(("rule", "return 'words'", "return 'more'"), rule=text, entry=entry) == before
    assert version(("rule", "late(TABLE", "-late(TABLE"), rule=text, entry=entry) == before
    assert version(("rule", "return base(x)", "return -base(x)"), rule=text, entry=entry) != before
    assert version(("helpers", "return 2 * x", "return x"), rule=text, entry=entry) != before


def test_a_statement_that_runs_on_import_counts(version):
    before = version()
    assert version(late=LATE + "\nprint('hello')\n") != before


def test_names_that_a_function_binds_itself_are_not_followed(version):
    text = (
        LATE.replace("x + 1", "x + sum(unused for unused in [1])")
        + "\nfrom mine.helpers import unused\n"
    )
    before = version(late=text)
    assert version(("helpers", "return base(1)", "return base(3)"), late=text) == before


def test_an_entry_without_source_is_an_error():
    with pytest.raises(HarnessError, match="its source is not found"):
        code.version(("nowhere.at_all:Thing",))


def test_a_byte_order_mark_and_a_coding_cookie_are_read(version, tmp_path):
    before = version()
    (tmp_path / "mine" / "late.py").write_bytes(b"\xef\xbb\xbf# coding: utf-8\n" + LATE.encode())
    code.forget()
    assert code.version(("mine.rule:Rule",)) == before
