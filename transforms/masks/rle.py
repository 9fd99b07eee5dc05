"""COCO run lengths: encode, decode, check, measure; and the IoU and box of mask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import rlemasklib

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Rle

MAX_PIXELS = 120_000_000
"""Larger images and masks are rejected before they are decoded."""

Part = tuple[slice, slice]
"""Rows and columns of a mask."""

_PIXELS_AT_ONCE = 1 << 20
_SMALL_PIXELS = 1 << 15
# 7 digits of 5 bits can encode any run of a mask that COCO tools can describe (32 bits).
_MAX_DIGITS = 7
_MAX_RUN = 2**32 - 1
_MAX_RUNS = 2**28


def encode_mask(mask: Mask) -> Rle:
    """Encode a mask as COCO compressed run lengths.

    Args:
        mask: bool. Shape: (H, W).

    >>> encode_mask(np.array([[False, True], [False, True]]))
    Rle(counts='22', size_hw=(2, 2))
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"a mask must be bool of shape (H, W), got {mask.dtype} {mask.shape}")
    encoded: Any = rlemasklib.encode(mask)
    return Rle(counts=encoded["counts"].decode("ascii"), size_hw=(mask.shape[0], mask.shape[1]))


def decode_rle(rle: Rle) -> Mask:
    """Decode run lengths from `encode_mask`, or from a file if `rle_problem` accepts them.

    Shape: (H, W).

    >>> decode_rle(encode_mask(np.array([[False, True]])))
    array([[False,  True]])
    """
    if rle.size_hw[0] * rle.size_hw[1] <= _SMALL_PIXELS:
        whole: Any = rlemasklib.decode(rle_to_coco(rle))
        return np.ascontiguousarray(whole).view(np.bool_)
    mask = np.zeros(rle.size_hw, dtype=np.bool_)
    x, y, width, height = rle_box_xywh(rle)
    if width and height:
        # Run lengths go down the columns: writing the rest of each row would take longest.
        part: Any = rlemasklib.crop(rle_to_coco(rle), np.array((x, y, width, height)))
        mask[y : y + height, x : x + width] = rlemasklib.decode(part)
    return mask


def rle_to_coco(rle: Rle) -> Any:
    """Return the dictionary that COCO tools take: counts as bytes."""
    return {"counts": rle.counts.encode("ascii"), "size": list(rle.size_hw)}


def rle_to_json(rle: Rle) -> dict[str, Any]:
    """Return the dictionary for a JSON file: counts as text.

    >>> rle_to_json(Rle("0d1", (4, 13)))
    {'counts': '0d1', 'size': [4, 13]}
    """
    return {"counts": rle.counts, "size": list(rle.size_hw)}


def rle_area(rle: Rle) -> int:
    """Count the mask's pixels."""
    return int(rlemasklib.area(rle_to_coco(rle)))


def rle_surrounds(rle: Rle) -> bool:
    """Return whether a mask has every pixel on the border of its image, and a hole.

    >>> ring = np.ones((3, 4), dtype=bool)
    >>> ring[1, 2] = False
    >>> rle_surrounds(encode_mask(ring)), rle_surrounds(encode_mask(~ring))
    (True, False)
    """
    height, width = rle.size_hw
    x, y, w, h = (int(v) for v in rlemasklib.to_bbox(rlemasklib.complement(rle_to_coco(rle))))
    return w > 0 and x > 0 and y > 0 and x + w < width and y + h < height


def rle_box_xywh(rle: Rle) -> tuple[int, int, int, int]:
    """Return the tight box as (x, y, width, height); zeros for an empty mask."""
    x, y, width, height = rlemasklib.to_bbox(rle_to_coco(rle))
    return int(x), int(y), int(width), int(height)


def rle_common_area(*rles: Rle) -> int:
    """Count the pixels that all masks share; they must have one size."""
    return int(rlemasklib.area(rlemasklib.intersection([rle_to_coco(rle) for rle in rles])))


def rle_overlap(mask: Rle | None, truth: Rle, *, ignore: Rle | None) -> tuple[int, int]:
    """Return intersection and union in pixels, ignored pixels left out, without decoding.

    Args:
        mask: None for an empty mask.
        truth: of the same size.
        ignore: pixels left out of both, or None.
    """
    truth_area = rle_area(truth) - _common_area(truth, ignore)
    if mask is None:
        return 0, truth_area
    mask_area = rle_area(mask) - _common_area(mask, ignore)
    intersection = _common_area(mask, truth) - _common_area(mask, truth, ignore)
    return intersection, mask_area + truth_area - intersection


def whole_number(value: object) -> int | None:
    """Return a whole number of a data file, 120 or 120.0, as an int; None for anything else.

    >>> whole_number(120.0), whole_number(120.5), whole_number(True)
    (120, None, None)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def uncompressed_problem(counts: list[Any], size_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with uncompressed counts from a file, None if `decode_uncompressed`
    can read them.

    Args:
        counts: run lengths in column order, starting with background.
        size_hw: (height, width) of the mask that they should describe.

    >>> uncompressed_problem([4, 3], (2, 4))
    'its runs cover 7 pixels, the image has 8'
    """
    pixels = size_hw[0] * size_hw[1]
    if not all(whole_number(run) is not None and run >= 0 for run in counts):
        return "uncompressed counts must be whole numbers from 0"
    if max(counts, default=0) > pixels:
        return f"a run covers more than the image's {pixels} pixels"
    if sum(counts) != pixels:
        return f"its runs cover {int(sum(counts))} pixels, the image has {pixels}"
    return None


def decode_uncompressed(counts: list[Any], size_hw: tuple[int, int]) -> Mask:
    """Decode counts that `uncompressed_problem` accepts. Shape: `size_hw`.

    >>> decode_uncompressed([1, 2, 1], (2, 2)).tolist()
    [[False, True], [True, False]]
    """
    height, width = size_hw
    values = np.arange(len(counts)) % 2 == 1
    return np.ascontiguousarray(
        np.repeat(values, [int(run) for run in counts]).reshape(width, height).T
    )


def rle_problem(counts: str, size_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with compressed counts from a file, None if they describe such a mask.

    The C decoders read beyond the end of malformed counts and assume that they fill the mask, so
    check before decoding.

    Args:
        counts: the compressed counts.
        size_hw: (height, width) of the mask that they should describe.

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
        return "its counts are not compressed run lengths"
    last = np.flatnonzero((digits & 0x20) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MAX_DIGITS:
        return "its counts hold a run of impossible length"
    place = np.arange(digits.size) - np.repeat(first, lengths)
    runs = np.add.reduceat((digits & 0x1F) << (5 * place), first)
    runs -= np.where(digits[last] & 0x10, np.int64(1) << (5 * lengths), 0)
    # From the fourth run on, each is written as its difference from the run two before.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    height, width = size_hw
    if runs.min() < 0:
        return "its counts hold a negative run"
    # Sums of larger runs, or of more of them, could wrap around 64 bits.
    if runs.max() > min(height * width, _MAX_RUN) or runs.size > _MAX_RUNS:
        return f"its runs cover more than the {height * width} pixels of the mask"
    if int(runs.sum()) != height * width:
        return (
            f"its runs cover {int(runs.sum())} pixels, a mask of {height} x {width} "
            f"(height x width) has {height * width}"
        )
    return None


def mask_box(mask: Mask) -> Box | None:
    """Return the tight box around the True pixels, None for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def joint_part(a: Mask, b: Mask) -> Part | None:
    """Return the rows and columns that span both masks' True pixels; None if both are empty.

    Restricted to this part, computations touch a small part of most masks.

    >>> joint_part(np.array([[True, False, False]]), np.array([[False, True, False]]))
    (slice(0, 1, None), slice(0, 2, None))
    """
    return _part(mask_box(a | b))


def rle_joint_part(a: Rle | None, b: Rle) -> Part | None:
    """Return what `joint_part` does, without decoding; None for an empty mask."""
    boxes = [rle_box_xywh(rle) for rle in (a, b) if rle is not None]
    boxes = [box for box in boxes if box[2]]
    if not boxes:
        return None
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return slice(y0, y1), slice(x0, x1)


def _part(box: Box | None) -> Part | None:
    return None if box is None else (slice(box.y0, box.y1), slice(box.x0, box.x1))


def mask_iou(a: Mask, b: Mask, *, ignore: Mask | None = None) -> float:
    """Return intersection over union, ignored pixels left out of both; 1 if both are empty.

    >>> truth = np.array([[True, True, False, False]])
    >>> mask_iou(np.array([[True, False, False, False]]), truth)
    0.5
    """
    intersection, union = overlap(a, b, ignore=ignore)
    return intersection / union if union else 1.0


def overlap(a: Mask, b: Mask, *, ignore: Mask | None = None) -> tuple[int, int]:
    """Return the pixel counts of intersection and union, ignored pixels left out of both."""
    common = union = 0
    # In strips: intermediate results of a large mask are as large as the mask.
    height = max(_PIXELS_AT_ONCE // max(a.shape[1], 1), 1)
    for first in range(0, a.shape[0], height):
        rows = slice(first, first + height)
        both, either = a[rows] & b[rows], a[rows] | b[rows]
        if ignore is not None:
            both &= ~ignore[rows]
            either &= ~ignore[rows]
        common += int(np.count_nonzero(both))
        union += int(np.count_nonzero(either))
    return common, union


def _common_area(*rles: Rle | None) -> int:
    """Return the pixels that all masks hold; none where one of them is missing."""
    present = [rle for rle in rles if rle is not None]
    return rle_common_area(*present) if len(present) == len(rles) else 0
