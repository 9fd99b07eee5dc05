"""The dialogue `ibis`: reasoning and an action in tags, after IBISAgent.

::

    <think>
    ...
    </think>
    <action>
    Positive Point (0.5000, 0.2500)
    </action>

or `Negative Point`, or `Terminate`, which an ``<answer>`` with a summary may follow. Source: the
authors' code, Yankai96/IBISAgent, infer/multi_turn.py (the system message and the four decimals),
infer/mllm_engine.py (the tags) and verl/utils/reward_score/med_seg.py (the line breaks, the range
from 0 to 1 with both ends, and `Termination`, which its reward expects where the system message
says `Terminate`; both are read). Their parser takes the first tags and searches within them; this
one accepts nothing but the three parts. The system message is in our own words; theirs can be
given as a part of `--prompt`. They have no form for boxes, scores or a missing object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from hlmat.transforms.core.records import Action, Answer, Click, Finish, InvalidAction
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.dialogues.think import reason_for

_SYSTEM = """\
You segment an object of an image by points. Without a mask, place a Positive Point on the object. \
With a mask, shown in half-transparent {colour}, place a Positive Point on a part of the object \
that it misses, or a Negative Point on a part that it wrongly covers. \
Answer with your reasoning in <think> tags, then one action in <action> tags: \
Positive Point (x, y) or Negative Point (x, y){finish}. \
Coordinates are {coordinates}, with four decimals."""
_FINISH = ", or Terminate once the mask fits, with a summary in <answer> tags after the action"
# No part contains a tag, so two actions are not one answer.
_PART = r"(?:(?!</?(?:think|action|answer)>).)*"
_ANSWER = re.compile(
    rf"\s*<think>{_PART}</think>\s*<action>(?P<action>{_PART})</action>\s*"
    rf"(?:<answer>{_PART}</answer>\s*)?",
    re.DOTALL,
)
_POINT = re.compile(r"(Positive|Negative) Point (\([^()]*\))")
_ENDS = ("Terminate", "Termination")


@dataclass(frozen=True)
class Ibis(Dialogue):
    """Reasoning and an action in tags."""

    name: ClassVar[str] = "ibis"
    codec: ClassVar[str] = "decimal_inclusive"
    digits: ClassVar[int] = 4
    has_own_codec: ClassVar[bool] = True
    says: ClassVar[frozenset[type]] = frozenset({Click, Finish})
    keeps_reasoning: ClassVar[bool] = True

    def prompt(self, offer: Offer) -> str:
        """Return instructions and the question.

        Raises:
            ValueError: a box is asked for.
        """
        if offer.box:
            raise ValueError("the dialogue ibis has no form for a box")
        system = _SYSTEM.replace("{finish}", _FINISH if offer.finish else "")
        return f"<image>\n{system}\n\nSegment this object: {{expression}}."

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write a reason and the action.

        Raises:
            ValueError: a box, a missing object, a score, or a point outside the image.
        """
        summary = ""
        match action:
            case Click(x, y, is_positive) if iou is None:
                label = "Positive" if is_positive else "Negative"
                said = f"{label} Point {codec.render(x, y, size_hw=size_hw)}"
            case Finish() if iou is None:
                said = _ENDS[0]
                summary = "\n<answer>\nThe mask covers the object.\n</answer>"
            case _:
                raise ValueError(
                    f"the dialogue ibis has no form for {action}"
                    f"{'' if iou is None else ' with a score'}"
                )
        thought = reason_for(action)
        return f"<think>\n{thought}\n</think>\n<action>\n{said}\n</action>{summary}"

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse an answer: reasoning, one action, and a summary at most."""
        try:
            action = _read(text, size_hw=size_hw, codec=codec)
        except ValueError as error:
            return Answer(text, InvalidAction(text, str(error)))
        return Answer(text, action)


def _read(text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Action:
    whole = _ANSWER.fullmatch(text)
    if whole is None:
        raise ValueError("not an answer: expected <think>...</think> and one <action>...</action>")
    said = whole["action"].strip()
    if said in _ENDS:
        return Finish()
    point = _POINT.fullmatch(said)
    if point is None:
        raise ValueError(
            f"the action {said[:60]!r}, expected Positive Point (x, y), Negative Point (x, y) or "
            f"{_ENDS[0]}"
        )
    x, y = codec.parse(point[2], size_hw=size_hw)
    return Click(x, y, is_positive=point[1] == "Positive")
