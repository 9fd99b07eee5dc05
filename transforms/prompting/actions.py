"""Render actions as a model's text and parse them back, strictly.

``Positive point: (a, b)``, ``Negative point: (a, b)``, ``Box: (a, b), (c, d)`` or ``Finish``,
with ``Current IOU: 85.2, `` before it where the model scores the mask it is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hlmat.transforms.core.records import Action, Answer, Box, Click, Finish, InvalidAction
from hlmat.transforms.prompting.bare_answer import bare_answer
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.options import DEFAULT_COLOUR
from hlmat.transforms.prompting.predicted_iou import join_predicted_iou, split_predicted_iou
from hlmat.transforms.prompting.templates import PromptTemplate, next_click_prompt

_FINISH = "Finish"
_POINT = re.compile(r"(Positive|Negative) point: (\([^()]*\))")
_BOX = re.compile(r"Box: (\([^()]*\)), (\([^()]*\))")


def render_action(
    action: Action, *, size_hw: tuple[int, int], codec: CoordinateCodec, iou: float | None = None
) -> str:
    """Write an action, after the IoU of the mask before it if one is given.

    Args:
        action: what to write.
        size_hw: (height, width) of the image.
        codec: how coordinates are written.
        iou: in [0, 1]; written in percent with one decimal.

    Raises:
        ValueError: a point outside the image, or an IoU outside [0, 1].

    >>> from hlmat.transforms.prompting.coordinates import build_codec
    >>> codec = build_codec("thousandths")
    >>> render_action(Click(320, 120, True), size_hw=(480, 640), codec=codec, iou=0.852)
    'Current IOU: 85.2, Positive point: (500, 251)'
    """
    return join_predicted_iou(iou, _written(action, size_hw=size_hw, codec=codec))


def _written(action: Action, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> str:
    match action:
        case Click(x, y, is_positive):
            label = "Positive" if is_positive else "Negative"
            return f"{label} point: {codec.render(x, y, size_hw=size_hw)}"
        case Box(x0, y0, x1, y1):
            # The corners written are the first and the last pixel inside.
            first = codec.render(x0, y0, size_hw=size_hw)
            last = codec.render(x1 - 1, y1 - 1, size_hw=size_hw)
            return f"Box: {first}, {last}"
        case Finish():
            return _FINISH


def parse_action(text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
    """Parse an answer; never raises.

    What `bare_answer` leaves out may stand around the action. Anything else that is not exactly one
    action becomes an `InvalidAction` that keeps the text.

    >>> from hlmat.transforms.prompting.coordinates import build_codec
    >>> parse_action("I am done.", size_hw=(480, 640), codec=build_codec("thousandths")).action
    InvalidAction(text='I am done.', problem='not an action: expected a point, a box or Finish')
    """
    predicted_iou = None
    try:
        predicted_iou, rest = split_predicted_iou(bare_answer(text))
        action = _read_action(rest, size_hw=size_hw, codec=codec)
    except ValueError as error:
        return Answer(text, InvalidAction(text, str(error)), predicted_iou)
    return Answer(text, action, predicted_iou)


def _read_action(text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Action:
    if text == _FINISH:
        return Finish()
    if (point := _POINT.fullmatch(text)) is not None:
        x, y = codec.parse(point[2], size_hw=size_hw)
        return Click(x, y, is_positive=point[1] == "Positive")
    if (box := _BOX.fullmatch(text)) is not None:
        x0, y0 = codec.parse(box[1], size_hw=size_hw)
        x1, y1 = codec.parse(box[2], size_hw=size_hw)
        return Box(x0, y0, x1 + 1, y1 + 1)
    raise ValueError("not an action: expected a point, a box or Finish")


@dataclass(frozen=True)
class TurnFormat:
    """How a turn is written: the question that a model is asked, and its answer.

    Attributes:
        codec: how coordinates are written.
        prompt: the template of the question.
        colour: the colour of the mask in the images, as the prompt names it.
        with_score: the answer begins with the IoU of the mask shown.
        with_finish: `Finish` is among the actions.
    """

    codec: CoordinateCodec
    prompt: PromptTemplate = field(default_factory=next_click_prompt)
    colour: str = DEFAULT_COLOUR
    with_score: bool = False
    with_finish: bool = False

    def question(self, expression: str) -> str:
        """Return what the model is asked about an expression."""
        return self.prompt.render(
            expression=expression, colour=self.colour, coordinates=self.codec.description
        )

    def answer(self, action: Action, *, size_hw: tuple[int, int], iou: float | None = None) -> str:
        """Return the text that the model should write.

        Args:
            action: what to do.
            size_hw: (height, width) of the image.
            iou: IoU of the mask shown, in [0, 1]; written only where answers carry a score.

        Raises:
            ValueError: `Finish` is not among the actions, the IoU is missing, or `render_action`
                rejects the action.
        """
        if isinstance(action, Finish) and not self.with_finish:
            raise ValueError(f"{_FINISH} is not among the actions of this conversation")
        if self.with_score and iou is None:
            raise ValueError("this conversation scores the mask shown, so its answers need the IoU")
        return render_action(
            action, size_hw=size_hw, codec=self.codec, iou=iou if self.with_score else None
        )

    def read(self, text: str, *, size_hw: tuple[int, int]) -> Answer:
        """Parse an answer; never raises. `Finish` is invalid unless it is among the actions."""
        parsed = parse_action(text, size_hw=size_hw, codec=self.codec)
        if isinstance(parsed.action, Finish) and not self.with_finish:
            problem = f"{_FINISH} is not among the actions of this conversation"
            return Answer(text, InvalidAction(text, problem), parsed.predicted_iou)
        return parsed
