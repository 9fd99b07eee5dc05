"""Rasterize COCO segmentations of every form, checked before any C code reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import RejectReason, Rle
from hlmat.transforms.masks.rle import (
    MAX_PIXELS,
    decode_rle,
    decode_uncompressed,
    rle_problem,
    uncompressed_problem,
    whole_number,
)

_MIN_NUMBERS = 6
_MIN_SIDE = 16
# pycocotools walks along every edge: a few points far away would take gigabytes.
_FARTHEST = 1e5
_LONGEST_WAY = 2e6


def segmentation_to_mask(segmentation: object, *, size_hw: tuple[int, int], name: str) -> Mask:
    """Return the mask that a COCO `segmentation` describes. Shape: `size_hw`.

    A list of polygons is rasterised by pycocotools (their union is the mask); polygons of fewer
    than three points are left out if others remain. Run lengths may be compressed or not, and may
    be wrapped in a list (as in RefCLEF).

    Args:
        segmentation: as read from JSON or a pickle.
        size_hw: (height, width) of the image.
        name: of the target, for messages.

    Raises:
        TargetError: MALFORMED_SEGMENTATION, SIZE_MISMATCH, TOO_LARGE or EMPTY_MASK.
    """
    check_size(size_hw, name=name)
    if isinstance(segmentation, list) and len(segmentation) == 1:
        first = segmentation[0]
        segmentation = first if isinstance(first, dict) else segmentation
    if isinstance(segmentation, dict):
        mask = _from_run_lengths(segmentation, size_hw=size_hw, name=name)
    elif isinstance(segmentation, list):
        mask = _from_polygons(segmentation, size_hw=size_hw, name=name)
    else:
        raise _malformed(name, f"expected a list or an object, got {type(segmentation).__name__}")
    if not mask.any():
        raise TargetError(RejectReason.EMPTY_MASK, f"{name}: the mask has no pixel")
    return mask


def check_size(size_hw: tuple[int, int], *, name: str) -> None:
    """Check the size of a mask before it is allocated.

    Raises:
        TargetError: MALFORMED_SEGMENTATION without pixels, TOO_LARGE with too many.
    """
    if min(size_hw) < 1:
        raise _malformed(
            name, f"the image should have {_shown(size_hw[1])} x {_shown(size_hw[0])} pixels"
        )
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        raise TargetError(
            RejectReason.TOO_LARGE,
            f"{name}: the mask has {_shown(size_hw[1])} x {_shown(size_hw[0])} pixels, more than "
            f"the {MAX_PIXELS:,} that are read",
        )


def _from_polygons(polygons: list[Any], *, size_hw: tuple[int, int], name: str) -> Mask:
    if not polygons:
        raise TargetError(RejectReason.EMPTY_MASK, f"{name}: the segmentation is an empty list")
    for polygon in polygons:
        _check_polygon(polygon, name=name)
    usable = [[*map(float, polygon)] for polygon in polygons if len(polygon) >= _MIN_NUMBERS]
    if not usable:
        raise _malformed(name, "no polygon has three points")
    if min(size_hw) > _MIN_SIDE and all(0 <= v <= 1 for polygon in usable for v in polygon):
        raise _malformed(
            name,
            "its polygons lie between 0 and 1, as parts of the image's sides; multiply x by the "
            "width and y by the height",
        )
    # Rarely more than the most that so many points can span.
    span = sum(len(polygon) // 2 * (max(polygon) - min(polygon)) for polygon in usable)
    way = span if span <= _LONGEST_WAY else sum(_way_around(polygon) for polygon in usable)
    if way > _LONGEST_WAY:
        raise _malformed(
            name, f"its outlines are {way:.0f} pixels long, expected at most {_LONGEST_WAY:.0f}"
        )
    height, width = size_hw
    # The stubs cover neither lists of polygons nor floats.
    parts: Any = coco_mask.frPyObjects(usable, height, width)  # pyright: ignore
    merged: Any = coco_mask.merge(parts)
    return decode_rle(Rle(merged["counts"].decode("ascii"), size_hw))


def _way_around(polygon: list[float]) -> float:
    """Return how many pixels pycocotools visits on the closed outline."""
    corners = np.array(polygon).reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())


def _check_polygon(polygon: Any, *, name: str) -> None:
    if not isinstance(polygon, list | tuple):
        raise _malformed(name, f"a polygon is a list of numbers, got {type(polygon).__name__}")
    if len(polygon) % 2:
        raise _malformed(name, f"a polygon has {len(polygon)} numbers, expected x, y pairs")
    if {*map(type, polygon)} <= {int, float} and polygon:
        is_near = min(polygon) >= -_FARTHEST and max(polygon) <= _FARTHEST
        # The order of values hides NaN from `min` and `max`, but not from `sum`.
        if is_near and not math.isnan(sum(polygon)):
            return
    for value in polygon:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _malformed(name, f"a polygon holds {_shown(value)}, expected numbers")
        if not -_FARTHEST <= value <= _FARTHEST:
            raise _malformed(name, f"a polygon holds {_shown(value)}, expected pixels of the image")


def _from_run_lengths(content: dict[Any, Any], *, size_hw: tuple[int, int], name: str) -> Mask:
    size = content.get("size")
    sides = [whole_number(side) for side in size] if isinstance(size, list | tuple) else []
    if len(sides) != 2 or None in sides:
        raise _malformed(name, f"run lengths need a size [height, width], got {_shown(size)}")
    if tuple(sides) != size_hw:
        raise TargetError(
            RejectReason.SIZE_MISMATCH,
            f"{name}: the mask is {_shown(sides[1])} x {_shown(sides[0])} pixels, the image "
            f"{size_hw[1]} x {size_hw[0]}",
        )
    counts = content.get("counts")
    if isinstance(counts, list):
        if (problem := uncompressed_problem(counts, size_hw)) is not None:
            raise _malformed(name, problem)
        return decode_uncompressed(counts, size_hw)
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    if not isinstance(counts, str):
        raise _malformed(name, f"counts are a list or a text, got {type(counts).__name__}")
    if (problem := rle_problem(counts, size_hw)) is not None:
        raise _malformed(name, problem)
    return decode_rle(Rle(counts, size_hw))


def _shown(value: object) -> str:
    """Format a value of a file briefly: no huge numbers, no deep nesting."""
    if isinstance(value, int) and abs(value) > _FARTHEST**2:
        return "a huge number"
    if isinstance(value, list | tuple) and len(value) <= _MIN_NUMBERS:
        return f"[{', '.join(_kind_or_number(item) for item in value)}]"
    if value is None or isinstance(value, bool | int | float | str):
        return f"{value!r:.40}"
    return f"a {type(value).__name__}"


def _kind_or_number(value: object) -> str:
    return f"a {type(value).__name__}" if isinstance(value, list | tuple) else _shown(value)


def _malformed(name: str, problem: str) -> TargetError:
    return TargetError(
        RejectReason.MALFORMED_SEGMENTATION, f"{name}: malformed segmentation: {problem}"
    )
