"""The dialogue `segagent`: one line with a point, a box or the end, after SegAgent.

``Positive point: (a, b)``, ``Negative point: (a, b)``, ``Box: (a, b), (c, d)``, ``Finish`` or
``No object``, with ``Current IOU: 85.2, `` before it where the model scores the mask it is shown.
The points and the score are those of SegAgent (arXiv 2503.08625) and its code; the box, the end and
the missing object are additions.
"""

from __future__ import annotations

import re
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
from hlmat.transforms.prompting.bare_answer import bare_answer
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.predicted_iou import join_predicted_iou, split_predicted_iou
from hlmat.transforms.prompting.templates import FIRST_BOX_TEXT, NEXT_CLICK_TEXT

_FINISH = "Finish"
_NO_OBJECT = "No object"
_POINT = re.compile(r"(Positive|Negative) point: (\([^()]*\))")
_BOX = re.compile(r"Box: (\([^()]*\)), (\([^()]*\))")

NO_OBJECT_HINT = f" If the image has no such object, answer: {_NO_OBJECT}."


@dataclass(frozen=True)
class SegAgent(Dialogue):
    """The project's own form."""

    name: ClassVar[str] = "segagent"
    says: ClassVar[frozenset[type]] = frozenset({Click, Box, Finish, NoObject})
    has_score: ClassVar[bool] = True

    def prompt(self, offer: Offer) -> str:
        """Return the question for a click or a box."""
        text = FIRST_BOX_TEXT if offer.box else NEXT_CLICK_TEXT
        return text + NO_OBJECT_HINT if offer.no_object else text

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write an action, after the IoU of the mask shown if one is given."""
        return render_action(action, size_hw=size_hw, codec=codec, iou=iou)

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse an answer; see `parse_action`."""
        return parse_action(text, size_hw=size_hw, codec=codec)


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
        case NoObject():
            return _NO_OBJECT
        case Undo():
            raise ValueError("the dialogue segagent has no form for an undo")


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
    if text == _NO_OBJECT:
        return NoObject()
    if (point := _POINT.fullmatch(text)) is not None:
        x, y = codec.parse(point[2], size_hw=size_hw)
        return Click(x, y, is_positive=point[1] == "Positive")
    if (box := _BOX.fullmatch(text)) is not None:
        x0, y0 = codec.parse(box[1], size_hw=size_hw)
        x1, y1 = codec.parse(box[2], size_hw=size_hw)
        return Box(x0, y0, x1 + 1, y1 + 1)
    raise ValueError("not an action: expected a point, a box or Finish")
