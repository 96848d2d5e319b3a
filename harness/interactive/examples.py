"""``harness examples``: images under attack, as all learners of a suite saw them.

A store keeps the weights of trained networks, and no adversarial images. So a few images are
attacked again, in a store of their own that is removed afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.budgets import budget, words
from harness.cells import collect
from harness.cells.plan import Plan
from harness.errors import HarnessError, did_you_mean
from harness.execute import session
from harness.execute.session import DEFAULTS, RunOptions
from harness.protocols.attack_settings import labelled
from harness.protocols.attack_sweep import AttackSweep
from harness.report import examples_figure
from harness.report.figures import format_of, write_file
from harness.storage.store import Store
from harness.suite.load import SuiteLike
from harness.suite.model import ProtocolEntry

TRIED = 32
"""Images that are attacked; those on which learners differ most are shown."""


@dataclass(frozen=True)
class Wanted:
    """What is to be shown; what is None is chosen.

    Attributes:
        images: how many.
        protocol: name of an attack sweep; the first of the suite.
        attack: label of one of its attacks; the last one.
        eps: one of its budgets, as a suite may write it; the middle one.
        seed: one of its seeds; the first.
    """

    images: int = 6
    protocol: str | None = None
    attack: str | None = None
    eps: str | None = None
    seed: int | None = None


def examples(
    suite: SuiteLike,
    file: str | Path,
    wanted: Wanted,
    options: RunOptions = DEFAULTS,
    *,
    sets: Sequence[str] = (),
    console: Console | None = None,
) -> list[str]:
    """Draw images under attack for all learners that a suite has trained.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        file: of the figure, ``.png`` or ``.pdf``.
        wanted: what it shows.
        options: the store has the trained networks; nothing is written to it.
        sets: overrides, ``key.key=value``.
        console: where progress is shown; nowhere if None.

    Returns:
        The learners that are left out, because the store has no network of theirs.

    Raises:
        HarnessError: the suite has no such attack, budget or seed, or no network is in the store.
    """
    format_of(Path(file))  # fail now rather than after the attack
    layout = session.plan(suite, options, sets=sets)
    picked = _pick(layout, wanted)
    with tempfile.TemporaryDirectory() as folder:
        here = replace(options, store=folder, workers=options.workers or 1)
        _carry_trained(layout, options.open_store(), here.open_store())
        again = session.plan(suite, here, sets=[*sets, *picked.overrides])
        attacked = _attacks_on_trained(again, picked.entry.name, here.open_store())
        outcome = session.compute(attacked, here, console)
        if outcome.failed:
            raise HarnessError(next(iter(outcome.failed.values())), where=picked.entry.name)
        results = collect.collect(attacked, here.open_store())
        seen = examples_figure.gathered(
            results, picked.entry.name, picked.title, picked.eps, picked.about
        )
    draw = functools.partial(examples_figure.draw, seen, wanted.images, results)
    write_file(draw, Path(file))
    return [each.name for each in picked.entry.learners if each.name not in seen.learners]


@dataclass(frozen=True)
class _Picked:
    """One budget of one attack.

    Attributes:
        entry: its protocol.
        eps: the budget.
        overrides: of the suite, which leave that alone, on a few images that it keeps.
        title, about: what is said of it above the figure.
    """

    entry: ProtocolEntry
    eps: float
    overrides: list[str]
    title: str
    about: str


def _pick(layout: Plan, wanted: Wanted) -> _Picked:
    """Find what is wanted in a suite.

    Raises:
        HarnessError: it is not there.
    """
    sweeps: dict[str, AttackSweep] = {}
    for each in layout.suite.protocols:
        if isinstance(each.protocol, AttackSweep):
            sweeps[each.name] = each.protocol
    if not sweeps:
        raise HarnessError(
            "no images are attacked",
            where=layout.suite.name,
            hint="add a protocol of kind attack_sweep",
        )
    name = _named("protocol", wanted.protocol or next(iter(sweeps)), sweeps)
    entry = next(each for each in layout.suite.protocols if each.name == name)
    config = sweeps[name].config
    attacks = {each.label: each.config for each in labelled(config.attacks)}
    label = _named("attack", wanted.attack or [*attacks][-1], attacks)
    budgets = {words(eps): eps for eps in attacks[label].eps if eps > 0}
    if not budgets:
        raise HarnessError(f"{label} has no budget above 0", where=name, hint="name another attack")
    middle = [*budgets][len(budgets) // 2]
    asked = middle if wanted.eps is None else _in_words(wanted.eps)
    eps = budgets[_named("eps", asked, budgets)]
    seeds = {str(each): each for each in entry.seeds}
    seed = seeds[_named("seed", str(entry.seeds[0] if wanted.seed is None else wanted.seed), seeds)]
    images = max(TRIED, wanted.images)
    if isinstance(config.images, int):
        images = min(images, config.images)
    attack = {
        **attacks[label].model_dump(mode="json", exclude_none=True),
        "eps": [0, eps],
        "save": images,
    }
    changes = {"attacks": [attack], "images": images, "seeds": [seed], "trust": False}
    return _Picked(
        entry,
        eps,
        [f"protocols.{name}.{key}={json.dumps(value)}" for key, value in changes.items()],
        f"{label}, eps {words(eps)} ({attacks[label].norm})",
        f"{layout.suite.name}, {name}: {entry.dataset.title}, seed {seed}",
    )


def _in_words(written: str) -> str:
    """A budget as tables print it; what is no budget unchanged."""
    with contextlib.suppress(ValueError, OverflowError):
        return words(float(budget(written)))
    return written


def _named(what: str, name: str, allowed: Mapping[str, Any]) -> str:
    """The name itself.

    Raises:
        HarnessError: it is not allowed.
    """
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise HarnessError(f"there is no {name!r}", where=f"--{what}", hint=hint)
    return name


def _carry_trained(layout: Plan, source: Store, target: Store) -> None:
    """Copy trained networks, and what matches chose, from one store to another."""
    target.prepare()
    finished = set(source.finished())
    for cell in layout.unique:
        if cell.role in ("train", "match") and cell.key in finished:
            target.files.install(f"cells/{cell.key}", source.content(cell.key))


def _attacks_on_trained(layout: Plan, protocol: str, store: Store) -> Plan:
    """The measurements of a protocol whose networks are in a store.

    Raises:
        HarnessError: there is none.
    """
    trained = set(store.finished())
    measured = [
        cell
        for cell in layout.unique
        if cell.protocol == protocol and (cell.training is None or cell.training in trained)
    ]
    if not measured:
        raise HarnessError(
            "the store has no trained network", where=protocol, hint="run the suite first"
        )
    return replace(layout, cells=measured, waiting=[], relatives=[])
