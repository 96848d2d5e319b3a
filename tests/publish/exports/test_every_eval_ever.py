"""Every Eval Ever: files that its schema accepts, with the numbers of tables."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import jsonschema
import pytest

from harness.errors import HarnessError
from harness.publish.exports import every_eval_ever
from harness.report.formats import BETTER

SCHEMA = json.loads((Path(__file__).parent / "every_eval_ever_schema.json").read_text())


@pytest.fixture(scope="module")
def written(quickstart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eee")
    return folder, every_eval_ever.write(quickstart, folder, developer="mylab")


def logs(written):
    return {path.parent.name: json.loads(path.read_text()) for path in written[1]}


def test_every_file_fits_the_schema(written, numbers):
    found = logs(written)
    assert set(found) == set(numbers)
    for log in found.values():
        jsonschema.validate(log, SCHEMA)


def test_files_are_where_the_datastore_expects_them(written):
    folder, paths = written
    for path in paths:
        data, suite, developer, learner, file = path.relative_to(folder).parts
        assert (data, suite, developer) == ("data", "quickstart", "mylab")
        assert uuid.UUID(path.stem).version == 4 and file.endswith(".json")
        assert json.loads(path.read_text())["model_info"]["id"] == f"mylab/{learner}"


def test_scores_and_intervals_are_read_back_as_they_were_measured(written, numbers):
    for learner, log in logs(written).items():
        own = {each.where: each for each in numbers[learner] if each.first.metric in BETTER}
        assert len(log["evaluation_results"]) == len(own) > 0
        for result in log["evaluation_results"]:
            number = own[result["evaluation_name"]]
            details = result["score_details"]
            interval = details["uncertainty"]["confidence_interval"]
            assert details["score"] == number.value
            assert (interval["lower"], interval["upper"]) == (number.low, number.high)
            assert details["uncertainty"]["num_samples"] == number.first.n
            metric = result["metric_config"]
            assert metric["min_score"] <= details["score"] <= metric["max_score"]


def test_ids_of_results_are_unique(written):
    for log in logs(written).values():
        ids = [result["evaluation_result_id"] for result in log["evaluation_results"]]
        assert len(set(ids)) == len(ids)


def test_the_same_results_give_the_same_files(quickstart, written, tmp_path):
    again = every_eval_ever.write(quickstart, tmp_path, developer="mylab")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written[1]]
    assert [path.name for path in again] == [path.name for path in written[1]]


def test_who_measured_decides_the_relationship(quickstart, tmp_path):
    (first, *_) = every_eval_ever.write(
        quickstart, tmp_path, developer="mylab", evaluator="other lab"
    )
    source = json.loads(first.read_text())["source_metadata"]
    assert source["evaluator_relationship"] == "third_party"
    assert source["source_organization_name"] == "other lab"


@pytest.mark.parametrize("developer", ["", "my/lab", "..", "a b"])
def test_a_developer_that_is_no_folder_is_refused(quickstart, tmp_path, developer):
    with pytest.raises(HarnessError, match="cannot name a folder"):
        every_eval_ever.write(quickstart, tmp_path, developer=developer)
    assert not list(tmp_path.iterdir())


def test_the_commit_is_that_of_the_measurement(written, numbers):
    for learner, log in logs(written).items():
        commits = log["eval_library"]["additional_details"]["git_commit"].split(", ")
        records = [record for number in numbers[learner] for record in number.records]
        assert set(commits) <= {record.git_commit for record in records}
        assert all(re.fullmatch(r"[0-9a-f]{12}\+?", commit) for commit in commits)
