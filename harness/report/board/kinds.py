"""What a board says about a kind of learner: its family, what it is, its papers, its file."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from harness.registry import learners

_AUTHOR = r"[A-Z][\w'’-]*[a-z]"
_CITATION = re.compile(
    rf"({_AUTHOR}(?:(?:, {_AUTHOR})*,? (?:&|and) {_AUTHOR}| et al\.)?),? \(?((?:19|20)\d\d)"
    r"|(arXiv) (\d{4}\.\d{4,5})"
)
"""``Krotov & Hopfield 2016``, ``Snell et al. 2017``, ``Hinton 2022``, ``arXiv 2603.03234``."""


@dataclass(frozen=True)
class Kind:
    """A kind of learner in words.

    Attributes:
        family: One of ``harness.registry.FAMILIES``.
        about: The first paragraph of its docstring; empty if it is not installed here.
        sources: The papers that its docstring names.
        code: Its file, from the root of the package's repository.
    """

    family: str
    about: str = ""
    sources: tuple[str, ...] = ()
    code: str = ""


def kind_of(name: str) -> Kind:
    """Describe a registered kind. Any other is named only: nothing is imported for it."""
    family = learners.family(name)
    if name not in learners:
        return Kind(family)
    cls = learners[name]
    docstring = inspect.cleandoc(cls.__doc__ or "")
    return Kind(
        family=family,
        about=" ".join(docstring.partition("\n\n")[0].split()),
        sources=sources(docstring),
        code=f"{cls.__module__.replace('.', '/')}.py",
    )


def sources(text: str) -> tuple[str, ...]:
    """Return the papers that a text names, once each.

    >>> sources("After Krotov & Hopfield (2016, arXiv 1606.01164), as Hinton 2022 has it.")
    ('Krotov & Hopfield 2016', 'arXiv 1606.01164', 'Hinton 2022')
    """
    found = _CITATION.findall(" ".join(text.split()))
    return tuple(dict.fromkeys(" ".join(filter(None, parts)) for parts in found))
