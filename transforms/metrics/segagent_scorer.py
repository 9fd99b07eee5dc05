"""The figures of SegAgent's own scorer, to show where they differ from ours.

Reimplemented from its public evaluation code: it reads the score in a text up to the next comma,
takes the mask *before* the best-scored text (so the last mask never wins by its score), skips
entries without a mask, and adds 1e-5 to every union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Rle
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.metrics.target_results import RolledOut, StepChoice
from hlmat.transforms.prompting.predicted_iou import PREDICTED_IOU_MARK

MOST_EXPRESSIONS = 5000
"""SegAgent's evaluator, which writes the predictions, stops after this many."""

_EPSILON = 1e-5


@dataclass(frozen=True)
class SegAgentFigures:
    """The figures that SegAgent's scorer would print.

    Attributes:
        ciou: its `class_iou`.
        giou: its `global_iou`.
        measured: expressions that count.
        skipped: expressions without any mask, which it leaves out of the figures.
    """

    ciou: float
    giou: float
    measured: int
    skipped: int


def segagent_figures(
    rollouts: Sequence[tuple[RolledOut, Sequence[str | None]]], *, step: StepChoice
) -> SegAgentFigures:
    """Measure rollouts, each with the texts of its steps, as SegAgent's scorer does.

    Args:
        step: "best-scored" is its default; K its ``--click_id K - 1``; "last", which it does not
            have, takes each rollout's last mask.

    Raises:
        DataError: a rollout is shorter than K; the scorer would stop with an error too.
    """
    totals = np.zeros(2)
    ious: list[float] = []
    skipped = 0
    for rollout, texts in rollouts:
        index = _chosen(rollout, texts, step=step)
        if index is None:
            skipped += 1
            continue
        both, either = _overlap(rollout.masks[index], rollout.truth)
        totals += both, either
        ious.append(1.0 if either == 0 else both / (either + _EPSILON))
    if not ious:
        return SegAgentFigures(0.0, 0.0, 0, skipped)
    return SegAgentFigures(
        ciou=float(totals[0] / (totals[1] + _EPSILON)),
        giou=float(np.mean(ious)),
        measured=len(ious),
        skipped=skipped,
    )


def _chosen(rollout: RolledOut, texts: Sequence[str | None], *, step: StepChoice) -> int | None:
    count = len(rollout.masks)
    if isinstance(step, int):
        if step > count:
            raise DataError(
                f"target {rollout.target_id!r} has {count} masks, so SegAgent's scorer would stop "
                f"at --click_id {step - 1}"
            )
        return step - 1
    if count == 0:
        return None
    if step == "last":
        return count - 1
    best = int(np.argmax(_stated(texts)))
    return max(best - 1, 0)


def _stated(texts: Sequence[str | None]) -> list[float]:
    """Return the scores in texts; all 0 if any of them cannot be read."""
    for read in (_up_to_comma, _up_to_label):
        try:
            return [0.0 if text is None else float(read(text)) for text in texts]
        except ValueError:
            continue
    return [0.0] * len(texts)


def _up_to_comma(text: str) -> str:
    return text.split(PREDICTED_IOU_MARK)[-1].split(",")[0]


def _up_to_label(text: str) -> str:
    return text.split(PREDICTED_IOU_MARK)[-1].split("P")[0].split("N")[0]


def _overlap(mask: Rle, truth: Rle) -> tuple[int, int]:
    a: NDArray[np.bool_] = decode_rle(mask)
    b: NDArray[np.bool_] = decode_rle(truth)
    return int((a & b).sum()), int((a | b).sum())
