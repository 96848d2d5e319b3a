"""Every Eval Ever: a JSON file for each learner, by the schema of evalevalai.com.

The files go where its datastore expects them, ``data/SUITE/DEVELOPER/LEARNER/UUID.json``. The name
of a file is a hash of its content, so that the same results replace it.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute.doctor.software import DISTRIBUTION, version
from harness.files import write_text
from harness.metrics.catalogue import SHARES, SIGNED
from harness.publish.exports.numbers import Origin, by_learner, config_of, origin_of, slug, slugs
from harness.report.averages import Average
from harness.report.formats import BETTER, metric_name

SCHEMA = "0.3.0"


def write(results: Results, folder: Path, *, developer: str, evaluator: str = "") -> list[Path]:
    """Write one file for each learner. The same results give the same bytes.

    Metrics that are not better for being higher or lower are left out: the schema asks for it.

    Args:
        results: What was measured.
        folder: Gets the folder ``data``.
        developer: Who made the learners, as in DEVELOPER/MODEL.
        evaluator: Who measured them; the developer if empty.

    Raises:
        HarnessError: There is nothing to write, or the developer cannot be a folder.
    """
    if not developer or slug(developer) != developer:
        raise HarnessError(
            f"{developer!r} cannot name a folder",
            where="--developer",
            hint="use letters, digits, '.', '_' and '-', as in DEVELOPER/MODEL",
        )
    ranked = {
        learner: [number for number in numbers if number.first.metric in BETTER]
        for learner, numbers in by_learner(results).items()
    }
    ranked = {learner: numbers for learner, numbers in ranked.items() if numbers}
    if not ranked:
        raise HarnessError("none of its metrics has a better end", where=results.suite)
    written = []
    for learner, name in slugs(ranked).items():
        log = _log(results, learner, ranked[learner], f"{developer}/{name}", evaluator or developer)
        text = json.dumps(log, indent=1, ensure_ascii=False) + "\n"
        digest = hashlib.sha256(text.encode()).digest()
        file = f"{uuid.UUID(bytes=digest[:16], version=4)}.json"
        written.append(folder / "data" / slug(results.suite) / developer / name / file)
        write_text(written[-1], text)
    return written


def _log(
    results: Results, learner: str, numbers: Sequence[Average], model: str, evaluator: str
) -> dict[str, Any]:
    origin = origin_of(numbers)
    developer = model.partition("/")[0]
    # Of the measurement and not of this export, which would change the file each time.
    moment = str(origin.seconds)
    relationship = "first_party" if evaluator == developer else "third_party"
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{slug(results.suite)}/{model}/{moment}",
        "evaluation_timestamp": origin.measured,
        "retrieved_timestamp": moment,
        "source_metadata": {
            "source_name": results.suite,
            "source_type": "evaluation_run",
            "source_organization_name": evaluator,
            "evaluator_relationship": relationship,
        },
        "eval_library": {
            "name": DISTRIBUTION,
            "version": version(DISTRIBUTION) or "unknown",
            "additional_details": {
                "git_commit": ", ".join(origin.commits),
                "cells_digest": origin.digest,
            },
        },
        "model_info": _model(results, learner, model, origin),
        "evaluation_results": [_result(results, number) for number in numbers],
    }


def _model(results: Results, learner: str, model: str, origin: Origin) -> dict[str, Any]:
    config = {f"config.{key}": str(value) for key, value in config_of(results, learner).items()}
    info: dict[str, Any] = {
        "name": learner,
        "id": model,
        "developer": model.partition("/")[0],
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "unknown",
            **config,
        },
    }
    if "torch" in origin.versions:
        info["inference_engine"] = {"name": "torch", "version": origin.versions["torch"]}
    return info


def _result(results: Results, number: Average) -> dict[str, Any]:
    first = number.first
    kind = results.protocols.get(first.protocol, "")
    identity = json.dumps([first.protocol, first.metric, first.setting], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()
    setting = {key: value for key, value in number.at.items() if value is not None}
    return {
        "evaluation_result_id": f"{slug(number.where)}-{digest[:12]}",
        "evaluation_name": number.where,
        "source_data": {
            "dataset_name": first.dataset,
            "source_type": "other",
            "additional_details": {"content_sha256": first.dataset_hash},
        },
        "metric_config": {
            "evaluation_description": ", ".join(filter(None, [kind, first.protocol])),
            "metric_id": first.metric,
            "metric_name": metric_name(first.metric),
            "metric_parameters": setting,
            "lower_is_better": BETTER[first.metric] < 0,
            **_bounds(first.metric),
        },
        "score_details": {
            "score": number.value,
            "details": {
                "unit": first.unit,
                "seeds": ", ".join(map(str, number.seeds)),
                "trust": number.trust,
            },
            "uncertainty": _uncertainty(number),
        },
    }


def _bounds(metric: str) -> dict[str, Any]:
    """The range of a metric, where it has one by definition."""
    if metric not in SHARES and metric not in SIGNED:
        return {}
    return {
        "metric_unit": "proportion",
        "score_type": "continuous",
        "min_score": -1.0 if metric in SIGNED else 0.0,
        "max_score": 1.0,
    }


def _uncertainty(number: Average) -> dict[str, Any]:
    known: dict[str, Any] = {"num_samples": number.first.n}
    if number.low is not None and number.high is not None:
        known["confidence_interval"] = {
            "lower": number.low,
            "upper": number.high,
            "confidence_level": 0.95,
        }
    return known
