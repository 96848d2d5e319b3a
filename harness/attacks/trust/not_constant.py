"""Check: the network's output depends on the image."""

from __future__ import annotations

from harness.attacks.engine.victim import ROUNDING, relative_spread
from harness.attacks.trust.base import Check, Judgement
from harness.attacks.trust.context import CheckContext
from harness.registry import checks


@checks.register("not constant")
class NotConstant(Check):
    """A network that answers every image alike cannot be attacked, and is not robust."""

    order = 20

    def judge(self, context: CheckContext) -> Judgement:
        """Judge how much the logits differ between images."""
        rows, logits = context.clean_sample
        images = context.images[context.index(rows)]
        if bool((images == images[:1]).all()):
            count = "1 image" if len(rows) == 1 else f"{len(rows)} equal images"
            return "-", f"not applicable: {count}, so one answer is right"
        if relative_spread(logits[:, None]) <= ROUNDING:
            return "FAIL", f"the logits of {len(rows)} images are all the same: constant output"
        predicted = len(logits.argmax(1).unique())
        present = len(context.labels[context.index(rows)].unique())
        one_answer = predicted == 1 and present > 1
        return (
            "WARN" if one_answer else "PASS",
            f"{len(rows)} images are classified as {predicted} classes",
        )
