"""What ``harness plan`` says of the work to come is what ``harness run`` goes by."""

from __future__ import annotations

from harness.execute import session
from harness.execute.forecast import forecast
from harness.execute.session import RunOptions

SWEPT = {
    "name": "swept",
    "learners": {
        "pixels": {"kind": "nearest-mean"},
        "bio": {"kind": "ech", "hidden": 20},
        "sparse": {"kind": "mlp", "hidden": 8, "match": {"density": "bio", "trainings": 2}},
    },
    "protocols": {
        "robust": {
            "kind": "attack_sweep",
            "dataset": "digits",
            "images": 20,
            "attacks": [{"attack": "fgsm", "eps": [0.1]}],
        }
    },
}


def test_plan_and_run_expect_the_same_of_the_same_cells(tmp_path):
    """Networks that trust checks transfer from, and cells behind a match, count in both."""
    options = RunOptions(store=tmp_path)
    layout = session.plan(SWEPT, options)
    work = forecast(layout, options.open_store())
    _, expected = session._todo(layout, options.open_store())
    assert layout.relatives and layout.waiting
    assert work.expected == expected
    assert {cell.key for cell in work.cells} == expected.keys()
