"""Polygons that are not where their box is: in percent of an image's sides, as Label
Studio counts them, or scaled, cropped or mirrored without the box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.ids import Table

_PERCENT = 100.0
_LARGE_SIDE = 200
_SLACK_PX, _SLACK = 1.0, 0.02
_SHOWN = 4
_NUMBERS = frozenset({int, float})

Extent = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def check_units(entry: Mapping[str, Any], *, size_hw: tuple[int, int], name: str) -> None:
    """Refuse polygons that are in percent according to their box, which is in pixels.

    Args:
        entry: an annotation.
        size_hw: (height, width) of its image in pixels.
        name: of the annotation, for messages.

    Raises:
        TargetError: MALFORMED_SEGMENTATION.
    """
    extent = percent_extent(entry.get("segmentation"))
    box: Any = entry.get("bbox")
    if extent is None or not _is_numbers(box) or len(box) != 4 or min(box[2:]) <= 0:
        return
    height, width = size_hw
    sides = (width, height, width, height)
    recorded = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    scaled = tuple(v * side / _PERCENT for v, side in zip(extent, sides, strict=True))
    if _is_near(recorded, scaled, sides) and not _is_near(recorded, extent, sides):
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION,
            f"{name}: malformed segmentation: its polygons lie between 0 and 100 and its bbox, "
            f"{[round(v, 1) for v in box]}, fits them as percent of the image's {width} x {height} "
            "pixels; multiply x by the width and y by the height, and divide by 100",
        )


def is_apart(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation's polygons begin far outside of its box.

    A box is around its polygons, so one point tells: it is outside, by more than a side of the box.
    """
    segmentation, box = entry.get("segmentation"), entry.get("bbox")
    if not isinstance(segmentation, list) or not _is_numbers(box) or len(box) != 4:
        return False
    first = segmentation[0] if segmentation else None
    if not isinstance(first, list) or len(first) < 2:
        return False
    x, y = first[0], first[1]
    if type(x) not in _NUMBERS or type(y) not in _NUMBERS:
        return False
    left, top, width, height = box
    # A box in parts of the sides says nothing.
    if width <= 0 or height <= 0 or max(box) <= 1:
        return False
    return not (
        left - width - _SLACK_PX <= x <= left + 2 * width + _SLACK_PX
        and top - height - _SLACK_PX <= y <= top + 2 * height + _SLACK_PX
    )


def apart_remark(ids: Iterable[str]) -> str | None:
    """Return a warning about annotations whose polygons and box are apart, None if there are none.

    Args:
        ids: of the annotations.
    """
    listed = list(ids)
    if not listed:
        return None
    count = f"{len(listed)} annotations have" if len(listed) > 1 else "an annotation has"
    return (
        f"{count} a bbox that does not overlap its polygons, so one of the two may have been "
        f"scaled, cropped or mirrored without the other: {', '.join(listed[:_SHOWN])}; check these "
        "objects with `hlmat view`"
    )


def percent_remark(entries: Iterable[object], images: Table) -> str | None:
    """Return a warning if every polygon of a file may be in percent.

    Args:
        entries: annotations.
        images: with `height` and `width`, by id.
    """
    polygons = 0
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("segmentation"), list):
            continue
        image = next(iter(images.all_of(entry.get("image_id"))), {})
        height, width = whole_number(image.get("height")), whole_number(image.get("width"))
        is_large = height is not None and width is not None and min(height, width) >= _LARGE_SIDE
        if not is_large or percent_extent(entry["segmentation"]) is None:
            return None
        polygons += 1
    if not polygons:
        return None
    return (
        f"all {polygons} polygons of the file lie within the first 100 pixels of larger images; if "
        "they are in percent of the sides, as Label Studio counts them, multiply x by the width "
        "and y by the height, and divide by 100"
    )


def percent_extent(segmentation: object) -> Extent | None:
    """Return the extent of polygons if all of it is within 0 to 100, and not within 0 to 1."""
    numbers: list[list[float]] = []
    for polygon in segmentation if isinstance(segmentation, list) else []:
        if not isinstance(polygon, list) or len(polygon) < 6 or _begins_beyond(polygon):
            return None
        if not _is_numbers(polygon) or max(polygon) > _PERCENT:
            return None
        numbers.append(polygon)
    if not numbers:
        return None
    xs = [v for p in numbers for v in p[0::2]]
    ys = [v for p in numbers for v in p[1::2]]
    extent = (min(xs), min(ys), max(xs), max(ys))
    if min(extent) < 0 or max(extent) > _PERCENT or max(extent) <= 1:
        return None
    return extent


def _begins_beyond(polygon: list[Any]) -> bool:
    """Return whether the first point of a polygon lies beyond 100 pixels, as most do."""
    x, y = polygon[0], polygon[1]
    return (type(x) in _NUMBERS and x > _PERCENT) or (type(y) in _NUMBERS and y > _PERCENT)


def _is_numbers(value: object) -> TypeGuard[list[float]]:
    # What JSON has for numbers; `type` in C is ten times as fast as asking each in Python.
    return isinstance(value, list) and {*map(type, value)} <= _NUMBERS


def _is_near(a: Iterable[float], b: Iterable[float], sides: Iterable[int]) -> bool:
    return all(
        abs(x - y) <= _SLACK_PX + _SLACK * side for x, y, side in zip(a, b, sides, strict=True)
    )
