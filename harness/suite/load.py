"""A suite: everything needed to reproduce its tables, read from YAML and checked before anything runs.

``load`` reads a file (with what it extends, its defaults and ``--set`` overrides), validates every entry against the
config model that its ``kind`` registered, and checks the combinations against what is known of the datasets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.data.base import Dataset
from harness.errors import DataError, HarnessError, SuiteError, did_you_mean
from harness.learning.learner import Budget, Learner
from harness.metrics.catalogue import METRICS
from harness.protocols.base import Protocol
from harness.records import WORST
from harness.registry import Registry, datasets, learners, protocols
from harness.suite import marked_yaml as source
from harness.suite import override, shipped
from harness.suite import published as shelf
from harness.suite.explain import Problem, explain
from harness.suite.marked_yaml import Source
from harness.suite.model import LearnerEntry, ProtocolEntry, Suite, SuiteConfig
from harness.suite.specs.claims import COMPARING, ClaimSpec
from harness.suite.specs.figures import FigureSpec
from harness.suite.specs.match import MatchConfig, Search, search_for
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec


def load(path: str | Path, *, sets: Sequence[str] = (), data_root: Path | None = None) -> Suite:
    """Read and check a suite file.

    Args:
        path: the YAML file, or the name of a suite that comes with the harness.
        sets: overrides, ``key.key=value``.
        data_root: where datasets that are not embedded lie.

    Raises:
        SuiteError: the first fault in the file, with file:line:column, what is allowed, and how many more there are.
    """
    path = shipped.locate(path)
    folder = str(path.resolve().parent)
    # A suite may name `my_module:MyLearner` beside it: found after all that is installed. That of our own packages comes first,
    # or a folder beside the suite that is called as one of them would be taken for it, here and in the workers.
    sys.path += [
        place
        for place in (str(Path(__file__).resolve().parents[2]), folder)
        if place not in sys.path
    ]
    tree = resolved(path, sets)
    check = _Check(tree, data_root)
    suite = check.run()
    if check.problems:
        raise _first(check.problems, tree)
    assert suite is not None
    return suite


def resolved(path: Path, sets: Sequence[str] | str = ()) -> Source:
    """A suite file with all that it extends, its overrides and its defaults laid into it; not yet checked."""
    tree = read_tree(path)
    for assignment in [sets] if isinstance(sets, str) else sets:
        tree = override.apply(tree, assignment)
    return apply_defaults(tree)


def read_tree(path: Path, seen: tuple[Path, ...] = ()) -> Source:
    """A suite file laid over the files that it extends (paths are relative to the file that names them)."""
    path = path if seen else shipped.locate(path)
    tree = source.read(path)
    if not isinstance(tree.value, dict):
        raise SuiteError(
            "a suite is a mapping of keys to values",
            where=str(tree.where(())),
            hint="start with `name: my-suite`",
        )
    if "extends" not in tree.value:
        return tree
    where = str(tree.where(("extends",)))
    bases = tree.value.pop("extends")
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise SuiteError(
            "`extends` takes a path or a list of paths", where=where, hint="e.g. extends: base.yaml"
        )
    here = (*seen, path.resolve())
    under = Source({})
    for base in bases:
        target = path.parent / base
        if not _is_file(target):
            raise SuiteError(
                f"there is no file {base[:60]!r} to extend",
                where=where,
                hint=f"paths are relative to {path.parent}/",
            )
        if target.resolve() in here:
            raise SuiteError(f"{base!r} extends itself", where=where, hint="break the circle")
        under = source.merge(under, read_tree(target, here))
    return source.merge(under, tree)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, a NUL in it
        return False


def apply_defaults(tree: Source) -> Source:
    """Lay every entry over the ``defaults`` of its kind: ``defaults: {learners: {mlp: {hidden: 400}}}``."""
    if not isinstance(tree.value, dict) or "defaults" not in tree.value:
        return tree
    defaults, where = tree.value["defaults"], ("defaults",)
    if not isinstance(defaults, dict):
        raise SuiteError(
            "`defaults` is a mapping",
            where=str(tree.where(where)),
            hint="e.g. defaults: {learners: {mlp: {hidden: 400}}}",
        )
    for room, registry in (("learners", learners), ("protocols", protocols)):
        kinds = defaults.get(room, {})
        if not isinstance(kinds, dict):
            raise SuiteError(
                f"`defaults.{room}` maps kinds to keys", where=str(tree.where((*where, room)))
            )
        for kind in kinds:
            _check_default(tree, (*where, room, kind), kind, registry)
        tree = _lay_under(tree, room, kinds)
    for key in set(defaults) - {"learners", "protocols"}:
        raise SuiteError(
            f"unknown key {key!r}",
            where=str(tree.where((*where, key), key=True)),
            hint=did_you_mean(key, ["learners", "protocols"]),
        )
    del tree.value["defaults"]
    return tree


def _check_default(tree: Source, path: tuple, kind: str, registry: Registry) -> None:
    if kind not in registry:
        raise SuiteError(
            f"unknown {registry.what} {kind!r}",
            where=str(tree.where(path, key=True)),
            hint=did_you_mean(kind, registry),
        )
    if not isinstance(tree.get(path), dict):
        raise SuiteError(f"defaults of {kind!r} are a mapping", where=str(tree.where(path)))
    for key in tree.get(path):
        if key not in registry[kind].Config.model_fields:
            raise SuiteError(
                f"unknown key {key!r}",
                where=str(tree.where((*path, key), key=True)),
                hint=did_you_mean(key, registry[kind].Config.model_fields),
            )


def _lay_under(tree: Source, room: str, kinds: dict[str, Any]) -> Source:
    entries = tree.value.get(room)
    for name, entry in list(entries.items()) if isinstance(entries, dict) else ():
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if isinstance(kind, str) and kind in kinds:
            under, over = tree.sub(("defaults", room, kind)), tree.sub((room, name))
            tree.value[room][name] = (laid := source.merge(under, over)).value
            tree.values.update({(room, name, *path): mark for path, mark in laid.values.items()})
            tree.keys.update({(room, name, *path): mark for path, mark in laid.keys.items()})
    return tree


def _first(problems: list[Problem], tree: Source) -> SuiteError:
    marked = sorted(
        ((tree.where(p.path, key=p.at_key), p) for p in problems),
        key=lambda pair: (pair[0], not pair[1].at_key),
    )
    mark, problem = marked[0]
    more = sorted({str(m) for m, _ in marked[1:]})
    hint = problem.hint
    if more:
        hint = "; ".join(
            filter(
                None,
                [
                    hint,
                    f"and {len(more)} more: {', '.join(more[:3])}{' ...' if len(more) > 3 else ''}",
                ],
            )
        )
    error = SuiteError(problem.message, where=str(mark), hint=hint or None)
    error.faults = tuple(
        SuiteError(each.message, where=str(place), hint=each.hint or None) for place, each in marked
    )
    return error


class _Check:
    """One pass over a source tree; collects problems instead of stopping at the first."""

    def __init__(self, tree: Source, data_root: Path | None):
        self.tree, self.data_root, self.problems = tree, data_root, []

    def run(self) -> Suite | None:
        top = self.model(SuiteConfig, self.tree.value, ())
        if top is None:
            return None
        entries = [e for name in top.learners if (e := self.learner(name))]
        entries = self.targets(entries, top)
        measured = [p for name in top.protocols if (p := self.protocol(name, top, entries))]
        for index, spec in enumerate(top.tables):
            self.table(("tables", index), spec, top, measured)
        published = [
            each
            for index, spec in enumerate(top.published)
            for each in self.published(index, spec, top, measured)
        ]
        for index, figure in enumerate(top.figures):
            self.figure(("figures", index), figure, top, measured)
        for index, claim in enumerate(top.claims):
            self.claim(("claims", index), claim, top, measured)
        return Suite(
            top.name,
            top.description,
            Budget(top.budget.images),
            top.snapshots,
            entries,
            measured,
            top.tables,
            published,
            top.figures,
            top.claims,
        )

    def model(self, cls: type[BaseModel], value: Any, path: tuple) -> Any:
        """Validate one mapping; None, and problems noted, where it is faulty."""
        try:
            return cls.model_validate(
                value, context={"folder": lambda key: self.tree.where((*path, key)).folder}
            )
        except ValidationError as error:
            also = (
                ("match",)
                if path[:1] == ("learners",) and len(path) == 2
                else ()
                if path
                else ("defaults", "extends")
            )
            self.problems += explain(error, cls, value, path, also=also)
            return None

    def kind(self, registry: Registry, path: tuple) -> tuple[type, dict] | None:
        """Class and remaining keys of an entry that names its ``kind``."""
        entry = dict(self.tree.get(path))
        if not isinstance(entry.get("kind"), str):
            missing = "kind" not in entry
            self.problem(
                (*path, "kind") if not missing else path,
                f"key 'kind' {'is missing' if missing else 'must be a word'}",
                f"allowed: {', '.join(registry)}",
            )
            return None
        try:
            return registry[entry.pop("kind")], entry
        except HarnessError as error:
            self.problem((*path, "kind"), error.message, error.hint or "")
            return None

    def problem(self, path: tuple, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, message, hint))

    def learner(self, name: str) -> LearnerEntry | None:
        path = ("learners", name)
        found = self.kind(learners, path)
        if not found:
            return None
        cls, keys = found
        match = self.match(cls, keys, path) if "match" in keys else None
        ends = [{match.key: end} for end in (match.high, match.low)] if match else [{}]
        for end in ends:  # it must be able to train at both ends of a range
            config = self.model(cls.Config, keys | end, path)
            if config is None:
                return None
        return LearnerEntry(name, cls, config, match)

    def match(self, cls: type[Learner], keys: dict[str, Any], path: tuple) -> Search | None:
        """The search that ``match`` asks for, taken out of the keys of an entry."""
        wanted = keys.pop("match")
        if not isinstance(wanted, dict):
            self.problem(
                (*path, "match"),
                f"match is a mapping, not {str(wanted)[:40]}",
                "e.g. match: {density: 0.28}",
            )
            return None
        spec = self.model(MatchConfig, wanted, (*path, "match"))
        if spec is None:
            return None
        try:
            found = search_for(spec, cls)
        except HarnessError as error:
            self.problem((*path, "match", "vary"), error.message, error.hint or "")
            return None
        if found.key in keys:
            self.problem(
                (*path, found.key),
                f"`match` chooses {found.key!r}",
                "leave it out here, or name another key to `vary`",
            )
        return found

    def targets(self, entries: list[LearnerEntry], top: SuiteConfig) -> list[LearnerEntry]:
        """Entries whose targets are learners that are there, and that do not wait for them in their turn."""
        wanted = {
            entry.name: entry.match.target
            for entry in entries
            if entry.match and isinstance(entry.match.target, str)
        }
        sound = []
        for entry in entries:
            path, chain = ("learners", entry.name, "match"), [entry.name]
            while chain[-1] in wanted and chain[-1] not in chain[:-1]:
                chain.append(wanted[chain[-1]])
            fault = chain[-1] in chain[:-1]
            if chain[-1] == entry.name and fault:
                self.problem(
                    path,
                    f"it waits for itself: {' -> '.join(chain)}",
                    "give one of them a number to reach",
                )
            elif entry.name in wanted:
                fault |= not self.known((*path, entry.match.measure), wanted[entry.name], top)
            sound.append(replace(entry, match=None) if fault else entry)
        return sound

    def dataset(self, value: str | dict[str, Any], path: tuple) -> Dataset | None:
        if isinstance(value, dict):
            found = self.kind(datasets, path)
        elif value in datasets:
            found = datasets[value], {}
        else:
            self.problem(path, f"unknown dataset {value!r}", did_you_mean(value, datasets))
            return None
        config = found and self.model(found[0].Config, found[1], path)
        return found[0](config, self.data_root) if config is not None and found else None

    def protocol(
        self, name: str, top: SuiteConfig, entries: list[LearnerEntry]
    ) -> ProtocolEntry | None:
        path = ("protocols", name)
        found = self.kind(protocols, path)
        config = found and self.model(found[0].Config, found[1], path)
        dataset = config and self.dataset(config.dataset, (*path, "dataset"))
        if not found or not config or not dataset:
            return None
        try:
            protocol = found[0](config, dataset.facts())
        except DataError as error:  # images of one's own: their facts are in a file
            self.problem((*path, "dataset"), str(error).partition("\n")[0], error.hint or "")
            return None
        if getattr(config, "over_time", False) and not top.snapshots:
            self.problem(
                (*path, "over_time"),
                "over_time needs the states during training",
                "set `snapshots: true` in the suite",
            )
        for fault in protocol.faults():
            self.problem((*path, *fault.path), fault.message, fault.hint)
        chosen, skipped = self.chosen(path, config.learners, protocol, entries, list(top.learners))
        return ProtocolEntry(name, protocol, dataset, chosen, config.seeds or top.seeds, skipped)

    def chosen(
        self,
        path: tuple,
        wanted: list[str] | None,
        protocol: Protocol,
        entries: list[LearnerEntry],
        known: list[str],
    ) -> tuple[list[LearnerEntry], dict[str, str]]:
        """Learners that a protocol measures, and those it leaves out because it cannot."""
        for index, name in enumerate(wanted or []):
            if name not in known:
                self.problem(
                    (*path, "learners", index),
                    f"unknown learner {name!r}",
                    did_you_mean(name, known),
                )
        chosen, skipped = [], {}
        for entry in entries:
            if wanted is not None and entry.name not in wanted:
                continue
            why, absent = (
                protocol.refuses(entry.cls) or _unmatched(entry, protocol, entries),
                entry.cls.absent(),
            )
            if why and wanted is not None:
                self.problem(
                    (*path, "learners", wanted.index(entry.name)),
                    f"cannot measure {entry.name!r}: {why}",
                )
            elif why or absent:
                skipped[entry.name] = why or absent
            else:
                chosen.append(entry)
        if entries and not chosen and (skipped or wanted is None):
            reasons = "; ".join(f"{name}: {why}" for name, why in skipped.items())
            self.problem(path, "it can measure none of the learners", reasons)
        return chosen, skipped

    def published(
        self, index: int, spec: PublishedSpec, top: SuiteConfig, measured: list[ProtocolEntry]
    ) -> list[PublishedSpec]:
        """A published number, or all that a citation stands for, as far as the protocol measures it."""
        path = ("published", index)
        if spec.learner is not None:
            self.known((*path, "learner"), spec.learner, top)
        self.number(
            path,
            spec,
            top,
            measured,
            [spec.learner] if spec.learner else [],
            single=spec.cite is None,
        )
        entry = next((p for p in measured if p.name == spec.protocol), None)
        if spec.cite is None or entry is None:
            return [spec]
        try:
            found = shelf.cited(spec, entry.protocol.kind)
        except HarnessError as error:
            self.problem((*path, "cite"), error.message, error.hint or "")
            return []
        return [
            each
            for each in found
            if all(
                not (there := _choices(entry, key)) or value in there
                for key, value in each.setting.items()
            )
        ]

    def claim(
        self, path: tuple, spec: ClaimSpec, top: SuiteConfig, measured: list[ProtocolEntry]
    ) -> None:
        self.known((*path, "learner"), spec.learner, top)
        for index, name in enumerate(spec.controls):
            self.known((*path, "controls", index), name, top)
        if spec.comparable:
            self.number((*path, "comparable"), spec.comparable, top, measured, [])
        for index, measure in enumerate(spec.measures):
            at, compared = (*path, "measures", index), measure.bound[0] in COMPARING
            controls = (measure.controls or spec.controls) if compared else []
            for place, name in enumerate(measure.controls or []):
                self.known((*at, "controls", place), name, top)
            if compared and not controls:
                self.problem(
                    at,
                    "it is compared with controls, and there are none",
                    "name some in `controls`",
                )
            self.number(at, measure, top, measured, [measure.learner or spec.learner, *controls])

    def figure(
        self, path: tuple, spec: FigureSpec, top: SuiteConfig, measured: list[ProtocolEntry]
    ) -> None:
        names = [name for line in spec.lines.values() for name in line]
        for line, members in spec.lines.items():
            for index, name in enumerate(members):
                self.known((*path, "lines", line, index), name, top)
        for axis in ("x", "y"):
            number = getattr(spec, axis)
            if number.config is None:
                self.number((*path, axis), number, top, measured, names)

    def known(self, path: tuple, name: str, top: SuiteConfig) -> bool:
        if name not in top.learners:
            self.problem(path, f"unknown learner {name!r}", did_you_mean(name, top.learners))
        return name in top.learners

    def number(
        self,
        path: tuple,
        spec: Any,
        top: SuiteConfig,
        measured: list[ProtocolEntry],
        names: list[str],
        *,
        single: bool = True,
    ) -> None:
        """What something refers to: its protocol, the keys of its setting, and that its learners are measured.

        Args:
            single: whether it has to be one number.
        """
        if spec.protocol not in top.protocols:
            at = (*path, "protocol")
            self.problem(
                at,
                f"unknown protocol {spec.protocol!r}",
                did_you_mean(str(spec.protocol), top.protocols),
            )
            return
        entry = next((p for p in measured if p.name == spec.protocol), None)
        if entry is None:
            return
        keys = set(_keys(entry))
        for key, value in spec.setting.items():
            choices, at = _choices(entry, key), (*path, "setting", key)
            if key not in keys:
                self.problem(at, f"{spec.protocol!r} has no {key!r}", did_you_mean(key, keys))
            elif choices and value not in choices:
                self.problem(
                    at,
                    f"{spec.protocol!r} has no {key} {value!r}",
                    did_you_mean(str(value), map(str, choices)),
                )
        for key in _undecided(entry, spec.setting) if single else ():
            self.problem(
                path,
                f"it fits several numbers of {spec.protocol!r}",
                f"say which {key} in its `setting`: {', '.join(map(str, _choices(entry, key)))}",
            )
        if ":" not in entry.protocol.kind and spec.metric not in METRICS:
            self.problem(
                (*path, "metric"),
                f"unknown metric {spec.metric!r}",
                did_you_mean(spec.metric, METRICS),
            )
        for name in names:
            if name in top.learners and name not in {learner.name for learner in entry.learners}:
                self.problem(
                    path,
                    f"{spec.protocol!r} does not measure {name!r}",
                    entry.skipped.get(name, "add it to that protocol's `learners`"),
                )

    def table(
        self, path: tuple, spec: TableSpec, top: SuiteConfig, measured: list[ProtocolEntry]
    ) -> None:
        if spec.protocol not in top.protocols:
            self.problem(
                (*path, "protocol"),
                f"unknown protocol {spec.protocol!r}",
                did_you_mean(spec.protocol, top.protocols),
            )
            return
        entry = next((p for p in measured if p.name == spec.protocol), None)
        keys = set(_keys(entry)) if entry else set()
        for axis in ("rows", "columns"):
            names = getattr(spec, axis)
            for index, key in enumerate([names] if isinstance(names, str) else names):
                if entry and key not in keys:
                    at = (*path, axis) if isinstance(names, str) else (*path, axis, index)
                    self.problem(
                        at,
                        f"{spec.protocol!r} has no {key!r} to tabulate by",
                        did_you_mean(key, keys),
                    )


def _unmatched(entry: LearnerEntry, protocol: Protocol, entries: list[LearnerEntry]) -> str | None:
    """Why a learner cannot be matched for a protocol, or None."""
    if entry.match is None:
        return None
    data, measure = protocol.training(), entry.match.measure
    if data is None:
        return "`match` chooses among trained learners, and here nothing is trained beforehand"
    splits = protocol.facts.splittings.get(data.splitting, {})
    shown = (
        data.labelled and "val" in splits and data.splitting not in protocol.facts.class_disjoint
    )
    if measure == "clean_accuracy" and not shown:
        return f"{data.splitting} has no validation images of the classes that are trained on, to match the clean accuracy with"
    target = next((each for each in entries if each.name == entry.match.target), None)
    why = target and (protocol.refuses(target.cls) or _unmatched(target, protocol, entries))
    return f"it is matched to {target.name}: {why}" if why else None


def _keys(entry: ProtocolEntry) -> Iterator[str]:
    yield from ("learner", "seed", "dataset", "metric")
    yield from entry.protocol.keys
    for setting in entry.protocol.settings():
        yield from setting


def _choices(entry: ProtocolEntry, key: str) -> list[Any]:
    """The values that a key of a setting can have, as far as they are known before anything is measured; else none."""
    values: list[Any] = []
    for setting in entry.protocol.settings():
        value = setting.get(key, setting.get("config", {}).get(key))
        listed = value if isinstance(value, list) else [] if value is None else [value]
        values += [each for each in listed if each not in values]
    return [*values, WORST] if values and key == "attack" else values


def _undecided(entry: ProtocolEntry, given: dict[str, Any]) -> list[str]:
    """Keys in which cells that have a setting differ: without them it is not one number."""
    cells = [
        cell
        for cell in entry.protocol.settings()
        if all(cell.get(key, value) == value for key, value in given.items())
    ]
    return [
        key
        for key in (cells[0] if cells else {})
        if key != "config" and any(c[key] != cells[0][key] for c in cells)
    ]
