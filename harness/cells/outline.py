"""A summary of a suite, which results carry so that tables can be made without the suite."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from harness.suite.model import ProtocolEntry, Suite

EPISODIC = ("few_shot", "attacked_episodes", "lake_runs")
"""Kinds of protocol whose rows differ in the few-shot head as well as in the features."""


@dataclass(frozen=True)
class Outline:
    """Summary of a suite; JSON-able.

    Attributes:
        name, description: of the suite.
        learners: name -> its ``kind``, its whole ``config`` (None for a key that is chosen), and in
            ``match`` how that key is chosen.
        protocols: name -> its ``kind``, its protocol ``block`` and its ``seeds``.
    """

    name: str
    description: str
    learners: dict[str, dict[str, Any]]
    protocols: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, suite: Suite) -> Outline:
        """The outline of a suite."""
        learners = {}
        for learner in suite.learners:
            learners[learner.name] = {
                "kind": learner.cls.kind,
                "config": learner.settled,
                "match": learner.match and asdict(learner.match),
            }
        protocols = {}
        for entry in suite.protocols:
            protocols[entry.name] = {
                "kind": entry.protocol.kind,
                "block": _block(entry),
                "seeds": list(entry.seeds),
            }
        return cls(suite.name, suite.description, learners, protocols)


def _block(entry: ProtocolEntry) -> dict[str, str]:
    seeds = f"{len(entry.seeds)} ({', '.join(map(str, entry.seeds))})"
    return {
        "dataset": entry.dataset.title,
        **entry.protocol.block(),
        **_heads(entry),
        "seeds": seeds,
    }


def _heads(entry: ProtocolEntry) -> dict[str, str]:
    """Which few-shot head each learner's config names."""
    if entry.protocol.kind not in EPISODIC:
        return {}
    regime = getattr(entry.protocol.config, "regime", None)
    key = "scratch_head" if regime == "from_scratch" else "head"
    words = []
    for learner in entry.learners:
        head = getattr(learner.config, key, None)
        if head:
            words.append(f"{learner.name} {head}")
    return {"heads": ", ".join(words)} if words else {}
