"""The dialogue `tools`: each action is the call of a function.

`add_point`, `add_box`, `undo`, `stop` and `report_no_object`, those of them that the conversation
offers.
In text a call is ``<tool_call>`` with a JSON object, as in the chat templates of Qwen2.5 and Qwen3;
through a server's own interface it is an entry of `tool_calls`, as OpenAI defines it. The functions
are the project's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

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
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Message, Offer
from hlmat.transforms.prompting.dialogues.strict_json import (
    expect_keys,
    parse_corners,
    parse_point,
    shown,
)
from hlmat.transforms.prompting.dialogues.tool_calls import (
    function_entry,
    json_numbers,
    parse_tool_call,
    tool_call_text,
)

_CLICK = """\
<image>
Segment this object: {expression}. The present mask is shown in half-transparent {colour}. \
Call the function that improves it. Points are {coordinates}."""
_BOX = """\
<image>
Locate this object: {expression}. Call the function that draws its box. \
The corners of boxes are {coordinates}."""

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_LABELS = ("positive", "negative")
_ADD_POINT = function_entry(
    "add_point",
    "Click on a part of the object that the mask misses (positive), or on a part of the mask that "
    "is not the object (negative).",
    point_2d={**_NUMBERS, "minItems": 2, "maxItems": 2, "description": "[x, y]"},
    label={"type": "string", "enum": list(_LABELS)},
)
_ADD_BOX = function_entry(
    "add_box",
    "Draw the box of the object.",
    bbox_2d={**_NUMBERS, "minItems": 4, "maxItems": 4, "description": "[x0, y0, x1, y1]"},
)
_UNDO = function_entry(
    "undo", "Take the last action back: mask and clicks are again those before it."
)
_STOP = function_entry("stop", "The mask is right as it is.")
_NO_OBJECT = function_entry("report_no_object", "The image has no such object.")
_NAMES = ("add_point", "add_box", "undo", "stop", "report_no_object")


@dataclass(frozen=True)
class Tools(Dialogue):
    """Calls of functions."""

    name: ClassVar[str] = "tools"
    codec: ClassVar[str] = "zero_to_1000"
    says: ClassVar[frozenset[type]] = frozenset({Click, Box, Undo, Finish, NoObject})
    edits: ClassVar[frozenset[type]] = frozenset({Undo, Box})

    def prompt(self, offer: Offer) -> str:
        """Return the question for a click or a box; the functions are declared apart from it."""
        return _BOX if offer.box else _CLICK

    def functions(self, offer: Offer) -> str:
        """Return the functions that the conversation offers."""
        entries = [_ADD_BOX if offer.box else _ADD_POINT]
        if not offer.box:
            entries += [_ADD_BOX] * offer.add_box + [_UNDO] * offer.undo
        entries += [_STOP] if offer.finish and not offer.box else []
        entries += [_NO_OBJECT] if offer.no_object else []
        return json.dumps(entries)

    def message(self, answer: str) -> Message:
        """Return a call as LLaMA-Factory's role for it, which writes it as its template does."""
        if not answer.startswith("<tool_call>"):
            return Message("assistant", answer)
        inner = answer.removeprefix("<tool_call>").removesuffix("</tool_call>").strip()
        return Message("function_call", inner)

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write a call as text.

        Raises:
            ValueError: a score, or a point outside the image.
        """
        if iou is not None:
            raise ValueError("the dialogue tools has no form for scores")
        match action:
            case Click(x, y, is_positive):
                point = json_numbers(codec, (x, y), size_hw=size_hw)
                label = _LABELS[0] if is_positive else _LABELS[1]
                return tool_call_text("add_point", f'{{"point_2d": {point}, "label": "{label}"}}')
            case Box(x0, y0, x1, y1):
                # The corners written are the first and the last pixel inside.
                box = json_numbers(codec, (x0, y0), (x1 - 1, y1 - 1), size_hw=size_hw)
                return tool_call_text("add_box", f'{{"bbox_2d": {box}}}')
            case Undo():
                return tool_call_text("undo", "{}")
            case Finish():
                return tool_call_text("stop", "{}")
            case NoObject():
                return tool_call_text("report_no_object", "{}")

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse the one call in an answer."""
        try:
            name, arguments = parse_tool_call(text)
            action = _action(name, arguments, size_hw=size_hw, codec=codec)
        except ValueError as error:
            return Answer(text, InvalidAction(text, str(error)))
        return Answer(text, action)


def _action(
    name: str, arguments: Any, *, size_hw: tuple[int, int], codec: CoordinateCodec
) -> Action:
    match name:
        case "add_point":
            given = expect_keys(arguments, "point_2d", "label")
            if given["label"] not in _LABELS:
                raise ValueError(f"the label {shown(given['label'])}, expected one of {_LABELS}")
            x, y = parse_point(given["point_2d"], size_hw=size_hw, codec=codec)
            return Click(x, y, is_positive=given["label"] == _LABELS[0])
        case "add_box":
            corners = expect_keys(arguments, "bbox_2d")["bbox_2d"]
            x0, y0, x1, y1 = parse_corners(corners, size_hw=size_hw, codec=codec)
            return Box(x0, y0, x1 + 1, y1 + 1)
        case "stop":
            expect_keys(arguments)
            return Finish()
        case "report_no_object":
            expect_keys(arguments)
            return NoObject()
        case "undo":
            expect_keys(arguments)
            return Undo()
        case _:
            raise ValueError(f"the function {shown(name)}, expected one of {', '.join(_NAMES)}")
