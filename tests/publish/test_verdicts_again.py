"""Every verdict of the committed claims, decided again from the stored numbers and units.

Nothing of the package is used, only its files: measured numbers, stored units and the claims in the
suite. Rules are those that every page of claims states.
"""

from __future__ import annotations

import gzip
import json
import math
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

ROOT = Path(__file__).parents[2]
RESULTS, SUITES = ROOT / "results", ROOT / "suites"
FOLDERS = sorted(path.parent for path in RESULTS.rglob("claims.json"))
SHARED_BY_SEEDS = {"sample", "image", "listed episode", "stream"}
"""Units that are the same for every seed."""

DTYPES = {"F64": "<f8", "F32": "<f4", "U8": "u1", "U16": "<u2", "U32": "<u4", "I64": "<i8"}
BOUNDS = ("at_least", "at_most", "above_controls_by", "below_controls_by")


def suite_of(path: Path) -> dict:
    """A suite, on top of the one that it extends."""
    suite = yaml.safe_load(path.read_text())
    if "extends" not in suite:
        return suite
    base = suite_of(path.parent / suite["extends"])
    merged = base | suite
    for key, part in suite.items():
        if isinstance(part, dict) and isinstance(base.get(key), dict):
            merged[key] = base[key] | part
    return merged


class Folder:
    """The measured numbers of a folder of results, and the units behind them."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path / "records.jsonl.gz", "rt") as lines:
            self.records = [json.loads(line) for line in lines]
        self.zip = zipfile.ZipFile(path / "measured.zip")
        self.suite = suite_of(SUITES / path.relative_to(RESULTS).with_suffix(".yaml"))

    @cached_property
    def names(self) -> dict[str, dict[str, str]]:
        """Cell -> name of an array -> name of its tensor."""
        lines = self.zip.read("cells.jsonl").splitlines()
        return {cell["key"]: cell["arrays"] for cell in map(json.loads, lines)}

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The safetensors file: length of the header, header, numbers."""
        data = self.zip.read("arrays.safetensors")
        begin = 8 + int.from_bytes(data[:8], "little")
        found = {}
        for name, about in json.loads(data[8:begin]).items():
            if name == "__metadata__":
                continue
            low, high = about["data_offsets"]
            flat = np.frombuffer(data[begin + low : begin + high], DTYPES[about["dtype"]])
            found[name] = flat.reshape(about["shape"])
        return found

    def units(self, record: dict) -> np.ndarray | None:
        """The units behind a number; None if none are stored."""
        if record["verdicts"] is None:
            return None
        name = self.names[record["cell"]][record["verdicts"]]
        stored = self.tensors[name]
        if "/bits/" in name:
            count = math.prod(map(int, name.rsplit("/", 1)[1].split("x")))
            stored = np.unpackbits(stored.ravel())[:count]
        return stored.astype(float)

    def numbers(self, measure: dict, learner: str) -> list[dict]:
        """One number a seed: its value, units, interval and whether it is trusted."""
        setting = dict(measure.get("setting", {}))
        worst = setting.get("attack") == "worst"
        if worst:
            del setting["attack"]
        found: dict[int, list[dict]] = {}
        for record in self.records:
            fits = (
                record["protocol"] == measure["protocol"]
                and record["learner"] == learner
                and record["metric"] == measure.get("metric", "accuracy")
                and all(_equal(record["setting"].get(key), to) for key, to in setting.items())
            )
            if fits:
                found.setdefault(record["seed"], []).append(record)
        return [self._number(found[seed], worst) for seed in sorted(found)]

    def _number(self, records: list[dict], worst: bool) -> dict:
        if not worst:  # the number of the whole network, not those of its parts or of its past
            fewest = min(len(record["setting"]) for record in records)
            records = [record for record in records if len(record["setting"]) == fewest]
            assert len(records) == 1, records[0]["setting"]
        first = records[0]
        number = {key: first[key] for key in ("seed", "value", "low", "high", "unit")}
        number["units"] = self.units(first)
        if worst:  # what withstands every attack
            number["units"] = np.min([self.units(record) for record in records], axis=0)
            number["value"] = number["units"].mean()
        number["distrusted"] = any(record["trust"] == "FAIL" for record in records)
        return number

    def planned(self, protocol: str) -> list[int]:
        """The seeds of a protocol."""
        own = self.suite["protocols"][protocol].get("seeds")
        return sorted(own if own is not None else self.suite.get("seeds", [0]))


def _equal(stored: object, asked: object) -> bool:
    if isinstance(stored, float | int) and isinstance(asked, float | int | str):
        top, _, bottom = str(asked).partition("/")
        return math.isclose(stored, float(top) / float(bottom or 1), rel_tol=1e-9)
    return stored == asked


def standard_error(values: np.ndarray) -> float:
    """Of the mean of independent values."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def half_width(table: list[np.ndarray], unit: str, level: float) -> float:
    """Half the interval of a mean over seeds (rows) and units (columns)."""

    def part(values: np.ndarray, freedom: float | None = None) -> float:
        t = stats.t.ppf(0.5 + level / 2, freedom or len(values) - 1)
        return float(t * standard_error(values))

    seeds = np.array([row.mean() for row in table])
    if len(table) == 1:
        return part(table[0])
    if unit in SHARED_BY_SEEDS and len({len(row) for row in table}) == 1:
        return math.hypot(part(seeds), part(np.mean(table, axis=0)))
    inside = math.sqrt(sum(standard_error(row) ** 2 for row in table)) / len(table)
    freedom = sum(len(row) - 1 for row in table)
    return max(part(seeds), float(stats.t.ppf(0.5 + level / 2, freedom)) * inside)


def own_interval(numbers: list[dict]) -> tuple[float, float]:
    """The 95 % interval of a learner's number."""
    values = np.array([number["value"] for number in numbers])
    mean = float(values.mean())
    tables = [number["units"] for number in numbers]
    if len(numbers) == 1:
        low, high = numbers[0]["low"], numbers[0]["high"]
        if low is None or not np.isclose(mean, numbers[0]["value"]):
            return mean, mean
        return low, high
    if any(table is None for table in tables):
        half = stats.t.ppf(0.975, len(values) - 1) * standard_error(values)
        return mean - half, mean + half
    half = half_width(tables, numbers[0]["unit"], 0.95)
    if not 0 < mean < 1:
        return (0.0, half) if mean == 0 else (1 - half, 1.0)
    k = half**2 / (mean * (1 - mean))  # z^2 / n of Wilson's interval
    centre = (mean + k / 2) / (1 + k)
    spread = math.sqrt(k * mean * (1 - mean) + k**2 / 4) / (1 + k)
    return centre - spread, centre + spread


def difference(own: list[dict], other: list[dict], level: float) -> tuple[float, float]:
    """The interval of a difference, paired by seeds and units."""
    pairs = list(zip(own, other, strict=True))
    gaps = np.array([a["value"] - b["value"] for a, b in pairs])
    mean = float(gaps.mean())
    tables = [
        a["units"] - b["units"]
        for a, b in pairs
        if a["units"] is not None
        and b["units"] is not None
        and a["units"].shape == b["units"].shape
    ]
    if len(tables) == len(pairs):
        unit = pairs[0][0]["unit"]
        half = half_width(tables, unit, level)
        if unit == "sample":  # Bonett & Price 2012: two more units where verdicts are paired
            of_units = np.append(np.mean(tables, axis=0), [1.0, -1.0])
            inside = stats.t.ppf(0.5 + level / 2, len(of_units) - 1) * standard_error(of_units)
            over = 0.0
            if len(gaps) > 1:
                over = stats.t.ppf(0.5 + level / 2, len(gaps) - 1) * standard_error(gaps)
            centre, half = float(of_units.mean()), math.hypot(over, inside)
            return min(mean, centre - half), max(mean, centre + half)
        return mean - half, mean + half
    if len(gaps) > 1:
        half = stats.t.ppf(0.5 + level / 2, len(gaps) - 1) * standard_error(gaps)
        return mean - half, mean + half
    (a, b) = pairs[0]
    if a["low"] is None and b["low"] is None:
        return mean, mean
    wider = stats.norm.ppf(0.5 + level / 2) / stats.norm.ppf(0.975)

    def side(number: dict, which: str) -> float:
        return 0.0 if number[which] is None else abs(number[which] - number["value"])

    down = math.hypot(side(a, "low"), side(b, "high"))
    up = math.hypot(side(a, "high"), side(b, "low"))
    return mean - wider * down, mean + wider * up


def verdict(interval: tuple[float, float], least: float, most: float) -> str:
    low, high = interval
    if least <= low and high <= most:
        return "holds"
    return "fails" if high < least or low > most else "open"


def decided(folder: Folder, claim: dict, measure: dict) -> str:
    """The verdict on one measure."""
    learner = measure.get("learner", claim["learner"])
    own = folder.numbers(measure, learner)
    planned = folder.planned(measure["protocol"])
    if [number["seed"] for number in own] != planned:
        return "not measured"
    if any(number["distrusted"] for number in own):
        return "not trusted"
    bound = next(name for name in BOUNDS if name in measure)
    limit = measure[bound]
    if bound == "at_least":
        return verdict(own_interval(own), limit, math.inf)
    if bound == "at_most":
        return verdict(own_interval(own), -math.inf, limit)
    found = []
    controls = measure.get("controls", claim.get("controls"))
    kept = [name for name in controls if comparable(folder, claim, learner, name)]
    for name in kept:
        other = folder.numbers(measure, name)
        if [number["seed"] for number in other] != planned:
            return "not measured"
        low, high = difference(own, other, 1 - 0.05 / len(kept))
        if bound == "below_controls_by":
            low, high = -high, -low
        trusted = not any(number["distrusted"] for number in other)
        found.append(verdict((low, high), limit, math.inf) if trusted else "not trusted")
    for worst in ("not trusted", "fails", "open"):
        if worst in found:
            return worst
    return "holds" if found else "not measured"


def comparable(folder: Folder, claim: dict, learner: str, control: str) -> bool:
    """Whether a control is about as good as the learner, where the claim asks for that."""
    rule = claim.get("comparable")
    if rule is None:
        return True
    own, other = (folder.numbers(rule, name) for name in (learner, control))
    means = [np.mean([number["value"] for number in each]) for each in (own, other)]
    return not own or not other or abs(means[0] - means[1]) <= rule["within"]


def of_measures(verdicts: list[str]) -> str:
    """The verdict on a claim."""
    if all(each == "holds" for each in verdicts):
        return "confirmed"
    if "holds" in verdicts:
        return "partly confirmed"
    return "refuted" if "fails" in verdicts else "undecided"


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.relative_to(RESULTS).as_posix())
def test_every_verdict_stands(path):
    folder = Folder(path)
    stated = json.loads((path / "claims.json").read_text())["claims"]
    claims = folder.suite["claims"]
    assert [each["claim"] for each in stated] == [each["name"] for each in claims]
    for claim, shown in zip(claims, stated, strict=True):
        again = [decided(folder, claim, measure) for measure in claim["measures"]]
        assert again == [measure["verdict"] for measure in shown["measures"]], claim["name"]
        assert of_measures(again) == shown["verdict"], claim["name"]


def test_claims_are_committed():
    assert FOLDERS
