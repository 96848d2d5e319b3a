"""Checks of learners, of the fronts before them, and of the keys that `match` chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.learning.learner import Learner
from harness.registry import fronts, learners
from harness.suite.check.context import Checking, Steps
from harness.suite.model import LearnerEntry, SuiteConfig
from harness.suite.specs.match import MatchConfig, Search, search_for


def checked_learners(checking: Checking, top: SuiteConfig) -> list[LearnerEntry]:
    """The learners of a suite that are sound."""
    entries = []
    for name in top.learners:
        entry = _learner(checking, name)
        if entry is not None:
            entries.append(entry)
    return _with_sound_targets(checking, entries, top)


def _learner(checking: Checking, name: str) -> LearnerEntry | None:
    path = ("learners", name)
    entry = checking.kind(learners, path)
    if entry is None:
        return None
    cls, keys = entry
    front = None
    if "front" in keys and "front" not in cls.Config.model_fields:
        front = _front(checking, keys.pop("front"), (*path, "front"))
        if front is None:
            return None
    search = None
    candidates = [keys]
    if "match" in keys:
        wanted = keys.pop("match")
        search = _search(checking, cls, keys, wanted, path)
    if search is not None:
        # The learner must be able to train at both ends of the range.
        candidates = [{**keys, search.key: end} for end in (search.high, search.low)]
    config = None
    for candidate in candidates:
        config = checking.validated(cls.Config, candidate, path, also=("match", "front"))
        if config is None:
            return None
    assert config is not None
    return LearnerEntry(name, cls, config, search, front)


def _front(checking: Checking, wanted: Any, path: Steps) -> dict[str, Any] | None:
    """The kind and all keys of the front before a learner."""
    named = {"kind": wanted} if isinstance(wanted, str) else wanted
    if not isinstance(named, dict):
        checking.report(path, f"front is a name or a mapping, not {str(wanted)[:40]}", "")
        return None
    keys = dict(named)
    kind = keys.pop("kind", None)
    if not isinstance(kind, str) or kind not in fronts:
        hint = did_you_mean(str(kind), fronts)
        checking.report(path, f"unknown front {kind!r}", hint)
        return None
    config = checking.validated(fronts[kind].Config, keys, path)
    return None if config is None else {"kind": kind, **config.model_dump(mode="json")}


def _search(
    checking: Checking, cls: type[Learner], keys: dict[str, Any], wanted: Any, path: Steps
) -> Search | None:
    """The search that ``match`` asks for."""
    if not isinstance(wanted, dict):
        checking.report(
            (*path, "match"),
            f"match is a mapping, not {str(wanted)[:40]}",
            "e.g. match: {density: 0.28}",
        )
        return None
    spec = checking.validated(MatchConfig, wanted, (*path, "match"))
    if spec is None:
        return None
    try:
        search = search_for(spec, cls)
    except HarnessError as error:
        checking.report((*path, "match", "vary"), error.message, error.hint or "")
        return None
    if search.key in keys:
        checking.report(
            (*path, search.key),
            f"`match` chooses {search.key!r}",
            "leave it out here, or name another key to `vary`",
        )
    return search


def _with_sound_targets(
    checking: Checking, entries: list[LearnerEntry], top: SuiteConfig
) -> list[LearnerEntry]:
    """Entries whose targets exist and do not wait for them in turn; others lose their ``match``."""
    targets = {
        entry.name: entry.match.target
        for entry in entries
        if entry.match and isinstance(entry.match.target, str)
    }
    checked = []
    for entry in entries:
        chain = _chain(entry.name, targets)
        is_cyclic = chain[-1] in chain[:-1]
        is_sound = not is_cyclic
        path = ("learners", entry.name, "match")
        if is_cyclic and chain[-1] == entry.name:
            checking.report(
                path,
                f"it waits for itself: {' -> '.join(chain)}",
                "give one of them a number to reach",
            )
        elif entry.match and entry.name in targets:
            measure = (*path, entry.match.measure)
            is_sound &= checking.is_learner(measure, targets[entry.name], top)
        checked.append(entry if is_sound else replace(entry, match=None))
    return checked


def _chain(name: str, targets: dict[str, str]) -> list[str]:
    """A learner, its target, the target's target ...; ends at a learner that was met before."""
    chain = [name]
    while chain[-1] in targets and chain[-1] not in chain[:-1]:
        chain.append(targets[chain[-1]])
    return chain
