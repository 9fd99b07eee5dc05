"""The dialogue `json-point`: a JSON list with one labelled point, after Qwen2.5-VL and Qwen3-VL.

``[{"point_2d": [x, y], "label": "positive"}]`` or ``"negative"``, and for a box
``[{"bbox_2d": [x0, y0, x1, y1], "label": "object"}]``. The keys, the list and the code fence around
it are those of the grounding examples that Qwen publishes (QwenLM/Qwen3-VL: its cookbook
2d_grounding and the data format of qwen-vl-finetune), whose `label` names the object. The labels
here, the end ``[{"label": "finish"}]`` and the missing object ``[{"label": "no object"}]`` are
additions. Qwen3-VL counts from 0 to 1000, Qwen2.5-VL in pixels of the resized image.
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
from hlmat.transforms.prompting.bare_answer import bare_answer
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.dialogues.strict_json import (
    NumberText,
    expect_keys,
    parse_corners,
    parse_point,
    parse_strict_json,
    shown,
)

_CLICK = """\
<image>
Segment this object: {expression}. The present mask is shown in half-transparent {colour}. \
Locate the next click that improves it, and report it in JSON format: \
[{"point_2d": [x, y], "label": "positive"}] for a part of the object that the mask misses, \
"negative" for a part of the mask that is not the object. Points are {coordinates}."""
_FINISH = """ If the mask is right as it is, report [{"label": "finish"}]."""
_NO_OBJECT = """ If the image has no such object, report [{"label": "no object"}]."""
_BOX = """\
<image>
Locate this object: {expression}. Report its box in JSON format: \
[{"bbox_2d": [x0, y0, x1, y1], "label": "object"}]. \
Its corners, the top left and the bottom right one, are {coordinates}."""

_ENDS = ("finish", "no object")
_EXPECTED = '[{"point_2d": [x, y], "label": "positive" or "negative"}]'


@dataclass(frozen=True)
class JsonPoint(Dialogue):
    """A JSON list with one point, box or word."""

    name: ClassVar[str] = "json-point"
    codec: ClassVar[str] = "zero_to_1000"
    says: ClassVar[frozenset[type]] = frozenset({Click, Box, Finish, NoObject})

    def prompt(self, offer: Offer) -> str:
        """Return the question for a click or a box."""
        text = _BOX if offer.box else _CLICK
        text += _FINISH if offer.finish and not offer.box else ""
        return text + (_NO_OBJECT if offer.no_object else "")

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write an action; there is no form for scores.

        Raises:
            ValueError: a score, or a point outside the image.
        """
        if iou is not None:
            raise ValueError("the dialogue json-point has no form for scores")
        return f"[{_written(action, size_hw=size_hw, codec=codec)}]"

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse an answer; what `bare_answer` leaves out may stand around the list."""
        try:
            action = _read(parse_strict_json(bare_answer(text)), size_hw=size_hw, codec=codec)
        except ValueError as error:
            return Answer(text, InvalidAction(text, str(error)))
        return Answer(text, action)


def _written(action: Action, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> str:
    match action:
        case Click(x, y, is_positive):
            label = "positive" if is_positive else "negative"
            first, second = codec.numbers(x, y, size_hw=size_hw)
            return f'{{"point_2d": [{first}, {second}], "label": "{label}"}}'
        case Box(x0, y0, x1, y1):
            # The corners written are the first and the last pixel inside.
            corners = [
                *codec.numbers(x0, y0, size_hw=size_hw),
                *codec.numbers(x1 - 1, y1 - 1, size_hw=size_hw),
            ]
            return f'{{"bbox_2d": [{", ".join(corners)}], "label": "object"}}'
        case Finish():
            return json.dumps({"label": _ENDS[0]})
        case NoObject():
            return json.dumps({"label": _ENDS[1]})
        case Undo():
            raise ValueError("the dialogue json-point has no form for an undo")


def _read(content: Any, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Action:
    if not isinstance(content, list):
        raise ValueError(f"got {shown(content)}, expected a list: {_EXPECTED}")
    if len(content) != 1:
        raise ValueError(f"a list of {len(content)} entries, expected one: {_EXPECTED}")
    entry = content[0]
    label = entry.get("label") if isinstance(entry, dict) else None
    if isinstance(entry, dict) and "bbox_2d" in entry:
        corners = expect_keys(entry, "bbox_2d", "label")["bbox_2d"]
        if not isinstance(label, str) or isinstance(label, NumberText) or label in _ENDS:
            raise ValueError(f"a box with the label {shown(label)}, expected the object's name")
        x0, y0, x1, y1 = parse_corners(corners, size_hw=size_hw, codec=codec)
        return Box(x0, y0, x1 + 1, y1 + 1)
    if label in _ENDS and "point_2d" not in entry:
        expect_keys(entry, "label")
        return Finish() if label == _ENDS[0] else NoObject()
    point = expect_keys(entry, "point_2d", "label")["point_2d"]
    if label not in ("positive", "negative"):
        raise ValueError(f"the label {shown(label)}, expected positive or negative")
    x, y = parse_point(point, size_hw=size_hw, codec=codec)
    return Click(x, y, is_positive=label == "positive")
