"""What every check of a suite needs: the tree, and the list that problems go into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError, did_you_mean
from harness.registry import Registry
from harness.suite.explain import Problem, explain
from harness.suite.marked_yaml import Source
from harness.suite.model import SuiteConfig

Steps = tuple[str | int, ...]
"""A place in a suite: keys and list positions, from the top."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Checking:
    """One pass over a suite.

    Attributes:
        tree: the suite, every value with its place in a file.
        data_root: folder of the datasets that are not embedded.
        problems: everything wrong that was found so far.
    """

    tree: Source
    data_root: Path | None
    problems: list[Problem]

    def report(self, path: Steps, message: str, hint: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(path, message, hint))

    def is_faulty(self, *path: str | int) -> bool:
        """Whether something at this place, or inside it, is wrong."""
        return any(problem.path[: len(path)] == path for problem in self.problems)

    def validated(
        self, cls: type[Model], value: Any, path: Steps, also: tuple[str, ...] | None = None
    ) -> Model | None:
        """Validate a mapping by its config model; if it is faulty, report problems and return None.

        Args:
            cls: the config model.
            value: the mapping.
            path: where it is.
            also: further keys to suggest for an unknown one.
        """
        context = {"folder": lambda key: self.tree.where((*path, key)).folder}
        try:
            return cls.model_validate(value, context=context)
        except ValidationError as error:
            if also is None:
                also = () if path else ("defaults", "extends")
            self.problems.extend(explain(error, cls, value, path, also=also))
            return None

    def kind(self, registry: Registry, path: Steps) -> tuple[type[Any], dict[str, Any]] | None:
        """The class that an entry names as its ``kind``, and its remaining keys."""
        entry = dict(self.tree.get(path))
        allowed = f"allowed: {', '.join(registry)}"
        if "kind" not in entry:
            self.report(path, "key 'kind' is missing", allowed)
            return None
        name = entry.pop("kind")
        if not isinstance(name, str):
            self.report((*path, "kind"), "key 'kind' must be a word", allowed)
            return None
        try:
            return registry[name], entry
        except HarnessError as error:
            self.report((*path, "kind"), error.message, error.hint or "")
            return None

    def is_learner(self, path: Steps, name: str, top: SuiteConfig) -> bool:
        """Whether a learner of that name exists; a problem is noted where not."""
        if name not in top.learners:
            self.report(path, f"unknown learner {name!r}", did_you_mean(name, top.learners))
            return False
        return True
