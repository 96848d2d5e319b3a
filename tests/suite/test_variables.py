"""Variables of the environment: replaced in suites of one's own, and read for nobody else."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.entry import app
from harness.errors import SuiteError
from harness.publish import submission
from harness.suite import load, marked_yaml
from harness.suite.variables import replaced

SUITE = """
name: mine
seeds: ${HARNESS_TEST_SEEDS:-2}
learners: {pixels: {kind: nearest-mean}}
protocols:
  clean:
    kind: classification
    dataset: {kind: image-folder, folder: "${HARNESS_TEST_SCANS}/2024"}
"""


def value_of(text: str, **environment: str):
    return replaced(marked_yaml.parse(text, "suite.yaml"), environment).value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a/${X}/b/${Y}", "a/left/b/"),
        ("${N}", 5),
        ("'${N} images'", "5 images"),
        ("${MISSING:-}", None),
        ("${MISSING:-0.1}", 0.1),
        ("${Y:-empty counts as unset}", "empty counts as unset"),
        ("$${X}", "${X}"),
        ("$X costs 5 $", "$X costs 5 $"),
        ("${NESTED}", "${X}"),
    ],
)
def test_a_value_is_replaced_once_and_read_as_yaml(written, value):
    environment = {"X": "left", "Y": "", "N": "5", "NESTED": "${X}"}
    read = value_of(f"k: [{{deep: v}}, 1]\nv: {written}", **environment)
    assert read == {"k": [{"deep": "v"}, 1], "v": value}


def test_a_key_is_never_replaced():
    assert value_of("${X}: ${X}", X="y") == {"${X}": "y"}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("${MISSING}", "suite.yaml:1:4: the variable MISSING is not set"),
        ("${}", "names no variable"),
        ("${1X}", "names no variable"),
        ("a ${X", "names no variable"),
    ],
)
def test_an_unset_or_odd_variable_is_one_line_with_its_place(written, says):
    with pytest.raises(SuiteError, match="suite.yaml:1:4") as caught:
        value_of(f"v: {written}")
    assert says in str(caught.value)


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_TEST_SCANS", str(tmp_path / "scans"))
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    return path


def test_the_suite_that_is_packed_has_the_replaced_value(suite, tmp_path):
    packed = yaml.safe_load(submission.suite_text(suite))
    assert packed["seeds"] == 2
    assert packed["protocols"]["clean"]["dataset"]["folder"] == str(tmp_path / "scans/2024")


def test_an_override_is_replaced_too(suite, monkeypatch):
    monkeypatch.setenv("HARNESS_TEST_OTHER", "digits")
    loaded = load.load(suite, sets=["protocols.clean.dataset=${HARNESS_TEST_OTHER}"])
    assert loaded.protocols[0].dataset.kind == "digits"


def test_a_suite_of_others_reads_no_variable(suite, tmp_path):
    said = CliRunner().invoke(app, ["validate", str(suite), "--no-plugins", "--json"]).output
    assert str(tmp_path / "scans") not in json.dumps(json.loads(said)[0]["faults"])
    with pytest.raises(SuiteError) as caught:
        load.load(suite, environment=False)
    assert all("scans" not in str(fault) for fault in caught.value.faults)


def test_verify_loads_a_packed_suite_without_the_environment(suite, monkeypatch):
    from harness.execute.session import RunOptions
    from harness.publish import rerun

    seen = {}
    monkeypatch.setattr(rerun.suites, "load", lambda *_, **options: seen.update(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rerun._planned(suite, suite, RunOptions(), True, lambda key: None)
    assert seen["environment"] is False
