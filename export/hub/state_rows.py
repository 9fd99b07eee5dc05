"""The table `states`: one row per state in which an action was chosen, with its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hlmat.export.image_tables.features import IMAGE_TYPE, image_schema
from hlmat.export.image_tables.row_images import RowImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, shown_before
from hlmat.export.llama_factory.tasks.next_click import Decision, decision_turn, decisions
from hlmat.transforms.core.records import Box, Click, Finish, NoObject, Trajectory, Undo
from hlmat.transforms.dataset_io.arrow import target_ref_to_row
from hlmat.transforms.prompting.templates import IMAGE_MARK

_TEXT = pa.string()

COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("image", IMAGE_TYPE, "the image; null where it may not be published"),
    ("state", IMAGE_TYPE, "the image with the current mask over it, as a model sees it; or null"),
    ("mask", IMAGE_TYPE, "the current mask: white is the object"),
    ("truth", IMAGE_TYPE, "the ground-truth mask: white is the object"),
    ("expressions", pa.list_(_TEXT), "texts that name the object"),
    ("prompt", _TEXT, "the question about the first expression, to ask with `state`"),
    ("answer", _TEXT, "the action as a model's answer"),
    ("action", _TEXT, "`positive`, `negative` (clicks), `box`, `undo`, `finish` or `no_object`"),
    ("x", pa.int32(), "column of the click in `image`, null without a click"),
    ("y", pa.int32(), "row of the click in `image`, null without a click"),
    ("iou", pa.float64(), "IoU of `mask` with the truth, ignored pixels left out"),
    ("gain", pa.float64(), "IoU after the action minus `iou`, null for an end"),
    ("step", pa.int32(), "index of the state in its trajectory, from 0"),
    ("target_id", _TEXT, "the same as in the table `trajectories`"),
    ("dataset", _TEXT, "where image, expressions and truth come from"),
    ("source_split", _TEXT, "that data set's own name of the split"),
    ("image_path", _TEXT, "the image's file, relative to the root of that data set"),
    ("image_digest", _TEXT, "digest of the image's pixels, null if unknown"),
    ("height", pa.int32(), "pixels, of image and masks"),
    ("width", pa.int32(), "pixels, of image and masks"),
    ("policy", _TEXT, "what chose the action"),
    ("segmenter", _TEXT, "what made the masks"),
    ("license", _TEXT, "the terms of that data set"),
)
"""Name, type and meaning of each column."""


@dataclass(frozen=True)
class StateRows:
    """The rows of the table `states`.

    Attributes:
        options: the conversation, and how states are drawn.
        published: data sets whose images are included.
        terms: the license that rows name in the place of another, by data set and the latter.
    """

    options: LlamaFactoryOptions
    published: frozenset[str]
    terms: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return image_schema(pa.field(name, kind) for name, kind, _ in COLUMNS)

    def rows(self, case: Case, images: RowImages) -> Iterator[dict[str, Any]]:
        """Yield a row for each decision of a target's policy. Raises TargetError."""
        trajectory = case.trajectory
        target, ref = trajectory.target, trajectory.target.ref
        turn_format = self.options.seen_turn_format
        is_published = ref.dataset in self.published
        stored = target_ref_to_row(ref)
        truth = images.mask(target.truth, target.size_hw)
        license = self.terms.get((ref.dataset, ref.license), stored["license"])
        for decision in decisions(trajectory, turn_format.offer):
            turn = decision_turn(trajectory, decision, turn_format)
            shown = shown_before(trajectory, decision.step).mask
            yield {
                "image": images.plain(target) if is_published else None,
                "state": images.state(target, shown) if is_published else None,
                "mask": images.mask(shown, target.size_hw),
                "truth": truth,
                "expressions": stored["expressions"],
                "prompt": _without_mark(turn_format.question(stored["expressions"][0])),
                "answer": turn.answer,
                **_action(decision),
                "iou": decision.iou,
                "gain": _gain(trajectory, decision),
                "step": decision.step,
                "target_id": stored["target_id"],
                "dataset": stored["dataset"],
                "source_split": stored["split"],
                "image_path": stored["image_path"],
                "image_digest": target.image_digest,
                "height": target.size_hw[0],
                "width": target.size_hw[1],
                "policy": trajectory.provenance.policy,
                "segmenter": trajectory.provenance.segmenter,
                "license": license,
            }


def _without_mark(question: str) -> str:
    return question.replace(IMAGE_MARK, "").strip()


def _action(decision: Decision) -> dict[str, Any]:
    match decision.action:
        case Click(x, y, is_positive):
            return {"action": "positive" if is_positive else "negative", "x": x, "y": y}
        case Box():
            said = "box"
        case Undo():
            said = "undo"
        case Finish():
            said = "finish"
        case NoObject():
            said = "no_object"
    return {"action": said, "x": None, "y": None}


def _gain(trajectory: Trajectory, decision: Decision) -> float | None:
    is_step = decision.step < len(trajectory.steps)
    return trajectory.steps[decision.step].gain if is_step else None
