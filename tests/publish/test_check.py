"""``harness check`` and the pytest plugin, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from command_kit import harness

SUITE = """
name: tiny
seeds: [0, 1]
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
"""


def run_pytest(folder, *words):
    """Run pytest with the plugin, as a process: this one has a pytest of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "harness.pytest_plugin"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
    )


def check(folder, *words, **env):
    """Check the suite against the reference beside it."""
    files = ("--store", "store", "--reference", "reference.json")
    return harness("check", "tiny.yaml", *files, *words, folder=folder, **env)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gated")
    (folder / "tiny.yaml").write_text(SUITE)
    done = check(folder, "--update")
    assert done.returncode == 0 and "wrote reference.json: 6 numbers" in done.stderr
    return folder


@pytest.mark.parametrize("mode", [[], ["--exact"]])
def test_a_clean_run_passes(gated, mode):
    done = check(gated, *mode)
    assert done.returncode == 0 and "PASSED" in done.stdout and "6 same" in done.stdout


def test_a_worse_learner_fails_by_name_in_every_report(gated, tmp_path):
    done = check(
        gated,
        "--set",
        "learners.random.width=5",
        "--junit",
        tmp_path / "j.xml",
        "--json",
        GITHUB_STEP_SUMMARY=str(tmp_path / "s.md"),
    )
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert {f["learner"] for f in findings if f["fails"]} == {"random"}
    assert "config.width 50 -> 5" in findings[-1]["notes"] or any(
        "config.width 50 -> 5" in f["notes"] for f in findings
    )
    assert int(ElementTree.parse(tmp_path / "j.xml").find("testsuite").get("failures")) >= 1
    assert "❌ | random | plain" in (tmp_path / "s.md").read_text()


def test_other_ways_are_another_measurement(gated):
    done = check(gated, "--set", "protocols.few.ways=4")
    assert done.returncode == 1 and "ways 5 -> 4" in done.stdout


def test_bad_references_exit_2(gated, tmp_path):
    for words in (["--reference", tmp_path / "none.json"], ["--reference", gated / "tiny.yaml"]):
        done = check(gated, *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr and "--update" in done.stderr


def test_exact_is_refused_in_another_environment(gated, tmp_path):
    other = tmp_path / "other.json"
    data = json.loads((gated / "reference.json").read_text())
    data["made_by"]["environment"]["torch"] = "1.0"
    other.write_text(json.dumps(data))
    done = check(gated, "--reference", other, "--exact")
    assert done.returncode == 2 and "torch" in done.stderr and "1.0 there" in done.stderr


def test_each_number_is_a_pytest_test_and_fails_if_it_fell(gated):
    (gated / "tiny.yaml").write_text(SUITE.replace("width: 50", "width: 5"))
    files = ("--harness-suite", "tiny.yaml", "--harness-reference", "reference.json")
    done = run_pytest(gated, "-v", *files, "--harness-store", "store")
    (gated / "tiny.yaml").write_text(SUITE)
    assert done.returncode == 1 and "3 passed" in done.stdout
    assert "random/few, 2-shot" in done.stdout
    assert "random: plain: worse: fell by" in done.stdout


def test_update_writes_over_nothing_that_is_no_reference(gated, tmp_path):
    precious = tmp_path / "precious.json"
    precious.write_text("{")
    done = check(gated, "--reference", precious, "--update")
    assert (
        done.returncode == 2
        and "remove it and write a new one" in done.stderr
        and precious.read_text() == "{"
    )
    precious.unlink()
    assert check(gated, "--reference", precious, "--update").returncode == 0 and precious.exists()


def test_a_summary_that_cannot_be_written_loses_no_answer(gated, tmp_path):
    done = check(gated, "--summary", tmp_path)
    assert (
        done.returncode == 2 and "Is a directory" in done.stderr and "Traceback" not in done.stderr
    )
    assert str(tmp_path) in done.stderr and "PASSED" in done.stdout


BARS = """
expect:
  - {protocol: plain, learner: pixels, at_least: 70 %}
  - {protocol: few, learner: random, setting: {shots: 1}, at_most: 99.9 %}
"""


@pytest.fixture(scope="module")
def barred(gated):
    """The same suite with bars and without a reference."""
    (gated / "barred.yaml").write_text(SUITE.replace("tiny", "barred") + BARS)
    return gated


def check_bars(folder, *words):
    return harness("check", "barred.yaml", "--store", "store", *words, folder=folder)


def test_bars_need_no_reference_and_a_cleared_one_shows_its_number(barred):
    done = check_bars(barred)
    assert done.returncode == 0 and "expected: 2 holds" in done.stdout
    assert "ok   pixels: plain, ≥ 70.0 %: holds: 8" in done.stdout


def test_a_missed_bar_exits_1_even_with_update(barred, tmp_path):
    bar = ["--set", "expect.0.at_least=99.9 %"]
    for words in (bar, [*bar, "--reference", tmp_path / "r.json", "--update"]):
        done = check_bars(barred, *words)
        assert done.returncode == 1 and "FAIL pixels: plain, ≥ 99.9 %" in done.stdout


def test_a_reference_that_is_named_must_exist_though_there_are_bars(barred):
    done = check_bars(barred, "--reference", "none.json")
    assert done.returncode == 2 and "none.json" in done.stderr


def test_bars_are_judged_beside_a_reference(barred):
    done = check_bars(barred, "--reference", "reference.json")
    assert done.returncode == 0 and "2 holds" in done.stdout and "6 same" in done.stdout


def test_each_bar_is_a_pytest_test(barred):
    files = ("--harness-suite", "barred.yaml", "--harness-store", "store")
    done = run_pytest(barred, "-v", *files)
    assert done.returncode == 0 and "2 passed" in done.stdout
    assert "random/few, 1-shot" in done.stdout


def test_a_bar_that_names_no_budget_is_refused_before_the_run(barred):
    robust = "{kind: attack_sweep, dataset: digits, attacks: [{attack: fgsm, eps: [0, 0.1]}]}"
    bar = "{protocol: robust, learner: pixels, at_least: 0.1}"
    done = check_bars(barred, "--set", f"protocols.robust={robust}", "--set", f"expect.0={bar}")
    assert done.returncode == 2 and "say which eps" in done.stderr
