"""A dataset folder for the Hugging Face Hub: two files of rows, and a card that names them.

The card is a ``README.md`` with YAML in front, by which the Hub and ``datasets`` find the files.
Nothing is uploaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.cells.results import Results
from harness.files import write_text
from harness.publish.exports.numbers import by_learner, origin_of
from harness.report import averages, frames
from harness.report.averages import Average

if TYPE_CHECKING:
    import pandas as pd

SPLIT = "test"
"""Name of the only split: ``datasets`` wants one."""

CONFIGS = {
    "numbers": "a row for each number over its seeds, with its 95 % interval and its n",
    "records": "a row for each number of each seed, with what made it",
}
"""Config of the card, and name of its file -> what its rows are."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Fewer rows than this -> how the Hub calls the size."""


def write(
    results: Results,
    folder: Path,
    *,
    rows: Literal["csv", "parquet"] = "csv",
    licence: str = "",
) -> list[Path]:
    """Write ``numbers``, ``records`` and ``README.md``.

    Args:
        results: What was measured.
        folder: Where the files go.
        rows: Format of the two files.
        licence: How the Hub calls the licence of the results, e.g. ``cc-by-4.0``; left out of the
            card if empty.

    Raises:
        HarnessError: There is nothing to write, or Parquet without pyarrow.
    """
    by_learner(results)  # refuses results without a number
    numbers = averages.averages(results)
    tables = {"numbers": averages.frame(numbers), "records": frames.typed(results.records)}
    written = []
    for name, frame in tables.items():
        written.append(folder / f"{name}.{rows}")
        frames.write(_plain(frame), written[-1])
    header = _header(results, rows, licence, len(results.records))
    written.append(folder / "README.md")
    write_text(written[-1], f"---\n{header}---\n\n{_card(results, rows, numbers)}")
    return written


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Words as words, not as categories, which only pandas reads; nothing else in their columns."""
    plain = frame.copy()
    for name, column in frame.items():
        if column.dtype == "category":
            plain[name] = column.map(str, na_action="ignore").astype(object)
    return plain


def _header(results: Results, form: str, licence: str, records: int) -> str:
    import yaml

    size = next((name for most, name in _SIZES if records < most), "n>1M")
    header: dict[str, Any] = {
        "pretty_name": f"{results.suite}, measured by bioharness",
        **({"license": licence} if licence else {}),
        "tags": ["benchmark", "evaluation", "robustness"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "numbers" else {}),
                "data_files": [{"split": SPLIT, "path": f"{name}.{form}"}],
            }
            for name in CONFIGS
        ],
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _card(results: Results, form: str, numbers: Sequence[Average]) -> str:
    origin = origin_of(numbers)
    data = [f"{name} (content {digest[:12]})" for name, digest in sorted(origin.datasets.items())]
    lines = [
        f"# {results.suite}",
        "",
        f"Results of the suite `{results.suite}`, measured by bioharness.",
        "",
        *(f"* `{name}.{form}`: {what}." for name, what in CONFIGS.items()),
        "",
        "```python",
        "import pandas",
        "",
        f'numbers = pandas.read_{form}("numbers.{form}")',
        "```",
        "",
        "| what | |",
        "| :--- | :--- |",
        f"| learners | {', '.join(results.learners)} |",
        f"| protocols | {', '.join(results.protocols)} |",
        f"| data | {', '.join(data)} |",
        f"| commit | {', '.join(origin.commits) or 'not recorded'} |",
        f"| hash of all cells | {origin.digest} |",
        f"| last measurement | {origin.measured} |",
        "",
    ]
    for protocol, block in results.blocks.items():
        lines += [f"## {protocol}", ""]
        lines += [f"* {condition}: {value}" for condition, value in block.items()]
        lines.append("")
    return "\n".join(lines)
