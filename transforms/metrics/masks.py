"""The field's figures over masks and trajectories in memory: gIoU, cIoU, NoC."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.masks.rle import mask_iou, overlap


def giou(predictions: Sequence[Mask], truths: Sequence[Mask]) -> float:
    """Return the mean IoU over targets; an empty mask counts 1 if the truth is empty.

    Args:
        predictions: bool, one per target. Shape of each: (H, W).
        truths: bool, in the same order and of the same shapes.

    Raises:
        ValueError: no targets, or different numbers of predictions and truths.

    >>> truth = np.array([[True, True, False, False]])
    >>> giou([truth, ~truth], [truth, np.ones_like(truth)])
    0.75
    """
    pairs = _pairs(predictions, truths)
    return float(np.mean([mask_iou(mask, truth) for mask, truth in pairs]))


def ciou(predictions: Sequence[Mask], truths: Sequence[Mask]) -> float:
    """Return the sum of intersections over the sum of unions; arguments and errors as `giou`.

    >>> truth = np.array([[True, True, False, False]])
    >>> ciou([truth, ~truth], [truth, np.ones_like(truth)])
    0.6666666666666666
    """
    overlaps = [overlap(mask, truth) for mask, truth in _pairs(predictions, truths)]
    intersections, unions = (sum(values) for values in zip(*overlaps, strict=True))
    return intersections / unions if unions else 1.0


def number_of_clicks(trajectory: Trajectory, iou: float, *, max_clicks: int = 20) -> int:
    """Return the first click after which the IoU is reached; `max_clicks` if it never is.

    The mean over targets is the field's NoC@`iou` if no trajectory stopped early.

    Args:
        trajectory: its clicks are counted, initial actions are not.
        iou: in (0, 1].
        max_clicks: the count of a target that never reaches it.

    >>> from hlmat import load_segmenter, build_target, roll_out
    >>> truth = np.zeros((48, 64), dtype=bool)
    >>> truth[10:40, 20:50] = True
    >>> image = np.where(truth[..., None], (200, 60, 40), (30, 90, 160)).astype(np.uint8)
    >>> trajectory = roll_out(build_target(truth), image, segmenter=load_segmenter())
    >>> number_of_clicks(trajectory, 0.9)
    1
    """
    chosen = (step for step in trajectory.steps if not step.is_initial)
    for count, step in enumerate(chosen, start=1):
        if step.iou >= iou:
            return min(count, max_clicks)
    return max_clicks


def _pairs(predictions: Sequence[Mask], truths: Sequence[Mask]) -> list[tuple[Mask, Mask]]:
    if len(predictions) != len(truths) or not truths:
        raise ValueError(
            f"expected as many predictions as truths and at least one, got {len(predictions)} and "
            f"{len(truths)}"
        )
    return list(zip(predictions, truths, strict=True))
