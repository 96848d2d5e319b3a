"""The JSON Schema of a suite, as an editor that knows nothing of this package applies it."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from harness.registry import learners, protocols
from harness.suite import marked_yaml as source
from harness.suite.schema import suite_schema

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted((ROOT / "suites").glob("**/*.yaml"))
GOOD = {
    "name": "good",
    "learners": {
        "bio": {"kind": "ech", "hidden": 30},
        "own": {"kind": "my.module:Mine", "any key": [1]},
    },
    "protocols": {
        "plain": {"kind": "classification", "dataset": "digits"},
        "few": {"kind": "few_shot", "dataset": {"kind": "omniglot"}, "ways": [5, 20]},
        "attacked": {
            "kind": "attack_sweep",
            "dataset": "digits",
            "attacks": [
                {"attack": "fgsm", "eps": [0.1]},
                {"attack": "torchattacks.DeepFool", "eps": [0.5]},
                {"attack": "torchattacks", "name": "DeepFool", "eps": [0.5]},
            ],
        },
        "own": {"kind": "my:Way", "dataset": {"kind": "my:Data", "size": 3}},
    },
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = suite_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def changed(*path: str, to: object) -> dict:
    """``GOOD`` with one value replaced or added; a path that starts anew makes mappings."""

    def put(tree: dict, keys: tuple[str, ...]) -> dict:
        key, *rest = keys
        return {**tree, key: put(tree.get(key, {}), tuple(rest)) if rest else to}

    return put(GOOD, path)


def places(validator: jsonschema.Draft202012Validator, suite: object) -> list[tuple]:
    return [tuple(error.absolute_path) for error in validator.iter_errors(suite)]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_here_is_accepted(validator, path):
    assert not places(validator, source.read(path).value)


@pytest.mark.parametrize(
    "suite",
    [
        GOOD,
        changed("protocols", "few", to={"kind": "few_shot"})
        | {"defaults": {"protocols": {"few_shot": {"dataset": "digits"}}}},
        changed("learners", "bio", to={"hidden": 4}) | {"extends": "base.yaml"},
        {"extends": ["base.yaml", "more.yaml"], "name": "on-top"},
        changed("defaults", "learners", "mlp", "hidden", to=4),
        changed("learners", "bio", "match", to={"density": 0.28}),
        changed(
            "learners",
            "bio",
            "match",
            to={"clean_accuracy": "own", "vary": {"eta": [0.1, 1]}, "tolerance": 0.02},
        ),
    ],
    ids=[
        "whole",
        "a key from defaults",
        "a kind from the base",
        "nearly all from the bases",
        "defaults",
        "match a number",
        "match a learner",
    ],
)
def test_good_suites_are_accepted(validator, suite):
    assert not places(validator, suite)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("learners", "bio", "hiden"), 30),
        (("learners", "bio", "hidden"), "many"),
        (("learners", "bio", "hidden"), 0),
        (("learners", "bio", "kind"), "ecj"),
        (("learners", "bio", "kind"), "module:"),
        (("learners", "bio", "kind"), 3),
        (("learners", "bio"), {"hidden": 3}),
        (("learners", "bio"), None),
        (("learners", "bio", "match"), {"denisty": 0.3}),
        (("learners", "bio", "match"), {"density": 1.5}),
        (("learners", "bio", "match"), {"density": 0.3, "vary": {"eta": [0.1]}}),
        (("defaults", "learners", "mlp", "match"), {"density": 0.3}),
        (("learners", "../bio"), {"kind": "ech"}),
        (("learners", "b" * 61), {"kind": "ech"}),
        (("learners",), {}),
        (("learners",), [{"kind": "ech"}]),
        (("protocols", "plain", "way"), 5),
        (("protocols", "plain", "split"), "tset"),
        (("protocols", "plain", "dataset"), "digit"),
        (("protocols", "plain", "dataset"), {"size": 3}),
        (("protocols", "plain", "dataset"), {"kind": "digits", "rotate": True}),
        (("protocols", "few", "ways"), []),
        (("protocols", "few", "ways"), [5, 5]),
        (("protocols", "few", "shots"), [1, 0]),
        (("protocols", "few", "kind"), "fewshot"),
        (("protocols", "attacked", "attacks"), [{"attack": "torchattacks.DepFool", "eps": [0.5]}]),
        (
            ("protocols", "attacked", "attacks"),
            [{"attack": "torchattacks.DeepFool", "name": "DeepFool", "eps": [0.5]}],
        ),
        (("defaults", "learners", "ecj"), {}),
        (("defaults", "learners", "ech", "hiden"), 3),
        (("defaults", "seeds"), [1]),
        (("budget",), {"image": 1}),
        (("seeds",), []),
        (("sedes",), [1]),
    ],
    ids=str,
)
def test_a_fault_is_found_where_it_is(validator, path, value):
    found = places(validator, changed(*path, to=value))
    assert found
    # An unknown key or a bad name is a fault of the mapping that holds it.
    assert any(place in (path, path[:-1]) or place[: len(path)] == path for place in found), found


def test_every_entry_is_offered_with_its_keys_described():
    schema = suite_schema()
    for room, entries in (("learners", learners), ("protocols", protocols)):
        kinds = schema["properties"][room]["additionalProperties"]["properties"]["kind"]["anyOf"][
            0
        ]["enum"]
        assert kinds == list(entries)
        for name in entries:
            described = schema["$defs"][f"{entries.what} {name}"]["properties"]
            current = {key for key, value in described.items() if not value.get("deprecated")}
            assert current == {
                "kind",
                *(("match", "front") if room == "learners" else ()),
                *entries[name].Config.model_fields,
            }
            assert all(value.get("description") for value in described.values())
