"""Files for the Hugging Face Hub: results of a model, and a dataset folder with its card."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from harness.errors import HarnessError
from harness.publish.exports import dataset_folder, eval_results
from harness.report.formats import BETTER

# ------------------------------------------------------------------------------------ eval results


@pytest.fixture(scope="module")
def hub(quickstart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    eval_results.write(quickstart, folder, benchmark="mylab/digits")
    return folder


def test_each_learner_has_a_file_that_can_be_put_into_its_repository(hub, numbers):
    files = {path.parent.parent.name: path for path in hub.glob("*/.eval_results/quickstart.yaml")}
    assert set(files) == set(numbers)
    for learner, path in files.items():
        entries = yaml.safe_load(path.read_text())
        own = {n.where: n for n in numbers[learner] if n.first.metric in BETTER}
        assert len(entries) == len(own)
        for entry, number in zip(entries, own.values(), strict=True):
            assert set(entry) == {"dataset", "value", "date", "notes"}
            assert entry["dataset"]["id"] == "mylab/digits"
            assert entry["value"] == pytest.approx(100 * number.value, abs=1e-9)
            assert f"{number.first.n} {number.first.unit}s" in entry["notes"]


def test_task_ids_are_unique(hub):
    for path in hub.glob("*/.eval_results/*.yaml"):
        ids = [entry["dataset"]["task_id"] for entry in yaml.safe_load(path.read_text())]
        assert len(set(ids)) == len(ids)


def test_a_source_is_written_only_if_it_is_known(quickstart, tmp_path):
    url = "https://example.org/results"
    paths = eval_results.write(quickstart, tmp_path, benchmark="mylab/digits", url=url, user="me")
    entry, *_ = yaml.safe_load(paths[0].read_text())
    assert entry["source"] == {"url": url, "user": "me"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"benchmark": "digits"}, "not the name of a repository"),
        ({"benchmark": "a/b/c"}, "not the name of a repository"),
        ({"benchmark": "a/b", "user": "me"}, "a source needs an address"),
    ],
)
def test_a_repository_needs_an_owner_and_a_user_an_address(quickstart, tmp_path, words, message):
    with pytest.raises(HarnessError, match=message):
        eval_results.write(quickstart, tmp_path, **words)


# ---------------------------------------------------------------------------------- dataset folder


def card(folder):
    _, header, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(header), body


@pytest.mark.parametrize("rows", ["csv", "parquet"])
def test_pandas_loads_each_config_that_the_card_names(quickstart, numbers, tmp_path, rows):
    if rows == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    dataset_folder.write(quickstart, tmp_path, rows=rows)
    header, _ = card(tmp_path)
    read = pd.read_csv if rows == "csv" else pd.read_parquet
    tables = {}
    for config in header["configs"]:
        (files,) = config["data_files"]
        assert files["split"] == "test"
        tables[config["config_name"]] = read(tmp_path / files["path"])
    assert len(tables["records"]) == len(quickstart.records)
    written = tables["numbers"]
    bio = {(n.first.metric, n.first.protocol, n.value, n.low, n.first.n) for n in numbers["bio"]}
    own = written[(written.learner == "bio") & (written.metric == "accuracy")]
    assert len(own) > 4
    for row in own.itertuples():
        assert (row.metric, row.protocol, row.value, row.low, row.n) in bio


def test_the_card_says_where_numbers_come_from_and_invents_no_licence(quickstart, tmp_path):
    dataset_folder.write(quickstart, tmp_path)
    header, body = card(tmp_path)
    assert "license" not in header
    assert header["size_categories"] == ["n<1K"]
    assert quickstart.records[0].git_commit in body
    assert quickstart.records[0].dataset_hash[:12] in body
    assert "## robust" in body
    dataset_folder.write(quickstart, tmp_path, licence="cc-by-4.0")
    assert card(tmp_path)[0]["license"] == "cc-by-4.0"
