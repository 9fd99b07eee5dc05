"""Prompts of SAM-like decoders: batches of one shape, and external masks as feedback logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask, Request

_SURE = 0.999
"""The probability of object for a cell that the mask covers completely."""


def batches_of_one_kind(requests: Sequence[Request], *, at_most: int) -> Iterator[list[int]]:
    """Yield batches of indices of requests whose prompts have one shape, so that none is padded.

    Requests in a batch have the same number of clicks, and all or none have a box or feedback.

    Args:
        requests: of any kinds.
        at_most: largest size of a batch.

    >>> from hlmat.transforms.core.records import Click
    >>> one, two = Request((Click(0, 0, True),)), Request((Click(0, 0, True),) * 2)
    >>> list(batches_of_one_kind([one, two, one, one], at_most=2))
    [[0, 2], [3], [1]]
    """
    kinds: dict[tuple[int, bool, bool], list[int]] = {}
    for index, request in enumerate(requests):
        kind = (len(request.clicks), request.box is not None, request.feedback is not None)
        kinds.setdefault(kind, []).append(index)
    for indices in kinds.values():
        for start in range(0, len(indices), at_most):
            yield indices[start : start + at_most]


def mask_logits(
    mask: Mask, *, resized_hw: tuple[int, int], square_size: int, logits_size: int
) -> NDArray[np.float32]:
    """Return low-resolution logits for a mask, as feedback for a decoder.

    The mask is resized and padded like the image, then reduced by area averaging. A cell's logit is
    that of its covered share, clipped to 0.999, so at most 6.9 in magnitude, like SAM's own logits;
    the padding is background.

    Args:
        mask: bool. Shape: (H, W).
        resized_hw: height and width of the image within the encoder's square, in pixels.
        square_size: side of that square, in pixels.
        logits_size: side of the decoder's logits; divides the square's.

    Returns:
        float32. Shape: (logits_size, logits_size).
    """
    height, width = resized_hw
    square = np.zeros((square_size, square_size), np.float32)
    square[:height, :width] = _resized(mask.astype(np.float32), (width, height))
    share = np.clip(_resized(square, (logits_size, logits_size)), 1 - _SURE, _SURE)
    return np.log(share / (1 - share))


def padded_size(height: int, width: int, *, longest: int) -> tuple[int, int]:
    """Return (height, width) after scaling the longer side to `longest` pixels, as SAM does."""
    scale = longest / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def _resized(values: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    shrinks = size_wh[0] * size_wh[1] < values.size
    resized: Any = cv2.resize(
        values, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized
