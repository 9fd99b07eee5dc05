"""Initial boxes of a trajectory: the tight box of the truth, or a jittered one."""

from __future__ import annotations

import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box
from hlmat.transforms.masks.rle import mask_box


def truth_box(truth: Mask) -> Box:
    """Return the tight box around the ground-truth mask.

    Raises:
        ValueError: the mask is empty.
    """
    box = mask_box(truth)
    if box is None:
        raise ValueError("an empty mask has no box: reject empty masks first")
    return box


def jittered_box(
    truth: Mask, *, rng: np.random.Generator, sigma: float = 0.1, max_shift: int = 20
) -> Box:
    """Return the truth's box with each side shifted at random, as in SAM's training.

    Args:
        truth: bool, not empty. Shape: (H, W).
        rng: source of the shifts.
        sigma: standard deviation of a shift, as a fraction of the box's side.
        max_shift: maximum shift of a side in pixels.

    Returns:
        A box inside the image. An axis whose sides would cross keeps the original sides.

    Raises:
        ValueError: the mask is empty.
    """
    box = truth_box(truth)
    width, height = box.x1 - box.x0, box.y1 - box.y0
    spread = sigma * np.array([width, height, width, height])
    shifts = np.rint(np.clip(rng.normal(0.0, 1.0, 4) * spread, -max_shift, max_shift)).astype(int)
    x0, x1 = _moved(box.x0, box.x1, shifts=(int(shifts[0]), int(shifts[2])), end=truth.shape[1])
    y0, y1 = _moved(box.y0, box.y1, shifts=(int(shifts[1]), int(shifts[3])), end=truth.shape[0])
    return Box(x0, y0, x1, y1)


def _moved(low: int, high: int, *, shifts: tuple[int, int], end: int) -> tuple[int, int]:
    new_low, new_high = max(low + shifts[0], 0), min(high + shifts[1], end)
    return (new_low, new_high) if new_low < new_high else (low, high)
