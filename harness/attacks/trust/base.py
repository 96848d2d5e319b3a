"""What a trust check is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from harness import registry
from harness.records import Trust, TrustCheck

if TYPE_CHECKING:
    from harness.attacks.trust.context import CheckContext

Judgement = tuple[Trust, str]
"""A level, and one line of detail: the number that was judged and what it was measured on."""


class Check(ABC):
    """One trust check. A subclass registers itself with ``@checks.register(name)``.

    Attributes:
        kind: the registered name, which reports print.
        order: checks run, and are reported, in ascending order.
    """

    kind: ClassVar[str]
    order: ClassVar[int] = 500

    class Config(registry.Config):
        """A check has no options."""

    def applies(self, context: CheckContext) -> bool:
        """Whether the check makes sense for this attack; by default for every one."""
        return True

    @abstractmethod
    def judge(self, context: CheckContext) -> Judgement:
        """Judge a sweep. Only called if the check applies."""

    def results(self, context: CheckContext) -> list[TrustCheck]:
        """The check's entry in the report; empty if it does not apply."""
        if not self.applies(context):
            return []
        level, detail = self.judge(context)
        return [TrustCheck(self.kind, level, detail)]
