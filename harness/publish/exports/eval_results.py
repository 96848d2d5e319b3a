"""Hugging Face evaluation results: ``.eval_results/SUITE.yaml`` for the repository of each model.

The format: https://huggingface.co/docs/hub/eval-results. Nothing is uploaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.files import write_text
from harness.publish.exports.numbers import by_learner, slug, slugs
from harness.report.averages import Average
from harness.report.formats import BETTER, error_bar, is_percent
from harness.report.formats import number as printed

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def write(
    results: Results, folder: Path, *, benchmark: str, url: str = "", user: str = ""
) -> list[Path]:
    """Write ``LEARNER/.eval_results/SUITE.yaml`` for each learner.

    Each value is as tables print it, with more digits: accuracies in percent. A ``task_id`` is the
    name of the number: the ``eval.yaml`` of the benchmark must define it.

    Args:
        results: What was measured.
        folder: Gets a folder for each learner.
        benchmark: The dataset repository on the Hub that is the benchmark, OWNER/NAME.
        url: Where the results can be looked up; left out if empty.
        user: Of the Hub, who measured them; left out if empty.

    Raises:
        HarnessError: Not the name of a repository, or there is nothing to write.
    """
    import yaml

    if not REPOSITORY.fullmatch(benchmark):
        raise HarnessError(
            f"{benchmark!r} is not the name of a repository",
            where="--benchmark",
            hint="the dataset on the Hub that is the benchmark, as OWNER/NAME",
        )
    if user and not url:
        raise HarnessError(
            "a source needs an address", where="--user", hint="add --url, or leave out --user"
        )
    source = {"url": url, **({"user": user} if user else {})} if url else {}
    written = []
    numbers = by_learner(results)
    for learner, name in slugs(numbers).items():
        entries = [
            _entry(number, benchmark, source)
            for number in numbers[learner]
            if number.first.metric in BETTER
        ]
        if entries:
            written.append(folder / name / ".eval_results" / f"{slug(results.suite)}.yaml")
            write_text(written[-1], yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))
    if not written:
        raise HarnessError("none of its metrics has a better end", where=results.suite)
    return written


def _entry(number: Average, benchmark: str, source: dict[str, str]) -> dict[str, Any]:
    first = number.first
    value = 100 * number.value if is_percent(first.metric) else number.value
    error = error_bar(first.metric, number.value, number.low, number.high)
    seeds = "1 seed" if len(number.seeds) == 1 else f"{len(number.seeds)} seeds"
    notes = [
        f"{printed(first.metric, number.value)} {error}".strip(),
        f"{first.n} {first.unit}s",
        seeds,
        f"trust {number.trust}" if number.trust != "-" else "",
    ]
    entry: dict[str, Any] = {
        "dataset": {"id": benchmark, "task_id": slug(number.where)},
        "value": float(f"{value:.12g}"),  # 75.24, not 75.24000000000001
        "date": max(record.created for record in number.records),
    }
    if source:
        entry["source"] = source
    return {**entry, "notes": "; ".join(filter(None, notes))}
