"""The question for the IoU of the mask shown, and its answer."""

from __future__ import annotations

from hlmat.transforms.prompting.templates import PromptTemplate

SCORE_TEXT = """\
<image>
A mask in half-transparent {colour} is meant to cover this object: {expression}. \
Give the intersection over union of the mask and the object in percent."""


def score_prompt() -> PromptTemplate:
    """Return the question for a score that ships with the project."""
    return PromptTemplate(SCORE_TEXT, source="the built-in prompt for scores")


def score_text(iou: float) -> str:
    """Write an IoU as the answer: what stands before an action, without the action.

    Args:
        iou: in [0, 1]; written in percent with one decimal.

    Raises:
        ValueError: an IoU outside [0, 1].

    >>> score_text(0.852)
    'Current IOU: 85.2'
    """
    if not 0 <= iou <= 1:
        raise ValueError(f"an IoU must be in [0, 1], got {iou}")
    return f"Current IOU: {100 * iou:.1f}"
