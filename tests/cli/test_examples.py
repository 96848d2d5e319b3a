"""``harness examples``: images under attack, from the trained networks of a store."""

from __future__ import annotations

import pytest
from command_kit import harness
from PIL import Image


def drawn(swept, file, *more):
    where = ("--store", swept / "store", "--images", 3)
    return harness("examples", swept / "swept.yaml", "--out", file, *where, *more)


@pytest.fixture(scope="module")
def figure(swept, tmp_path_factory):
    """A figure, and whether the store was changed by drawing it."""
    before = sorted(path.name for path in (swept / "store").rglob("*"))
    path = tmp_path_factory.mktemp("examples") / "ex.png"
    done = drawn(swept, path, "--attack", "fgsm")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(path)
    return path, sorted(path.name for path in (swept / "store").rglob("*")) != before


def test_examples_are_drawn_and_the_store_is_left_as_it_is(figure):
    path, is_changed = figure
    assert not is_changed
    with Image.open(path) as image:
        assert image.width > 2 * image.height > 0


@pytest.mark.slow
def test_examples_are_the_same_every_time(figure, swept, tmp_path):
    drawn(swept, tmp_path / "again.png", "--attack", "fgsm", "--eps", "1/10")
    assert (tmp_path / "again.png").read_bytes() == figure[0].read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--attack", "fgsn"], "did you mean 'fgsm'"),
        (["--eps", "0.5"], "--eps: there is no '0.5'"),
        (["--set", "protocols.robust.attacks=[{attack: fgsm, eps: [0]}]"], "no budget above 0"),
        (["--eps", "1/0"], "--eps: there is no '1/0'"),
        (["--seed", "7"], "--seed: there is no '7'"),
        (["--protocol", "rubost"], "did you mean 'robust'"),
        (["--set", "seeds=[1]"], "run the suite first"),
        (["--out", "ex.jpg"], "write .pdf or .png"),
    ],
)
def test_what_there_is_not_is_named(swept, tmp_path, words, says):
    done = drawn(swept, tmp_path / "ex.png", *words)
    assert done.returncode == 2 and says in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_suite_without_attacks_has_no_examples(ran, tmp_path):
    done = harness("examples", ran[0] / "tiny.yaml", "--out", tmp_path / "ex.png")
    assert done.returncode == 2 and "attack_sweep" in done.stderr
