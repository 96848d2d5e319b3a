"""What is printed of cells that failed."""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy

from harness.cli.output import own_line


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
