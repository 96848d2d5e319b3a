"""What is printed of cells that failed."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy
from command_kit import harness

from harness.cli.output import own_line

BROKEN = """
from baselines.nearest_mean import NearestMean

class Broken(NearestMean):
    def fit(self, train, **_):
        raise ArithmeticError("it blew up")
"""


def test_the_own_line_is_the_innermost_one_outside_of_packages():
    def rule() -> None:
        numpy.linalg.inv(numpy.zeros((2, 2)))  # raises inside numpy

    try:
        rule()
    except numpy.linalg.LinAlgError:
        trace = traceback.format_exc()
    assert f'File "{Path(numpy.__file__).parent}' in trace
    assert own_line(trace) == f"{__file__}:{rule.__code__.co_firstlineno + 1} (rule)"


def test_an_error_in_packages_only_has_no_own_line():
    assert own_line(f'  File "{numpy.__file__}", line 1, in inv') is None
    assert own_line('  File "<string>", line 1, in <module>') is None


def test_an_error_is_printed_once_for_all_cells_that_need_its_cell(tmp_path):
    (tmp_path / "broken_rule.py").write_text(BROKEN)
    suite = tmp_path / "broken.yaml"
    suite.write_text(
        "name: broken\nlearners: {broken: {kind: 'broken_rule:Broken'}}\nprotocols:\n"
        "  plain: {kind: classification, dataset: digits}\n"
        "  sure: {kind: calibration, dataset: digits}\n"
    )
    done = harness("run", suite, "--store", tmp_path / "store", "--workers", 1)
    assert done.returncode == 1
    ended = done.stderr.partition("tables and figures")[2]
    assert ended.count("it blew up") == 1
    assert "and 2 cells that need it" in ended
