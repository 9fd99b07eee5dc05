"""What every figure of an evaluation is made of: one score per target, figures with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import Click, Rle, StopReason, Trajectory
from hlmat.transforms.masks.rle import decode_rle, overlap
from hlmat.transforms.metrics.bootstrap import mean_intervals, ratio_interval
from hlmat.transforms.metrics.click_curves import THRESHOLDS, ClickProtocol, boundary_iou
from hlmat.transforms.prompting.predicted_iou import last_predicted_iou

StepChoice = Literal["last", "best-scored"] | int
"""Which mask of a rollout is its prediction; a number counts the policy's clicks from 1."""


@dataclass(frozen=True)
class RolledOut:
    """The masks of one rollout, and what a model said of them.

    Attributes:
        target_id: unique among what is scored together.
        truth: the true mask.
        ignore: pixels that count as neither, or None.
        masks: after each step, of whatever kind; of the truth's size.
        predicted_ious: for each step, the model's score of the mask *before* it, or None.
        last_predicted_iou: the model's score of the last mask, or None.
        first_click: how many steps come before the policy's first click.
        stop_reason: why it ended, where that is known.
        initial_mask: what was there before the first step, or None for an empty mask.
    """

    target_id: str
    truth: Rle
    ignore: Rle | None
    masks: tuple[Rle, ...]
    predicted_ious: tuple[float | None, ...]
    last_predicted_iou: float | None
    first_click: int = 0
    stop_reason: StopReason | None = None
    initial_mask: Rle | None = None

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The model's score of the mask before the first step, then of each of `masks`."""
        return (*self.predicted_ious, self.last_predicted_iou)


@dataclass(frozen=True)
class TargetResult:
    """What a rollout adds to the figures.

    Attributes:
        target_id: of the target.
        intersection: pixels that prediction and truth share.
        union: pixels of either.
        iou: their ratio; 1 where both masks are empty.
        boundary_iou: IoU of the inner contour bands.
        iou_after_click: IoU before the policy's first click and after each; an ended rollout
            keeps its last.
        clicks: that the policy made.
        stop_reason: why the rollout ended, where that is known.
    """

    target_id: str
    intersection: int
    union: int
    iou: float
    boundary_iou: float
    iou_after_click: tuple[float, ...]
    clicks: int
    stop_reason: StopReason | None


def rolled_out(trajectory: Trajectory) -> RolledOut:
    """Return the masks of a trajectory."""
    steps = trajectory.steps
    is_click = [isinstance(s.action, Click) and not s.is_initial for s in steps]
    return RolledOut(
        target_id=trajectory.target.ref.target_id,
        truth=trajectory.target.truth,
        ignore=trajectory.target.ignore,
        masks=tuple(s.mask for s in steps),
        predicted_ious=tuple(_score_of(s.answer, s.predicted_iou) for s in steps),
        last_predicted_iou=_score_of(trajectory.last_answer, trajectory.last_predicted_iou),
        first_click=is_click.index(True) if True in is_click else len(steps),
        stop_reason=trajectory.stop_reason,
        initial_mask=trajectory.initial_mask,
    )


def _score_of(text: str | None, recorded: float | None) -> float | None:
    """Read the text as `last_predicted_iou` does, so that a run and its file agree."""
    return recorded if text is None else last_predicted_iou(text)


def choose_mask(rollout: RolledOut, step: StepChoice) -> int | None:
    """Return the index of the mask that is the prediction; None for what it began with.

    "best-scored" takes the mask that the model scored best, the later one of equals; a score
    belongs to the mask before the step whose text holds it. Masks that nobody scored are left
    out; where none is scored the last one is taken. An empty start is no candidate; an initial
    mask is one, and yields only to a mask of a higher score.
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


def measure_rollout(rollout: RolledOut, *, step: StepChoice, max_clicks: int) -> TargetResult:
    """Score one rollout from its masks alone.

    Args:
        max_clicks: that the policy could make; `iou_after_click` has one more entry.
    """
    truth = decode_rle(rollout.truth)
    ignore = None if rollout.ignore is None else decode_rle(rollout.ignore)
    counted = truth if ignore is None else truth & ~ignore
    overlaps = [overlap(decode_rle(m), truth, ignore=ignore) for m in rollout.masks]
    first = rollout.initial_mask
    start = np.zeros_like(truth) if first is None else decode_rle(first)
    at_start = overlap(start, truth, ignore=ignore)
    ious = [i / u if u else 1.0 for i, u in [at_start, *overlaps]][rollout.first_click :]
    ious += [ious[-1]] * (max_clicks + 1 - len(ious))
    chosen = choose_mask(rollout, step)
    intersection, union = at_start if chosen is None else overlaps[chosen]
    mask = start if chosen is None else decode_rle(rollout.masks[chosen])
    return TargetResult(
        target_id=rollout.target_id,
        intersection=intersection,
        union=union,
        iou=intersection / union if union else 1.0,
        boundary_iou=boundary_iou(mask if ignore is None else mask & ~ignore, counted),
        iou_after_click=tuple(ious[: max_clicks + 1]),
        clicks=len(rollout.masks) - rollout.first_click,
        stop_reason=rollout.stop_reason,
    )


def evaluation_figures(
    scores: Sequence[TargetResult], *, protocol: ClickProtocol | None = None
) -> dict[str, Any]:
    """Return every figure with its 95 % interval, as plain JSON values.

    Args:
        scores: at least one; their order changes nothing.
        protocol: the rules of the run, for what its figures may be called; None leaves out what
            clicks decide (IoU@k, NoC, NoF).
    """
    scores = sorted(scores, key=lambda s: s.target_id)
    means = {
        "gIoU": [s.iou for s in scores],
        "boundary_IoU": [s.boundary_iou for s in scores],
        "clicks_per_target": [float(s.clicks) for s in scores],
    }
    if all(s.stop_reason is not None for s in scores):
        is_invalid = [s.stop_reason is StopReason.INVALID_ACTION for s in scores]
        means["invalid_rate"] = [float(invalid) for invalid in is_invalid]
    figures: dict[str, Any] = _means(means)
    figures["cIoU"] = ratio_interval(
        np.array([s.intersection for s in scores], np.float64),
        np.array([s.union for s in scores], np.float64),
    ).as_dict()
    figures["scored"] = len(scores)
    figures["stop_reasons"] = _stop_reasons(scores)
    if protocol is None:
        return figures
    after = np.array([s.iou_after_click for s in scores], np.float64)
    figures["IoU@k"] = [i.as_dict() for i in mean_intervals(after[:, 1:])]
    if protocol.initial_action != "none":
        figures["IoU@0"] = mean_intervals(after[:, :1])[0].as_dict()
    needed = {t: _clicks_needed(after, t) for t in THRESHOLDS}
    figures["NoC"] = _means(
        {
            protocol.label("NoC", t): np.minimum(clicks, protocol.max_clicks)
            for t, clicks in needed.items()
        }
    )
    figures["NoF"] = _counts(
        {protocol.label("NoF", t): c > protocol.max_clicks for t, c in needed.items()}
    )
    return figures


def call_figures(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Return the calls of model and segmenter per target, with intervals.

    Args:
        trajectories: at least one; without any figures where one of them counted no calls.
    """
    calls = {
        "model_calls_per_target": [t.model_calls for t in trajectories],
        "decoder_calls_per_target": [t.decoder_calls for t in trajectories],
    }
    if any(None in counts for counts in calls.values()):
        return {}
    return _means(calls)


def _stop_reasons(scores: Sequence[TargetResult]) -> dict[str, Any]:
    reasons = sorted({s.stop_reason.value for s in scores if s.stop_reason is not None})
    return _counts({reason: [s.stop_reason == reason for s in scores] for reason in reasons})


def _counts(columns: dict[str, Any]) -> dict[str, Any]:
    """Return how many targets each column is true of, with intervals; whole numbers as such."""
    count = len(next(iter(columns.values()), ()))
    return {
        name: {
            "value": round(mean["value"] * count),
            "low": mean["low"] * count,
            "high": mean["high"] * count,
        }
        for name, mean in (_means(columns) if columns else {}).items()
    }


def _means(columns: dict[str, Any]) -> dict[str, Any]:
    table = np.stack([np.asarray(c, np.float64) for c in columns.values()], axis=1)
    return {
        name: interval.as_dict()
        for name, interval in zip(columns, mean_intervals(table), strict=True)
    }


def _clicks_needed(after: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the first k whose IoU reaches the threshold; one more than there are if none does."""
    reached = after >= threshold
    return np.where(reached.any(axis=1), reached.argmax(axis=1), after.shape[1])
