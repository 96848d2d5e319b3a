"""What the bytecode of a function names: globals, and what it imports when it runs."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def used_globals(code: types.CodeType) -> list[tuple[str, ...]]:
    """Globals that code loads, each with the attributes that are read from it at once.

    >>> used_globals((lambda x: np.linalg.norm(x) + x.size).__code__)
    [('np', 'linalg', 'norm')]
    """
    chains: dict[tuple[str, ...], None] = {}
    for each in _nested(code):
        chain: tuple[str, ...] = ()
        for instruction in dis.get_instructions(each):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                chains[chain] = None
                chain = (instruction.argval,)
            elif chain and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                chain = (*chain, instruction.argval)
            else:
                chains[chain] = None
                chain = ()
    chains.pop((), None)
    return list(chains)


def imported_names(code: types.CodeType) -> set[str]:
    """What code imports when it runs, as ``module:name``."""
    names: set[str] = set()
    for each in _nested(code):
        module = ""
        instructions = list(dis.get_instructions(each))
        attributes = {
            each.argval for each in instructions if each.opname in ("LOAD_ATTR", "LOAD_METHOD")
        }
        for instruction in instructions:
            if instruction.opname == "IMPORT_NAME":
                module = instruction.argval
                names |= {f"{module}:{attribute}" for attribute in attributes}
            elif instruction.opname == "IMPORT_FROM":
                names.add(f"{module}:{instruction.argval}")
    return names
