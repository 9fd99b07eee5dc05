"""A mask of somebody else's as the low-resolution logits that SAM takes as its previous answer."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask

_SURE = 0.999
"""The probability that a pixel wholly inside a given mask belongs to the object."""


def mask_logits(
    mask: Mask, *, resized_hw: tuple[int, int], square_size: int, logits_size: int
) -> NDArray[np.float32]:
    """Return the logits that a decoder might have given for a mask.

    The mask is laid into the encoder's square as the image is, then reduced by areas. A cell's
    logit is that of its share of the mask, cut to 0.999, so that it lies within 6.9 of 0, the
    range of SAM's own logits; the padding lies outside.

    Args:
        mask: bool. Shape: (H, W).
        resized_hw: height and width of the image within the encoder's square.
        square_size: side of that square.
        logits_size: side of the decoder's logits; a part of the square's.

    Returns:
        Shape: (logits_size, logits_size).
    """
    height, width = resized_hw
    square = np.zeros((square_size, square_size), np.float32)
    square[:height, :width] = _resized(mask.astype(np.float32), (width, height))
    share = np.clip(_resized(square, (logits_size, logits_size)), 1 - _SURE, _SURE)
    return np.log(share / (1 - share))


def padded_size(height: int, width: int, *, longest: int) -> tuple[int, int]:
    """Return an image's size once its longer side is scaled to `longest`, as SAM does it."""
    scale = longest / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def _resized(values: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    shrinks = size_wh[0] * size_wh[1] < values.size
    resized: Any = cv2.resize(
        values, size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized
