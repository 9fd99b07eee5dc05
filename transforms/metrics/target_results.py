"""What each target adds to the figures of a run: its rollout, the chosen mask and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from hlmat.transforms.core.image_identity import image_key
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Rle, StopReason, Trajectory, Undo
from hlmat.transforms.masks.rle import decode_rle, mask_iou, rle_area, rle_overlap
from hlmat.transforms.prompting.predicted_iou import last_predicted_iou

StepChoice = Literal["last", "best-scored"] | int
"""Which mask of a rollout is its prediction; a number counts the policy's clicks from 1."""


@dataclass(frozen=True)
class RolledOut:
    """The masks of one rollout and the model's scores of them.

    Attributes:
        target_id: unique among the rollouts of a run.
        image: a label that all targets of the image share; intervals resample images.
        truth: the true mask.
        ignore: pixels that count neither as object nor as background, or None.
        masks: after each step of any kind; of the truth's size.
        predicted_ious: for each step, the model's score of the mask *before* it, or None.
        last_predicted_iou: the model's score of the last mask, or None.
        first_click: how many steps come before the policy's first action.
        stop_reason: why it ended, if known.
        initial_mask: the mask before the first step, or None for an empty mask.
        ious: as the rollout recorded them, before the first step and after each; None to compute
            them from the masks.
        model_calls: questions that the model answered; None if not counted.
        decoder_calls: requests that the segmenter answered; None if not counted.
        undos: steps that took an earlier one back, for which the segmenter was not asked.
    """

    target_id: str
    image: str
    truth: Rle
    ignore: Rle | None
    masks: tuple[Rle, ...]
    predicted_ious: tuple[float | None, ...]
    last_predicted_iou: float | None
    first_click: int = 0
    stop_reason: StopReason | None = None
    initial_mask: Rle | None = None
    ious: tuple[float, ...] | None = None
    model_calls: int | None = None
    decoder_calls: int | None = None
    undos: int = 0

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The model's score of the mask before the first step, then of each of `masks`."""
        return (*self.predicted_ious, self.last_predicted_iou)

    def overlap_before(self, index: int) -> tuple[int, int]:
        """Return intersection and union with the truth, in pixels, of the mask before a step.

        Args:
            index: of the step; the number of masks for the last mask.
        """
        return rle_overlap(self.mask_before(index), self.truth, ignore=self.ignore)

    def mask_before(self, index: int) -> Rle | None:
        """Return the mask before a step; None for an empty start."""
        return self.masks[index - 1] if index else self.initial_mask


@dataclass(frozen=True)
class TargetResult:
    """What a target adds to the figures of a run.

    Attributes:
        target_id: of the target.
        image: a label that all targets of the image share.
        intersection: pixels that prediction and truth share.
        union: pixels of either.
        iou: their ratio; 1 if both masks are empty.
        iou_after_click: IoU before the policy's first click and after each, boxes and undos
            counting as clicks; an ended rollout keeps its last.
        clicks: how many of these the policy made.
        stop_reason: why the rollout ended, if known.
        boundary_iou: IoU of the inner contour bands, if computed.
        boundary_iou_after_click: the same for the masks of `iou_after_click`, if computed.
        model_calls: questions that the model answered; None if not counted.
        decoder_calls: requests that the segmenter answered; None if not counted.
        has_object: False if the truth has no pixel, so that an empty mask is the right answer.
        predicts_object: whether the prediction has a pixel.
    """

    target_id: str
    image: str
    intersection: int
    union: int
    iou: float
    iou_after_click: tuple[float, ...]
    clicks: int
    stop_reason: StopReason | None
    boundary_iou: float | None = None
    model_calls: int | None = None
    decoder_calls: int | None = None
    has_object: bool = True
    predicts_object: bool = True
    boundary_iou_after_click: tuple[float, ...] | None = None


def rolled_out(trajectory: Trajectory) -> RolledOut:
    """Return the masks of a trajectory, with the IoUs that it recorded."""
    steps = trajectory.steps
    is_own = [not step.is_initial for step in steps]
    return RolledOut(
        target_id=trajectory.target.ref.target_id,
        image=image_key(trajectory.target.ref, shapes=None),
        truth=trajectory.target.truth,
        ignore=trajectory.target.ignore,
        masks=tuple(s.mask for s in steps),
        predicted_ious=tuple(_score_of(s.answer, s.predicted_iou) for s in steps),
        last_predicted_iou=_score_of(trajectory.last_answer, trajectory.last_predicted_iou),
        first_click=is_own.index(True) if True in is_own else len(steps),
        stop_reason=trajectory.stop_reason,
        initial_mask=trajectory.initial_mask,
        ious=(trajectory.initial_iou, *(s.iou for s in steps)),
        model_calls=trajectory.model_calls,
        decoder_calls=trajectory.decoder_calls,
        undos=sum(isinstance(step.action, Undo) for step in steps),
    )


def _score_of(text: str | None, recorded: float | None) -> float | None:
    """Read the text as `last_predicted_iou` does, so that a run and its file agree."""
    return recorded if text is None else last_predicted_iou(text)


def choose_mask(rollout: RolledOut, step: StepChoice) -> int | None:
    """Return the index of the mask that is the prediction; None for the mask before the first step.

    "best-scored" takes the mask with the model's highest score, the later one on ties; a score
    belongs to the mask before the step whose text contains it. Masks without a score are skipped;
    if none has a score, the last mask is taken. An empty start is not a candidate; an initial mask
    is one, and loses only to a mask with a higher score.
    """
    last = len(rollout.masks) - 1
    if last < 0:
        return None
    if isinstance(step, int):
        index = min(rollout.first_click + step - 1, last)
        return index if index >= 0 else None
    if step == "last":
        return last
    at_start, *scores = rollout.scores
    scored = [(score, k) for k, score in enumerate(scores) if score is not None]
    if rollout.initial_mask is None or at_start is None:
        return max(scored)[1] if scored else last
    return max(scored)[1] if scored and max(scored)[0] > at_start else None


def measure_rollout(
    rollout: RolledOut,
    *,
    step: StepChoice,
    max_clicks: int,
    with_boundary: bool = False,
    with_boundary_by_click: bool = False,
) -> TargetResult:
    """Return what a rollout adds to the figures.

    A rollout that ended with "no object" predicts an empty mask, whatever its earlier masks.

    Args:
        step: which mask is the prediction; "no object" does not change that of an earlier click.
        max_clicks: clicks that the policy could make; `iou_after_click` has one more entry.
        with_boundary: whether to compute the boundary IoU, which decodes the mask.
        with_boundary_by_click: whether to compute it after every click too.
    """
    clicks = len(rollout.masks) - rollout.first_click
    ious = _ious(rollout)
    after = list(ious[rollout.first_click :])
    says_nothing = rollout.stop_reason is StopReason.NO_OBJECT
    if says_nothing:
        ious = (*ious, float(rollout.truth.is_empty))
    after += [ious[-1]] * (max_clicks + 1 - len(after))
    if says_nothing and (isinstance(step, str) or step > clicks):
        index = len(ious) - 1
        mask = None
        intersection, union = rle_overlap(mask, rollout.truth, ignore=rollout.ignore)
    else:
        chosen = choose_mask(rollout, step)
        index = 0 if chosen is None else chosen + 1
        mask = rollout.mask_before(index)
        intersection, union = rollout.overlap_before(index)
    return TargetResult(
        target_id=rollout.target_id,
        image=rollout.image,
        intersection=intersection,
        union=union,
        iou=ious[index],
        iou_after_click=tuple(after[: max_clicks + 1]),
        clicks=clicks,
        stop_reason=rollout.stop_reason,
        boundary_iou=_boundary_iou_of(rollout, mask) if with_boundary else None,
        model_calls=rollout.model_calls,
        decoder_calls=rollout.decoder_calls,
        has_object=rle_area(rollout.truth) > 0,
        predicts_object=_has_pixels(mask),
        boundary_iou_after_click=_boundary_ious_by_click(rollout, max_clicks=max_clicks)
        if with_boundary_by_click
        else None,
    )


def boundary_iou(a: Mask, b: Mask, *, dilation_ratio: float = 0.02) -> float:
    """Return the IoU of the inner contour bands of two masks; 1 if both are empty.

    A band contains the mask's pixels within `dilation_ratio` times the image's diagonal of its
    contour, at least one pixel (3x3 erosions; outside the image is background). After Cheng et al.,
    Boundary IoU, CVPR 2021.

    Args:
        a: bool. Shape: (H, W).
        b: bool. Shape: (H, W).

    Raises:
        ValueError: the masks differ in shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"two masks of one image have one shape, got {a.shape} and {b.shape}")
    width_px = max(1, round(dilation_ratio * float(np.hypot(*a.shape))))
    return mask_iou(_inner_band(a, width_px), _inner_band(b, width_px))


def _ious(rollout: RolledOut) -> tuple[float, ...]:
    """Return the IoU before the first step and after each, recorded or computed."""
    if rollout.ious is None:
        overlaps = [rollout.overlap_before(k) for k in range(len(rollout.masks) + 1)]
        return tuple(i / u if u else 1.0 for i, u in overlaps)
    if rollout.initial_mask is None and not rollout.overlap_before(0)[1]:
        # A trajectory records 0 for an empty start, but here the truth is empty as well.
        return (1.0, *rollout.ious[1:])
    return rollout.ious


def _boundary_iou_of(rollout: RolledOut, rle: Rle | None) -> float:
    truth = decode_rle(rollout.truth)
    mask = np.zeros_like(truth) if rle is None else decode_rle(rle)
    if rollout.ignore is not None:
        counted = ~decode_rle(rollout.ignore)
        mask, truth = mask & counted, truth & counted
    return boundary_iou(mask, truth)


def _boundary_ious_by_click(rollout: RolledOut, *, max_clicks: int) -> tuple[float, ...]:
    """Return the boundary IoU before the first click and after each; an end keeps its last."""
    masks = [rollout.mask_before(k) for k in range(rollout.first_click, len(rollout.masks) + 1)]
    if rollout.stop_reason is StopReason.NO_OBJECT:
        masks.append(None)
    ious = [_boundary_iou_of(rollout, mask) for mask in masks]
    ious += [ious[-1]] * (max_clicks + 1 - len(ious))
    return tuple(ious[: max_clicks + 1])


def _inner_band(mask: Mask, width_px: int) -> Mask:
    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kernel = np.ones((3, 3), dtype=np.uint8)
    core = cv2.erode(padded, kernel, iterations=width_px)[1:-1, 1:-1]
    return mask & (core == 0)


def _has_pixels(mask: Rle | None) -> bool:
    return mask is not None and rle_area(mask) > 0
