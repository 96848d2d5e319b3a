"""Learners over tasks: which numbers are tasks, who is compared, and what is said of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from results_kit import correct, episodes, results_of, sweep

from harness.errors import HarnessError
from harness.report.over_tasks import profiles, scores_of, summary
from harness.report.over_tasks_figure import write


def attacked(learner, wrong, *, seeds=(0, 1), trust="PASS"):
    """A learner with two attacks; ``wrong`` of 100 images per attack at eps 0.1."""
    cells = []
    for seed in seeds:
        for attack, count in wrong.items():
            verdicts = {0.0: correct(100, 0), 0.1: correct(100, count + seed)}
            cells += sweep(learner, attack, verdicts, seed=seed, trust=trust)
    return cells


@pytest.fixture(scope="module")
def results():
    return results_of(
        attacked("good", {"fgsm": 10, "pgd": 20}),
        attacked("bad", {"fgsm": 30, "pgd": 40}),
        *(
            episodes(learner, [mean, mean + 0.1], seed=seed)
            for learner, mean in (("good", 0.7), ("bad", 0.5))
            for seed in (0, 1)
        ),
        attacked("half", {"fgsm": 10, "pgd": 20}),
    )


def test_of_attacks_the_worst_case_and_the_clean_images_are_tasks(results):
    assert scores_of([results]).tasks == [
        "robust on digits, clean",
        "robust on digits, worst eps 0.1",
        "few on digits, 5-way 1-shot",
    ]


def test_a_query_chooses_the_tasks(results):
    scores = scores_of([results], query="setting_attack == 'fgsm' and setting_eps > 0")
    assert scores.tasks == ["robust on digits, fgsm eps 0.1"]
    assert scores.learners["good"].tolist() == [[0.9], [0.89]]
    assert set(scores.learners) == {"good", "bad", "half"}


def test_a_learner_that_lacks_a_task_is_left_out_and_named(results):
    scores = scores_of([results])
    assert list(scores.learners) == ["good", "bad"]
    assert scores.left_out == {"half": "lacks 1 of 3 tasks, such as few on digits, 5-way 1-shot"}
    assert any("left out: half" in note for note in scores.notes())
    scores.left_out["third"] = scores.left_out["half"]
    assert "left out: half, third, each of which lacks 1 of 3 tasks" in "\n".join(scores.notes())
    assert "tasks of robust on digits: clean, worst eps 0.1" in list(scores.notes())


def test_scores_are_the_numbers_of_each_seed(results):
    good = scores_of([results]).learners["good"]
    assert good == pytest.approx(np.array([[1.0, 0.8, 0.75], [0.99, 0.79, 0.75]]), abs=0.011)


def test_the_summary_is_hand_worked(results):
    best, other = summary(scores_of([results]))
    # Six scores each: one is left out at each end.
    good = np.sort(scores_of([results]).learners["good"].ravel())
    assert best["iqm"] == pytest.approx(good[1:-1].mean())
    assert (best["learner"], best["better"], best["seeds"], best["tasks"]) == ("good", None, 2, 3)
    # It loses on the attacked images and the episodes; on clean images each run ties.
    assert other["better"] == pytest.approx(1 / 6)
    assert best["low"] <= best["iqm"] <= best["high"]


def test_one_seed_has_no_interval():
    one = results_of(attacked("a", {"pgd": 1}, seeds=[0]), attacked("b", {"pgd": 2}, seeds=[0]))
    scores = scores_of([one])
    assert {row["low"] for row in summary(scores)} == {None}
    assert profiles(scores, np.array([0.5]))["a"].low is None
    assert any("one seed" in note for note in scores.notes())


def test_a_failed_trust_check_is_said():
    found = results_of(attacked("a", {"pgd": 1}), attacked("b", {"pgd": 2}, trust="FAIL"))
    scores = scores_of([found])
    assert scores.failed == ["b"]
    assert any("trust check failed" in note and "b" in note for note in scores.notes())


def test_tasks_of_several_suites_are_pooled(results):
    other = dataclasses.replace(results, suite="other")
    scores = scores_of([results, other])
    assert len(scores.tasks) == 6
    assert scores.tasks[0].startswith("suite: ") and scores.tasks[-1].startswith("other: ")


def test_the_same_scores_give_the_same_intervals_and_figure(results, tmp_path):
    scores = scores_of([results])
    assert summary(scores) == summary(scores)
    write(scores, tmp_path / "a.png")
    write(scores, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"metric": "error"}, "no metric for which higher is better"),
        ({"metric": "auroc"}, "it has no auroc"),
        ({"query": "seed == 9"}, "no accuracy that matches the query"),
        ({"query": "learner == 'good'"}, "1 of 1 learners"),
    ],
)
def test_what_cannot_be_compared_is_one_error(results, words, message):
    with pytest.raises(HarnessError, match=message):
        scores_of([results], **words)


def test_an_unknown_rival_and_an_unknown_ending_are_refused(results, tmp_path):
    scores = scores_of([results])
    with pytest.raises(HarnessError, match="no score in every task"):
        summary(scores, "nobody")
    with pytest.raises(HarnessError, match="unknown format"):
        write(scores, tmp_path / "figure.svg")
