"""A cell: the smallest unit of work, known by a hash of everything that can change its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.protocols.setting import Setting
from harness.storage.cellfile import cell_key

SCHEMA_VERSION = 2

Role = Literal["train", "match", "measure", "judge", "trust"]

ROLES: tuple[Role, ...] = ("train", "match", "measure", "judge", "trust")
"""In the order in which they run."""

Identity = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One unit of work: a training, the choice of a key, a measurement, or what is made of it.

    Attributes:
        key: hash of ``identity``.
        role: ``train``, ``match`` (choose a key of a learner), ``measure``, ``judge`` (what was
            measured on another learner) or ``trust``.
        identity: JSON-able; everything that can change the result, and everything a worker needs.
        needs: key of the cell that must be finished first, or None. For a measurement it is its
            training, for ``judge`` and ``trust`` the measurement that they read, for a match the
            training of its target.
        learner: name in the suite.
        protocol: name in the suite; empty for ``train`` and ``match``.
        label: the setting in a few words.
        behind: key of a match that must be finished first. Until then this cell cannot be run, and
            its own key is not final.
        setting: the setting of ``measure``, ``judge`` and ``trust``.
    """

    key: str
    role: Role
    identity: Identity
    needs: str | None
    learner: str
    protocol: str
    label: str
    behind: str = ""
    setting: Setting | None = None

    @classmethod
    def of(
        cls,
        role: Role,
        identity: Identity,
        needs: str | None,
        learner: str,
        protocol: str,
        label: str,
        behind: str = "",
        setting: Setting | None = None,
    ) -> Cell:
        """Make the cell of an identity; its key is the hash of it."""
        key = cell_key(identity)
        return cls(key, role, identity, needs, learner, protocol, label, behind, setting)

    @property
    def seed(self) -> int:
        """The suite seed that it runs under."""
        return self.identity["seed"]

    @property
    def training(self) -> str | None:
        """Key of the training whose weights it reads; None: it reads none."""
        return self.identity.get("training")

    @property
    def relatives(self) -> list[str]:
        """Keys of the trainings of other networks that its trust checks transfer from."""
        return self.identity.get("relatives", [])

    @property
    def title(self) -> str:
        """What it does, in a line."""
        what = self.protocol or self.role
        if self.role == "trust":
            what = f"{self.protocol}, trust checks"
        parts = [self.learner, what, self.label, f"seed {self.seed}"]
        return " · ".join(part for part in parts if part)
