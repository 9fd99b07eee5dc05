"""Asking a segmenter: in one batch where it can, its answers held against the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.errors import SegmenterError
from transforms.protocols import BatchSegmenter, Prediction, Request, Segmenter


def ask_segmenter(
    segmenter: Segmenter, requests: Sequence[Request], *, size_hw: tuple[int, ...]
) -> list[Prediction | SegmenterError]:
    """Ask in one batch where the segmenter can; halve a failing batch to find who is at fault.

    Args:
        requests: all with the same number of clicks, about the image that the segmenter holds.
        size_hw: (height, width) of that image.

    Returns:
        One answer per request, in order; a failure is a value in its place.
    """
    try:
        if isinstance(segmenter, BatchSegmenter):
            predictions = segmenter.predict_batch(requests)
            if len(predictions) != len(requests):
                raise SegmenterError(
                    f"predict_batch gave {len(predictions)} answers to {len(requests)} requests"
                )
        else:
            predictions = [
                segmenter.predict(clicks=r.clicks, box=r.box, feedback=r.feedback) for r in requests
            ]
        return [_checked(p, segmenter=segmenter, size_hw=size_hw) for p in predictions]
    # A segmenter is anybody's code: whatever it raises must cost its targets alone.
    except Exception as error:
        if len(requests) == 1:
            failure = SegmenterError(
                f"{type(segmenter).__name__} failed at click {len(requests[0].clicks)}: "
                f"{type(error).__name__}: {error}"
            )
            failure.__cause__ = error
            return [failure]
    middle = len(requests) // 2
    return [
        *ask_segmenter(segmenter, requests[:middle], size_hw=size_hw),
        *ask_segmenter(segmenter, requests[middle:], size_hw=size_hw),
    ]


def _checked(prediction: Any, *, segmenter: Segmenter, size_hw: tuple[int, ...]) -> Prediction:
    """Hold an answer against the protocol."""
    mask = getattr(prediction, "mask", None)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != size_hw:
        seen = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else repr(type(mask))
        raise SegmenterError(
            f"{type(segmenter).__name__}.predict must return an object whose `mask` is a bool "
            f"array of shape {tuple(size_hw)}, got {seen}"
        )
    score = getattr(prediction, "score", None)
    return Prediction(
        mask=mask,
        score=None if score is None else float(score),
        feedback=getattr(prediction, "feedback", None),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception of any framework means that memory ran out."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
