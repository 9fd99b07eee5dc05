"""The records that all packages share: frozen dataclasses of scalars and RLE, no pixels.

Coordinates are integer pixels from the top left corner, x to the right, y down. A mask array is
indexed ``mask[y, x]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class StopReason(StrEnum):
    """Why a trajectory ended.

    >>> StopReason("no_gain") is StopReason.NO_GAIN
    True
    """

    REACHED_IOU = "reached_iou"
    NO_GAIN = "no_gain"
    MAX_CLICKS = "max_clicks"
    NO_ERROR_LEFT = "no_error_left"
    FINISHED = "finished"
    NO_OBJECT = "no_object"
    REACHED_SCORE = "reached_score"
    INVALID_ACTION = "invalid_action"
    # In traces that others wrote, whose format has no place for the reason.
    UNRECORDED = "unrecorded"


class RejectReason(StrEnum):
    """Why a target gave no trajectory."""

    MISSING_IMAGE = "missing_image"
    MISSING_MASK = "missing_mask"
    MISSING_ANNOTATION = "missing_annotation"
    UNREADABLE_IMAGE = "unreadable_image"
    CHANGED_IMAGE = "changed_image"
    UNREADABLE_MASK = "unreadable_mask"
    MALFORMED_SEGMENTATION = "malformed_segmentation"
    MALFORMED_ENTRY = "malformed_entry"
    SIZE_MISMATCH = "size_mismatch"
    EMPTY_MASK = "empty_mask"
    AMBIGUOUS_MASK = "ambiguous_mask"
    CROWD = "crowd"
    DUPLICATE_ID = "duplicate_id"
    PATH_ESCAPES_ROOT = "path_escapes_root"
    OUTSIDE_AREA_FILTER = "outside_area_filter"
    TOO_LARGE = "too_large"
    SEGMENTER_FAILED = "segmenter_failed"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_CORRUPTIBLE = "not_corruptible"


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask as COCO compressed run lengths (column-major, the text form of pycocotools).

    Attributes:
        counts: the compressed counts as ASCII text.
        size_hw: (height, width) in pixels.

    >>> from hlmat import encode_mask
    >>> import numpy as np
    >>> encode_mask(np.ones((2, 3), dtype=bool))
    Rle(counts='06', size_hw=(2, 3))
    """

    counts: str
    size_hw: tuple[int, int]

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is in the mask: its only run is background."""
        # A character without this bit ends a number.
        return sum(not (ord(character) - 48) & 0x20 for character in self.counts) == 1


@dataclass(frozen=True, slots=True)
class Click:
    """A point given to the segmenter: inside the object (positive) or outside it.

    >>> Click(x=12, y=7, is_positive=True)
    Click(x=12, y=7, is_positive=True)
    """

    x: int
    y: int
    is_positive: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open rectangle: columns x0 to x1 - 1, rows y0 to y1 - 1.

    >>> Box(x0=2, y0=1, x1=6, y1=3)
    Box(x0=2, y0=1, x1=6, y1=3)
    """

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError(f"a box needs x0 < x1 and y0 < y1, got {self}")


@dataclass(frozen=True, slots=True)
class Finish:
    """The policy ends the trajectory; `reason` distinguishes "done" from "no error left".

    >>> Finish().reason.value
    'finished'
    """

    reason: StopReason = StopReason.FINISHED


@dataclass(frozen=True, slots=True)
class NoObject:
    """The image has no object of the expression: the trajectory ends with an empty mask.

    >>> NoObject()
    NoObject()
    """


@dataclass(frozen=True, slots=True)
class Undo:
    """Take back the last action of the policy that is in effect; the state before it returns.

    >>> Undo()
    Undo()
    """


@dataclass(frozen=True, slots=True)
class InvalidAction:
    """An answer that cannot be read as an action; never the same as a `Finish`.

    Attributes:
        text: what the policy answered, whole.
        problem: why it cannot be read.
    """

    text: str
    problem: str


Action = Click | Box | Undo | Finish | NoObject


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's text and the action parsed from it.

    Attributes:
        text: the answer, whole.
        action: the action, or why there is none.
        predicted_iou: the model's score of the mask it was shown, in [0, 1]; None if it gave none.
    """

    text: str
    action: Action | InvalidAction
    predicted_iou: float | None = None


@dataclass(frozen=True, slots=True)
class TargetRef:
    """A target by reference: what a reader lists on the driver, without opening any image.

    Attributes:
        target_id: unique within data set and split, the same in every run.
        dataset: the `--dataset` name of the part it belongs to.
        split: the data set's own name of the split.
        image_path: relative to the data root, with forward slashes.
        image_name: what others call the image (a file name, or the id as text).
        image_id: the COCO image id where the data set has one.
        object_id: index of the object within its image.
        expressions: texts that name the object; at least one.
        truth_ref: JSON text that the reader's `load_truth` understands.
        license: the terms of the data set.

    >>> from hlmat import open_dataset
    >>> ref = next(iter(open_dataset("shapes").read_targets()))
    >>> ref.dataset, ref.split, ref.object_id
    ('shapes', 'train', 0)
    """

    target_id: str
    dataset: str
    split: str
    image_path: str
    image_name: str
    image_id: int | None
    object_id: int
    expressions: tuple[str, ...]
    truth_ref: str
    license: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A target that gave no trajectory, with the reason and what replaying it needs.

    >>> from hlmat import open_dataset
    >>> entries = open_dataset("shapes").read_targets()
    >>> [entry.reason for entry in entries if isinstance(entry, Reject)]
    []
    """

    ref: TargetRef
    reason: RejectReason
    message: str


@dataclass(frozen=True, slots=True)
class Target:
    """One image, one ground-truth mask, its expressions.

    Attributes:
        ref: identity and where it came from.
        truth: the ground-truth mask at the image's full resolution; without a pixel only where the
            data set says that its expressions name nothing.
        ignore: pixels that count neither as object nor as background, or None.
        image_digest: of the image's pixels (`image_digest`), None if they were not read.

    >>> import numpy as np
    >>> from hlmat import build_target
    >>> build_target(np.ones((2, 3), dtype=bool), expressions=["all of it"]).ref.expressions
    ('all of it',)
    """

    ref: TargetRef
    truth: Rle
    ignore: Rle | None = None
    image_digest: str | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of image and masks in pixels."""
        return self.truth.size_hw


@dataclass(frozen=True, slots=True)
class Step:
    """One action and the segmenter's prediction for it.

    Attributes:
        action: the click, the box, or the undo of an earlier action.
        mask: the mask after the action.
        iou: IoU of that mask with the truth, ignored pixels left out, in [0, 1].
        gain: `iou` minus the IoU before the action (0 before the first).
        score: the segmenter's estimate of the mask's IoU, if it gives one; after an undo that of
            the mask that returned.
        is_initial: True for actions before the first state; they are not training samples.
        answer: the text of the model that chose the action; None where no model did.
        predicted_iou: the model's score of the mask *before* the action, if it gave one.

    >>> import numpy as np
    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter())
    >>> step = trajectory.steps[0]
    >>> step.action, step.iou, step.gain
    (Click(x=34, y=24, is_positive=True), 1.0, 1.0)
    """

    action: Click | Box | Undo
    mask: Rle
    iou: float
    gain: float
    score: float | None = None
    is_initial: bool = False
    answer: str | None = None
    predicted_iou: float | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a trajectory.

    Attributes:
        segmenter: name or dotted path.
        weights_sha256: hex digest of the segmenter's weights file; empty if it has none.
        policy: name of the click policy.
        seed: the run's seed.
        config_fingerprint: hex digest of everything that can change a result.
    """

    segmenter: str
    weights_sha256: str
    policy: str
    seed: int
    config_fingerprint: str


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A target and the ordered steps taken on it.

    Attributes:
        stop_detail: why an answer was invalid; None for every other reason.
        last_answer: the model's text that ended the trajectory without a step: a finish, an
            invalid answer, or a click that was not recorded; None otherwise.
        last_predicted_iou: the model's score of the last mask, if that text gave one.
        model_calls: questions that the model answered; None if not counted.
        decoder_calls: requests that the segmenter answered on the way, those included whose masks
            were not kept; None if not counted.
        initial_mask: what was there before the first step; None for an empty mask.
        initial_iou: IoU of that mask with the truth, ignored pixels left out; for an empty mask 0,
            and 1 where the truth is empty as well.

    >>> import numpy as np
    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter())
    >>> trajectory.num_clicks, trajectory.final_iou, trajectory.stop_reason.value
    (1, 1.0, 'reached_iou')
    """

    target: Target
    steps: tuple[Step, ...]
    stop_reason: StopReason
    provenance: Provenance
    stop_detail: str | None = None
    last_answer: str | None = None
    last_predicted_iou: float | None = None
    model_calls: int | None = None
    decoder_calls: int | None = None
    initial_mask: Rle | None = None
    initial_iou: float = 0.0

    @property
    def last_mask(self) -> Rle | None:
        """The mask that the trajectory ends with; None means an empty mask, as of no object."""
        if self.stop_reason is StopReason.NO_OBJECT:
            return None
        return self.mask_before(len(self.steps))

    @property
    def final_iou(self) -> float:
        """IoU of the last mask; 0 without steps and initial mask."""
        if self.stop_reason is StopReason.NO_OBJECT:
            return float(self.target.truth.is_empty)
        return self.iou_before(len(self.steps))

    @property
    def num_clicks(self) -> int:
        """How many steps the policy chose: clicks, and boxes and undos between them."""
        return sum(not step.is_initial for step in self.steps)

    def mask_before(self, index: int) -> Rle | None:
        """Return the mask that step `index` saw; None means an empty mask."""
        return self.steps[index - 1].mask if index > 0 else self.initial_mask

    def clicks_before(self, index: int) -> tuple[Click, ...]:
        """Return the clicks that the mask before step `index` comes from, oldest first."""
        actions = actions_in_effect(step.action for step in self.steps[:index])
        return tuple(action for action in actions if isinstance(action, Click))

    def iou_before(self, index: int) -> float:
        """Return the IoU of the mask that step `index` saw; 0 for an empty start."""
        return self.steps[index - 1].iou if index > 0 else self.initial_iou


def actions_in_effect(actions: Iterable[Click | Box | Undo]) -> tuple[Click | Box, ...]:
    """Return the actions that no later `Undo` took back, oldest first.

    Raises:
        ValueError: an undo with nothing before it.

    >>> actions_in_effect([Click(1, 2, True), Click(3, 4, False), Undo()])
    (Click(x=1, y=2, is_positive=True),)
    """
    left: list[Click | Box] = []
    for action in actions:
        if not isinstance(action, Undo):
            left.append(action)
        elif left:
            left.pop()
        else:
            raise ValueError("an undo with no action before it")
    return tuple(left)
