"""Checks compressed run lengths that come from a file, before any C code reads them."""

from __future__ import annotations

import numpy as np

# 7 digits of 5 bits hold every run of a mask that pycocotools can describe (32 bits).
_MAX_DIGITS = 7


def rle_problem(counts: str, size_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with COCO compressed run lengths, None if they describe such a mask.

    pycocotools reads beyond the end of malformed counts and trusts that they fill the mask.

    Args:
        counts: the compressed counts.
        size_hw: (height, width) of the mask they are said to describe.

    >>> rle_problem("0d1", (4, 13)) is None
    True
    >>> rle_problem("0d1", (4, 14))
    'its runs cover 52 pixels, a mask of 4 x 14 (height x width) has 56'
    """
    try:
        digits = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        return "its counts are not ASCII"
    if digits.size == 0:
        return "its counts are empty"
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 0x20:
        return "its counts are no compressed run lengths"
    last = np.flatnonzero((digits & 0x20) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MAX_DIGITS:
        return "its counts hold a run of impossible length"
    place = np.arange(digits.size) - np.repeat(first, lengths)
    runs = np.add.reduceat((digits & 0x1F) << (5 * place), first)
    runs -= np.where(digits[last] & 0x10, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, a run is written as its difference to the one before the last.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        return "its counts hold a negative run"
    height, width = size_hw
    if int(runs.sum()) != height * width:
        return (
            f"its runs cover {int(runs.sum())} pixels, a mask of {height} x {width} "
            f"(height x width) has {height * width}"
        )
    return None
