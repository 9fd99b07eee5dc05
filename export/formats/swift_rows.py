"""Rows for ms-swift: messages, images, and the objects that its grounding format names.

https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hlmat.export.image_tables.features import IMAGE_TYPE
from hlmat.export.image_tables.row_images import RowImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.rows import FUNCTION_CALL
from hlmat.export.llama_factory.samples import Case, answer_message, shown_before
from hlmat.export.llama_factory.tasks.next_click import Decision, decision_turn, decisions
from hlmat.transforms.core.records import Click
from hlmat.transforms.dataset_io.arrow import target_ref_to_row

_TEXT = pa.string()
_OBJECTS = pa.struct(
    [
        ("ref", pa.list_(_TEXT)),
        ("bbox", pa.list_(pa.list_(pa.float64()))),
        ("bbox_type", _TEXT),
    ]
)
REF, BOX = "<ref-object>", "<bbox>"
"""Marks that ms-swift replaces by a text of `objects.ref` and a place of `objects.bbox`."""

IN_WORDS = "written as for grounding"
"""What the question says of coordinates, which ms-swift writes as the model's family does."""


@dataclass(frozen=True)
class SwiftRows:
    """Rows for ms-swift's `--dataset`: a state, the question, and the action as the answer.

    Attributes:
        options: the conversation, and how states are drawn.
        is_grounding: ms-swift writes coordinates, in the form of the model that is trained;
            otherwise they are written as the conversation says, and there are no objects.
    """

    options: LlamaFactoryOptions
    is_grounding: bool

    @property
    def schema(self) -> pa.Schema:
        """The columns; images stay files' content, as ms-swift takes them."""
        columns = {
            "messages": pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)])),
            "images": pa.list_(IMAGE_TYPE),
            **({"objects": _OBJECTS} if self.is_grounding else {"tools": _TEXT}),
            "target_id": _TEXT,
        }
        return pa.schema([pa.field(name, kind) for name, kind in columns.items()])

    def rows(self, case: Case, images: RowImages) -> Iterator[dict[str, Any]]:
        """Yield a row for each decision and expression of a target. Raises TargetError."""
        target, turn_format = case.trajectory.target, self.options.seen_turn_format
        stored = target_ref_to_row(target.ref)
        texts = stored["expressions"]
        for decision in decisions(case.trajectory, turn_format.offer):
            image = images.state(target, shown_before(case.trajectory, decision.step).mask)
            for text in texts[:1] if self.options.expressions == "first" else texts:
                made = self._grounded if self.is_grounding else self._written
                row = made(case, decision, text)
                yield {**row, "images": [image], "target_id": stored["target_id"]}

    def _grounded(self, case: Case, decision: Decision, text: str) -> dict[str, Any]:
        turn_format = self.options.seen_turn_format
        question = turn_format.prompt.render(
            expression=REF, colour=turn_format.colour, coordinates=IN_WORDS
        )
        answer = decision_turn(case.trajectory, decision, turn_format).answer or ""
        boxes: list[list[float]] = []
        if isinstance(decision.action, Click):
            size_hw, click = case.trajectory.target.size_hw, decision.action
            written = turn_format.codec.render(click.x, click.y, size_hw=size_hw)
            answer = answer.replace(written, BOX)
            boxes = [_shown_at(click, size_hw=size_hw, shown_hw=self.options.view.reduced(size_hw))]
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        objects = {"ref": [text], "bbox": boxes, "bbox_type": "real"}
        return {"messages": _after(turn_format.system, messages), "objects": objects}

    def _written(self, case: Case, decision: Decision, text: str) -> dict[str, Any]:
        turn_format = self.options.seen_turn_format
        turn = decision_turn(case.trajectory, decision, turn_format)
        answer = answer_message(turn.answer or "", turn_format)
        if answer["role"] == FUNCTION_CALL:
            answer["role"] = "tool_call"
        messages = [{"role": "user", "content": turn_format.question(text)}, answer]
        tools = turn_format.functions or None
        return {"messages": _after(turn_format.system, messages), "tools": tools}


def _after(system: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return [*([{"role": "system", "content": system}] if system else []), *messages]


def _shown_at(click: Click, *, size_hw: tuple[int, int], shown_hw: tuple[int, int]) -> list[float]:
    """Return where the middle of a pixel is in the image as it is stored: x, y in pixels."""
    if size_hw == shown_hw:
        return [float(click.x), float(click.y)]
    (height, width), (shown_height, shown_width) = size_hw, shown_hw
    x, y = (click.x + 0.5) * shown_width / width, (click.y + 0.5) * shown_height / height
    return [round(x - 0.5, 3), round(y - 0.5, 3)]
