"""Attacks as values: what validates, where errors point, what is printed."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.attacks.base import Attack
from harness.attacks.config import eps_words
from harness.attacks.torchattacks_source import names, signature
from harness.budgets import budget
from harness.errors import HarnessError
from harness.registry import attacks


def places(kind: str, **keys) -> dict[tuple, str]:
    """Path -> message of each error."""
    with pytest.raises(ValidationError) as caught:
        attacks[kind].Config.model_validate({"attack": kind, **keys})
    return {error["loc"]: error["msg"] for error in caught.value.errors()}


@pytest.mark.parametrize(
    "kind, keys, path",
    [
        ("fgsm", {"eps": [0, 0.1, 1.5]}, ("eps", 2)),
        ("fgsm", {"eps": [-0.1]}, ("eps", 0)),
        ("fgsm", {"eps": [0.1, 0.1]}, ("eps", 1)),
        ("fgsm", {"eps": [0.2, 0.1]}, ("eps", 1)),
        ("fgsm", {"eps": [0.2, "a"]}, ("eps", 1)),
        ("fgsm", {"eps": [float("nan")]}, ("eps", 0)),
        ("fgsm", {"eps": []}, ("eps",)),
        ("fgsm", {}, ("eps",)),
        ("fgsm", {"eps": [0.1], "stepz": 3}, ("stepz",)),
        ("fgsm", {"eps": [0.1], "norm": "l3"}, ("norm",)),
        ("fgsm", {"eps": [0.1], "loss": ["ce", "ce"]}, ("loss", 1)),
        ("fgsm", {"eps": [0.1], "loss": ["dlrr"]}, ("loss", 0)),
        ("pgd", {"eps": [5000.0], "norm": "l2"}, ("eps", 0)),
        ("pgd", {"eps": [0.1], "steps": 0}, ("steps",)),
        ("pgd", {"eps": [0.1], "restarts": 2, "random_start": False}, ("restarts",)),
        ("pgd", {"eps": [0.1], "step_size": "fast"}, ("step_size",)),
        ("pgd", {"eps": [0.1], "step_size": 0}, ("step_size",)),
        ("pgd", {"eps": [0.1], "step_size": True}, ("step_size",)),
        ("noise", {"eps": [0.1], "draws": 0}, ("draws",)),
        ("torchattacks", {"eps": [0.1]}, ("name",)),
        ("torchattacks", {"eps": [0.1], "name": "APDG"}, ("name",)),
        (
            "torchattacks",
            {"eps": [0.1], "name": "APGD", "params": {"stepz": 3}},
            ("params", "stepz"),
        ),
        (
            "torchattacks",
            {"eps": [0.1], "name": "APGD", "params": {"steps": "3"}},
            ("params", "steps"),
        ),
        ("torchattacks", {"eps": [0.1], "name": "APGD", "params": {"eps": 3}}, ("params", "eps")),
        ("torchattacks", {"eps": [0.1], "name": "PGDL2", "norm": "linf"}, ("norm",)),
        ("torchattacks", {"eps": [0.1, 2.0], "name": "APGD"}, ("eps", 1)),
    ],
    ids=str,
)
def test_an_error_points_at_its_own_place(kind, keys, path):
    assert list(places(kind, **keys)) == [path]


def test_a_misspelt_torchattack_names_the_nearest():
    assert "did you mean 'APGD'?" in places("torchattacks", eps=[0.1], name="APGG")[("name",)]
    assert (
        "did you mean 'steps'?"
        in places("torchattacks", eps=[0.1], name="APGD", params={"step": 3})[("params", "step")]
    )


def test_a_torchattack_takes_its_own_norm():
    config = attacks["torchattacks"].Config.model_validate(
        {"attack": "torchattacks", "name": "PGDL2", "eps": [0.5, 2.0]}
    )
    assert config.norm == "l2"


@given(
    st.lists(st.floats(0, 1).map(budget), min_size=1, max_size=6, unique=True).map(sorted),
    st.sampled_from(["linf", "l2"]),
)
@settings(max_examples=50, deadline=None)
def test_every_ascending_grid_of_the_box_is_taken_and_survives_json(grid, norm):
    config = attacks["pgd"].Config.model_validate({"attack": "pgd", "eps": grid, "norm": norm})
    assert config.eps == grid
    assert type(config).model_validate_json(config.model_dump_json()) == config


def test_every_registered_attack_is_an_attack_with_words_and_a_label():
    examples = {
        "torchattacks": {"name": "APGD"},
        "cascade": {"attacks": [{"attack": "fgsm", "eps": [0, 0.1]}]},
        "patch": {"eps": [0, 3]},
        "spatial": {"eps": [0, 0.5]},
    }
    for name in attacks:
        cls = attacks[name]
        attack = cls(
            cls.Config.model_validate({"attack": name, "eps": [0.0, 0.1], **examples.get(name, {})})
        )
        grid = f"eps {eps_words(attack.config)}"
        assert isinstance(attack, Attack) and attacks.describe(name).endswith(".")
        assert attack.label and grid in attack.words() and repr(attack).startswith(f"{name}(")
        assert cls(attack.config.model_copy(update={"label": "mine"})).label == "mine"


def test_the_catalogue_read_from_source_is_what_torchattacks_has():
    import torchattacks

    assert set(names()) == set(torchattacks.__all__) - set(torchattacks.__wrapper__)
    for name in names():
        parameters = list(
            inspect.signature(getattr(torchattacks, name).__init__).parameters.values()
        )[2:]
        assert {p.name: p.default for p in parameters} == signature(name).parameters


def test_a_wrapper_of_torchattacks_is_no_attack():
    with pytest.raises(HarnessError, match="MultiAttack"):
        signature("MultiAttack")


def test_validating_imports_neither_torch_nor_torchattacks():
    code = (
        "import sys; from harness.registry import attacks; list(attacks); "
        "keys = {'attack': 'torchattacks', 'name': 'APGD', 'eps': [0.1]}; "
        "attacks['torchattacks'].Config.model_validate(keys); "
        "heavy = ('torch', 'torchattacks', 'scipy', 'pandas'); "
        "sys.exit(any(name in sys.modules for name in heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
