"""Which edits of code change which keys: ``python tests/benchmarks/keys.py [--edits 200]``.

Part one edits one thing at a time and prints how many keys of three suites change. Part two makes
random edits of definitions; each must change the keys of exactly the cells that reach it.
Nothing on disk is changed: edited modules are read from memory.
"""

from __future__ import annotations

import argparse
import ast
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cells import code, modules
from harness.cells import plan as planning
from harness.cells.cell import Cell
from harness.cells.entries import entries_of
from harness.suite import load as suites

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("quickstart.yaml", "paper/claims.yaml", "ci.yaml")

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Edited:
    """The cells of the suites, and the entries of the code of each."""

    cells: list[Cell]
    entries: dict[str, tuple[str, ...]]

    @classmethod
    def of_suites(cls) -> Edited:
        """Lay out every suite, with content hashes that need no data."""
        cells: dict[str, Cell] = {}
        for name in SUITES:
            suite = suites.load(ROOT / "suites" / name)
            layout = planning.make(suite, content_hash=lambda dataset: dataset.kind)
            for cell in [*layout.unique, *layout.waiting]:
                cells[cell.key] = cell
        return cls(list(cells.values()), {key: entries_of(c.identity) for key, c in cells.items()})

    def versions(self) -> dict[str, str]:
        """Key of each cell as it was planned -> version of its code now."""
        return {key: code.version(entries) for key, entries in self.entries.items()}


def with_edit(module: str, edit: Edit) -> None:
    """Read a module as ``edit`` leaves its text, from now on."""
    spec = modules.spec_of(module)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text()
    changed = edit(text)
    assert changed != text, f"the edit of {module} changes nothing"
    code.forget()
    real = modules.load.__wrapped__

    def load(name: str) -> modules.Module | None:
        if name != module:
            return real(name)
        package = module if spec.submodule_search_locations else module.rpartition(".")[0]
        return modules.Module.parse(module, package, ast.parse(changed))

    _install(load)


def without_edit() -> None:
    """Read every module as it is on disk."""
    code.forget()
    _install(modules.load.__wrapped__)


def _install(load: Callable[[str], Any]) -> None:
    from functools import cache

    cached = cache(load)
    if not hasattr(_install, "original"):
        _install.original = modules.load.__wrapped__  # type: ignore[attr-defined]
    cached.__wrapped__ = _install.original  # type: ignore[attr-defined]
    modules.load = cached
    code.load = cached


def replacing(old: str, new: str) -> Edit:
    """An edit of the first occurrence of a text."""
    return lambda text: text.replace(old, new, 1)


Expected = Callable[[Cell], bool]


def nothing(cell: Cell) -> bool:
    """Expect no key to change."""
    return False


def trust_checks(cell: Cell) -> bool:
    """Expect the keys of trust checks to change."""
    return cell.role == "trust"


def the_stacked_rule(cell: Cell) -> bool:
    """Expect the keys of everything that one learner does to change."""
    return cell.identity["learner"]["kind"] == "ech-stack"


def episodes(cell: Cell) -> bool:
    """Expect the keys of one protocol to change."""
    return cell.identity.get("protocol", {}).get("kind") == "few_shot"


NAMED: list[tuple[str, str, Edit, Expected]] = [
    ("a comment", "harness.attacks.engine.sweep", lambda text: text + "\n# Words.\n", nothing),
    ("a docstring", "harness.rng", replacing('"""', '"""Changed. '), nothing),
    (
        "an unused function",
        "harness.learning.heads",
        lambda text: text + "\n\ndef unused(x):\n    return x\n",
        nothing,
    ),
    (
        "a help text",
        "harness.learning.supervised",
        replacing('description="', 'description="So '),
        nothing,
    ),
    ("an error text", "harness.protocols.requirements", replacing('f"', 'f"Sorry: '), nothing),
    (
        "an annotation",
        "harness.batching",
        replacing("batch_size: int", "batch_size: float"),
        nothing,
    ),
    (
        "a threshold of trust",
        "harness.attacks.trust.thresholds",
        replacing("CHANGED_PARTS = Threshold(0, 0)", "CHANGED_PARTS = Threshold(0, 1)"),
        trust_checks,
    ),
    (
        "a constant of a rule",
        "harness.rules.local_stack",
        replacing("SIGMA_IMAGES = 200", "SIGMA_IMAGES = 201"),
        the_stacked_rule,
    ),
    (
        "a line of a protocol",
        "harness.protocols.episode_verdicts",
        replacing("CHUNK = 16", "CHUNK = 17"),
        episodes,
    ),
]


def named_edits(edited: Edited) -> bool:
    """Part one; whether each edit changes the keys that it should, and no others."""
    before = edited.versions()
    sound = True
    for what, module, edit, expected in NAMED:
        with_edit(module, edit)
        after = edited.versions()
        without_edit()
        changed = {key for key in before if after[key] != before[key]}
        wanted = {cell.key for cell in edited.cells if expected(cell)}
        right = changed == wanted
        sound &= right
        counts = f"{len(changed):5} of {len(before)} keys change, {len(wanted)} should"
        print(f"{what:22} {module:40} {counts}{'' if right else '  WRONG'}")
    return sound


# ------------------------------------------------------------------------------------- random edits


def random_edits(edited: Edited, count: int, seed: int) -> bool:
    """Part two; whether each edit changes the keys of exactly the cells that it reaches."""
    chance = random.Random(seed)
    before = edited.versions()
    reach = {entries: code.definitions(entries) for entries in set(edited.entries.values())}
    names = sorted({name for found in reach.values() for name in found})
    missed = stray = made = 0
    while made < count:
        name = chance.choice(names)
        module = name.partition(":")[0]
        edit = random_edit(name, chance)
        if edit is None:
            continue
        with_edit(module, edit)
        after = edited.versions()
        without_edit()
        made += 1
        changed = {key for key in before if after[key] != before[key]}
        reaching = {key for key in before if name in reach[edited.entries[key]]}
        missed += not changed
        stray += bool(changed - reaching) or bool(reaching - changed)
        if changed != reaching:
            print(f"  {name}: {len(changed)} keys changed, {len(reaching)} cells reach it")
    print(f"{made} random edits, {len(names)} definitions: {missed} changed no key, ")
    print(f"{stray} changed other keys than those of the cells that reach the definition")
    return not missed and not stray


def random_edit(name: str, chance: random.Random) -> Edit | None:
    """An edit of one constant or operator that counts in a definition; None where it has none."""
    module, _, qualified = name.partition(":")
    spec = modules.spec_of(module)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text()
    package = module.partition(".")[0]
    statements = modules.statements(modules.Place(module, qualified), package)
    places = [node for statement in statements for node in _editable(statement)]
    if not places:
        return None
    node = chance.choice(places)
    lines = text.split("\n")
    start = len("\n".join(lines[: node.lineno - 1]).encode()) + (node.lineno > 1) + node.col_offset
    stop = (
        len("\n".join(lines[: node.end_lineno - 1]).encode())
        + (node.end_lineno > 1)
        + node.end_col_offset
    )
    data = text.encode()
    old = data[start:stop].decode()
    new = f"({old}) + 1" if isinstance(node, ast.Constant) else f"not ({old})"
    changed = (data[:start] + new.encode() + data[stop:]).decode()
    try:
        ast.parse(changed)
    except SyntaxError:  # Python 3.11 misplaces what is inside of an f-string
        return None
    return lambda _: changed


def _editable(statement: ast.stmt) -> Iterator[ast.Constant | ast.Compare]:
    for node in ast.walk(statement):
        if not hasattr(node, "lineno"):
            continue
        if isinstance(node, ast.Compare):
            yield node
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield node


def main() -> None:
    """Run both parts; exit status 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    edited = Edited.of_suites()
    sound = named_edits(edited)
    sound &= random_edits(edited, options.edits, options.seed)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
