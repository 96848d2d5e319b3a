"""Trust checks in words: what each one asks, and what to do where it does not pass."""

from __future__ import annotations

from harness import registry

ELSEWHERE = {
    "declared files": "The learner opened only files that its config declares.",
    "inference": "Each image gets the same answer alone as in a batch.",
    "PGD at least as strong as FGSM": "FGSM breaks no more images than PGD does.",
    "trust checks made": "All planned trust checks have been made.",
}
"""What the checks ask that are not in ``harness/attacks/trust``."""

_MORE_STEPS = "Give the attack more steps and restarts, or use `attack: autoattack`."

_MASKED = (
    "The attack is too weak, or the gradient misleads it. Compare with `autoattack`; where outputs "
    "jump, attack through a surrogate (`backward: straight-through`). Report the worst case."
)

_STATEFUL = "Make the forward pass a pure function of weights and images, or declare `plastic`."

REMEDIES = {
    "eps 0 equals clean": "Put the network into eval mode: no dropout, no batch statistics.",
    "same on a fresh copy": _STATEFUL,
    "keeps no state": _STATEFUL,
    "not constant": "Look at the training: the network answers every image alike.",
    "inside the budget and the box": "The attack leaves its ball: project and clamp its last step.",
    "perturbs": "The attack finds no direction: look at `gradients exist` first.",
    "deterministic": "Set `samples:` on the attack, so that it averages over the network's draws.",
    "unbounded": _MASKED,
    "gradients exist": _MASKED,
    "non-differentiable parts": "Set `backward: straight-through` on the attack.",
    "real graph not stronger": _MASKED,
    "upper bound: no gradient attack": "Add a gradient attack such as `pgd` to the protocol.",
    "converged": _MORE_STEPS,
    "minimal norms small enough": "Give it more steps, or believe `pgd` at fixed budgets instead.",
    "scale": "Use a loss that does not saturate: `loss: margin`, or `attack: autoattack`.",
    "gradient matches the function": _MASKED,
    "gradient agrees with outputs": _MASKED,
    "estimated gradient not better": _MASKED,
    "black box not stronger": _MASKED,
    "relative not stronger": _MASKED,
    "parts": _MASKED,
    "at least as strong as FGSM": _MORE_STEPS,
    "verdicts carried down": "Use `sweep: nested`, which attacks at every budget.",
    "nested sweep not stronger": "Use `sweep: nested`; the worst of both is printed.",
    "as named": "Say so where you report it, or give the attack what it needs.",
    "model left as found": "Something changes the network or random states: find it.",
    "declared files": "Declare the file in the learner's config: its content is then in the key.",
    "inference": "Declare `transductive`, or classify each query by itself.",
    "PGD at least as strong as FGSM": _MORE_STEPS,
    "trust checks made": "Run the suite again: it makes the checks that are missing.",
}
"""Name of a check -> what to do if it did not pass."""

VERDICTS = {
    "PASS": "no check found a reason to doubt these numbers",
    "WARN": "usable, with the remarks below beside the numbers",
    "FAIL": "not to be reported: the attack did not measure what its name says",
    "-": "no trust checks were made",
}
"""Worst level of the checks -> what a reader may do with the numbers."""


def asks(name: str) -> str:
    """What a check found if it passed, in one sentence."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name not in registry.checks:
        return ""
    paragraph = (registry.checks[name].__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split())
