"""Mistakes that people make in suites: each is named in plain words, with what to write instead."""

from __future__ import annotations

import pytest

from harness.errors import SuiteError
from harness.suite import load, marked_yaml, override

LEARNER = "learners: {pixels: {kind: nearest-mean}}\n"
PROTOCOL = "protocols: {plain: {kind: classification, dataset: digits}}\n"

MISTAKES = {
    "learners: {a: &a {kind: mlp}, b: {<<: *a, l1: 1}}": ("merge keys (<<)", "defaults"),
    "learners:\n\ta: {kind: mlp}": ("not YAML", "not with tabs"),
    f"{LEARNER}---\nname: y": ("not YAML", "one suite to a file"),
    "learners: {a: {kind: mlp, hidden: ${HIDDEN}}}": ("not YAML", "quote what has braces"),
    f"seeds: three\n{LEARNER}": ("seeds are a list, how many (3), or a range (0-4)", "not 'three'"),
    f"snapshots: yes\n{LEARNER}": ("valid boolean, not 'yes'", "true or false"),
    "learners: {a: mlp}": ("should be a mapping, not 'mlp'", "write {kind: mlp}"),
    "learners: [mlp]": ("should be a mapping", "write {key: value}"),
    "learners: {'my net': {kind: mlp}}": ("learners.my net should be a plain name", "letters"),
    "learners:\n\u00a0\u00a0a: {kind: mlp}": ("unknown key '\\xa0\\xa0a'", "ordinary spaces"),
    "learners: {a: {kind: mlp, lr: 0,001}}": ("a key must be a word", "no comma"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_first_mistake_is_named_and_corrected(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\n{text}\n{PROTOCOL}", encoding="utf-8")
    with pytest.raises(SuiteError) as failed:
        load.load(path)
    faults = "\n".join(str(fault) for fault in getattr(failed.value, "faults", ())) + str(
        failed.value
    )
    message, advice = MISTAKES[text]
    assert message in faults and advice in faults
    assert f"{path}:" in str(failed.value)


@pytest.mark.parametrize("learner", ["{kind: mlp, hiden: 9}", "{kind: 'no_module:Rule'}"])
def test_a_faulty_learner_is_no_fault_of_the_bars_that_name_it(tmp_path, learner):
    path = tmp_path / "x.yaml"
    bar = "expect: [{protocol: plain, learner: mine, at_least: 70 %}]\n"
    path.write_text(f"name: x\nlearners: {{mine: {learner}, a: {{kind: mlp}}}}\n{PROTOCOL}{bar}")
    with pytest.raises(SuiteError) as failed:
        load.load(path)
    assert "does not measure" not in str(failed.value) and "more:" not in str(failed.value)


@pytest.mark.parametrize("written", ["my_rul.yaml", "my_rule.yml"])
def test_a_misspelt_file_is_recognised(tmp_path, written):
    (tmp_path / "my_rule.yaml").write_text("name: x")
    with pytest.raises(SuiteError, match=r"did you mean .*my_rule\.yaml\?"):
        load.load(tmp_path / written)


def test_a_file_that_cannot_be_read_is_not_suggested_instead_of_itself(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SuiteError, match="give the path of a suite file"):
        load.load(tmp_path / "folder.yaml")


def test_a_faulty_name_is_marked_at_the_key(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\nlearners:\n  '🐱': {{kind: mlp}}\n{PROTOCOL}", encoding="utf-8")
    with pytest.raises(SuiteError, match=r"x\.yaml:3:3: "):
        load.load(path)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_an_override_reaches_a_name_that_has_dots(quote):
    source = marked_yaml.parse("learners: {a.b: {kind: mlp}, a: {kind: mlp}}", "x.yaml")
    override.apply(source, f"learners.{quote}a.b{quote}.hidden=9")
    assert source.value["learners"] == {"a.b": {"kind": "mlp", "hidden": 9}, "a": {"kind": "mlp"}}


def test_an_override_of_a_name_that_has_dots_says_how_to_quote_it():
    source = marked_yaml.parse("learners: {a.b: {kind: mlp}}", "x.yaml")
    with pytest.raises(SuiteError, match=r"--set 'learners\.\"a\.b\"\.key=value'"):
        override.apply(source, "learners.a.b.hidden=9")


@pytest.mark.parametrize("key", ["learners..x", ".x", "x.", 'learners."a', "learners.'a'b", '""'])
def test_a_badly_written_override_is_bad_input(key):
    source = marked_yaml.parse("learners: {a: {kind: mlp}}", "x.yaml")
    with pytest.raises(SuiteError, match="badly quoted|not an assignment"):
        override.apply(source, f"{key}=1")


def test_a_value_keeps_its_equals_signs_and_quotes():
    source = marked_yaml.parse("description: x", "x.yaml")
    override.apply(source, 'description="a=b"')
    assert source.value["description"] == "a=b"
