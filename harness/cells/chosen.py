"""The keys that matches chose for learners, and which measurements depend on them."""

from __future__ import annotations

from typing import Any

from harness.cells.matching import Match
from harness.cells.outline import Outline
from harness.cells.results import Matched
from harness.storage.store import CellResult


class Choices:
    """Collects the outcomes of matches while results are gathered."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self._matched: dict[str, dict[str, Matched]] = {}  # learner -> training -> choice
        self._trainings: dict[
            tuple[str, str], dict[str, None]
        ] = {}  # protocol, learner -> trainings

    def add(self, learner: str, result: CellResult) -> None:
        """Add a choice that was made for a learner."""
        identity = result.identity
        target = self.outline.learners[learner]["match"]["target"]
        matched = Matched(
            data=f"{identity['dataset']['kind']}/{identity['splitting']}",
            seed=identity["seed"],
            target=target if isinstance(target, str) else "",
            match=Match(**result.log["match"]),
        )
        self._matched.setdefault(learner, {})[result.log["training"]] = matched

    def note_use(self, protocol: str, learner: str, training: str) -> None:
        """Note that a protocol measured a learner after this training."""
        self._trainings.setdefault((protocol, learner), {})[training] = None

    def config(self, learner: str) -> dict[str, Any]:
        """A learner's config with the value that was chosen.

        Where several differ, the key has a mapping: data and seed -> value.
        """
        config: dict[str, Any] = self.outline.learners[learner]["config"]
        matched = list(self._matched.get(learner, {}).values())
        if not matched:
            return config
        values = {f"{one.data}, seed {one.seed}": one.match.value for one in matched}
        first = matched[0].match
        return {**config, first.key: first.value if len(set(values.values())) == 1 else values}

    def by_protocol(self) -> dict[str, dict[str, list[Matched]]]:
        """Protocol -> learner -> the choices that its numbers depend on."""
        out: dict[str, dict[str, list[Matched]]] = {}
        for (protocol, learner), trainings in self._trainings.items():
            of_learner = self._matched.get(learner, {})
            matched = [of_learner[key] for key in trainings if key in of_learner]
            if matched:
                out.setdefault(protocol, {})[learner] = matched
        return out
