"""Settings of attacked episodes: which episodes, and which attacks on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness.protocols.attack_settings import AttackEntry
from harness.protocols.episode_settings import FewShotSetting
from harness.protocols.setting import Setting


@dataclass(frozen=True)
class Poisoning:
    """How the support set is attacked.

    Attributes:
        norm: Norm of the perturbation of each support image.
        steps: Gradient steps.
        others: Images for each class, not used in the episode, whose loss is raised.
        eps: Budget of each support image.
    """

    norm: str
    steps: int
    others: int
    eps: float


@dataclass(frozen=True)
class AttackedEpisodesSetting(Setting):
    """Episodes of one size under attack.

    Attributes:
        episodes: The episodes.
        entry: The attack on their queries.
        poisoning: The attack on their support sets; None: they are clean.
    """

    episodes: FewShotSetting
    entry: AttackEntry
    poisoning: Poisoning | None

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON."""
        identity = {**self.episodes.to_identity(), **self.entry.to_identity()}
        if self.poisoning is not None:
            how = self.poisoning
            identity["support"] = {"norm": how.norm, "steps": how.steps, "others": how.others}
            identity["support_eps"] = how.eps
        return identity

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """Rebuild the setting that ``to_identity`` described."""
        of_attacks = ("attack", "norm", "config", "support", "support_eps")
        of_episodes = {key: value for key, value in identity.items() if key not in of_attacks}
        episodes = FewShotSetting.from_identity(of_episodes)
        entry = AttackEntry.from_identity(identity)
        poisoning = None
        if "support" in identity:
            poisoning = Poisoning(**identity["support"], eps=identity["support_eps"])
        return cls(episodes, entry, poisoning)

    @property
    def label(self) -> str:
        """``"5w1s pgd-20"``."""
        return f"{self.episodes.label} {self.entry.label}"
