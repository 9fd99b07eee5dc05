"""The dialogue `think`: reasoning in `<think>` tags, then the action as in `segagent`.

``<think>\\n...\\n</think>\\n\\nPositive point: (a, b)``. The tags are those that DeepSeek-R1
(arXiv 2501.12948) made usual and that the chat templates of Qwen3 and GLM-4.5V know; the reasoning
is part of the answer and stays in the record. A prompt that ends with `<think>` leaves the first
tag out of the answer, so that only the last one is required. Reasoning that is written, for
training, is one sentence about the action: it follows from the click, not from thought.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hlmat.transforms.core.records import (
    Action,
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    NoObject,
    Undo,
)
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.dialogues.segagent import SegAgent, parse_action, render_action

_END = "</think>"
_FORM = (
    " First think about what the mask misses and what it wrongly covers, in <think> and </think>. "
    "After that write nothing but the answer, such as Positive point: (a, b) or "
    "Negative point: (a, b)"
)
_BOX_FORM = (
    " First think about where the object is, in <think> and </think>. After that write nothing but "
    "the answer, Box: (a, b), (c, d)"
)


def reason_for(action: Action) -> str:
    """Return a sentence that explains an action."""
    match action:
        case Click(is_positive=True):
            return "The mask misses a part of the object, so the next click is on that part."
        case Click():
            return "The mask covers what is not the object, so the next click takes that away."
        case Box():
            return "The object lies within this box."
        case Finish():
            return "The mask covers the object and nothing else."
        case NoObject():
            return "Nothing in the image is what the text describes."
        case Undo():
            return "The last action made the mask worse."


@dataclass(frozen=True)
class Think(Dialogue):
    """Reasoning, then a line."""

    name: ClassVar[str] = "think"
    says: ClassVar[frozenset[type]] = frozenset({Click, Box, Finish, NoObject})
    has_score: ClassVar[bool] = True
    keeps_reasoning: ClassVar[bool] = True

    def prompt(self, offer: Offer) -> str:
        """Return the question for a click or a box."""
        asked = SegAgent().prompt(Offer(box=offer.box))
        if offer.box:
            asked += _BOX_FORM
        else:
            asked += _FORM + (", or Finish if the mask is right" if offer.finish else "")
        return asked + (", or No object if the image has none." if offer.no_object else ".")

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write a reason and the action, after the IoU of the mask shown if one is given."""
        line = render_action(action, size_hw=size_hw, codec=codec, iou=iou)
        return f"<think>\n{reason_for(action)}\n{_END}\n\n{line}"

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse the text after the last `</think>`; an answer without reasoning is invalid."""
        if _END not in text:
            problem = f"no reasoning: expected {_END} before the action"
            if "<think>" in text:
                problem = f"reasoning without an end: expected {_END} and the answer"
            return Answer(text, InvalidAction(text, problem))
        return parse_action(text, size_hw=size_hw, codec=codec)
