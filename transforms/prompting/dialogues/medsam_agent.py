"""The dialogue `medsam-agent`: calls of functions, after MedSAM-Agent.

``<tool_call>`` with `add_point` (`point_2d`, `point_type` positive or negative), `add_bbox`
(`bbox_2d`) or `stop_action`, in whole numbers from 0 to 999. Source: the authors' code,
CUHK-AIM-Group/MedSAM-Agent, infer/models/model_loader.py (names, parameters, range and the two
questions), as mirrored in xiaod83/MedSAM-Agent. Differences: each state is a question of its own
where they keep the conversation; instructions and descriptions are in our own words, and theirs can
be given by `--prompt`; a box is drawn at the start (`--initial-action policy-box`), or beside the
clicks with `--add-box`; their parser repairs quotes and takes older names of the functions, this
one does not. They have no form for scores or a missing object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from hlmat.transforms.core.records import Action, Answer, Box, Click, Finish, InvalidAction
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
from hlmat.transforms.prompting.dialogues.tools import Tools

_CLICK = """\
<image>
The target to be segmented is: {expression}. The present mask is shown in half-transparent \
{colour}. Call one function to improve it. Coordinates are {coordinates}."""
_BOX = """\
<image>
The target to be segmented is: {expression}. Call one function to draw its box. \
Coordinates are {coordinates}."""

_NUMBERS = {"type": "array", "items": {"type": "integer"}}
_TYPES = ("positive", "negative")
_ADD_POINT = function_entry(
    "add_point",
    "Add a point: positive to include a region, negative to exclude one.",
    point_2d={**_NUMBERS, "minItems": 2, "maxItems": 2, "description": "[x, y]"},
    point_type={"type": "string", "enum": list(_TYPES)},
)
_ADD_BBOX = function_entry(
    "add_bbox",
    "Add the box of the target.",
    bbox_2d={**_NUMBERS, "minItems": 4, "maxItems": 4, "description": "[x1, y1, x2, y2]"},
)
_STOP = function_entry("stop_action", "Stop: the mask covers the target.")


@dataclass(frozen=True)
class MedSamAgent(Dialogue):
    """Calls of functions with MedSAM-Agent's names."""

    name: ClassVar[str] = "medsam-agent"
    codec: ClassVar[str] = "thousandths_inclusive"
    has_own_codec: ClassVar[bool] = True
    says: ClassVar[frozenset[type]] = frozenset({Click, Box, Finish})
    edits: ClassVar[frozenset[type]] = frozenset({Box})

    def prompt(self, offer: Offer) -> str:
        """Return the question for a click or a box; the functions are declared apart from it."""
        return _BOX if offer.box else _CLICK

    def functions(self, offer: Offer) -> str:
        """Return the functions that the conversation offers."""
        entries = [_ADD_BBOX if offer.box else _ADD_POINT]
        entries += [_ADD_BBOX] if offer.add_box and not offer.box else []
        return json.dumps(entries + ([_STOP] if offer.finish and not offer.box else []))

    def message(self, answer: str) -> Message:
        """Return a call as LLaMA-Factory's role for it."""
        return Tools().message(answer)

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
            ValueError: a missing object, a score, or a point outside the image.
        """
        match action:
            case Click(x, y, is_positive) if iou is None:
                point = json_numbers(codec, (x, y), size_hw=size_hw)
                kind = _TYPES[0] if is_positive else _TYPES[1]
                arguments = f'{{"point_2d": {point}, "point_type": "{kind}"}}'
                return tool_call_text("add_point", arguments)
            case Box(x0, y0, x1, y1) if iou is None:
                box = json_numbers(codec, (x0, y0), (x1 - 1, y1 - 1), size_hw=size_hw)
                return tool_call_text("add_bbox", f'{{"bbox_2d": {box}}}')
            case Finish() if iou is None:
                return tool_call_text("stop_action", "{}")
            case _:
                raise ValueError(
                    f"the dialogue medsam-agent has no form for {action}"
                    f"{'' if iou is None else ' with a score'}"
                )

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
            given = expect_keys(arguments, "point_2d", "point_type")
            kind = given["point_type"]
            if kind not in _TYPES:
                raise ValueError(f"the point_type {shown(kind)}, expected one of {_TYPES}")
            x, y = parse_point(given["point_2d"], size_hw=size_hw, codec=codec)
            return Click(x, y, is_positive=kind == _TYPES[0])
        case "add_bbox":
            corners = expect_keys(arguments, "bbox_2d")["bbox_2d"]
            x0, y0, x1, y1 = parse_corners(corners, size_hw=size_hw, codec=codec)
            return Box(x0, y0, x1 + 1, y1 + 1)
        case "stop_action":
            expect_keys(arguments)
            return Finish()
        case _:
            raise ValueError(
                f"the function {shown(name)}, expected add_point, add_bbox or stop_action"
            )
