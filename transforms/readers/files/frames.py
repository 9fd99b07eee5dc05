"""Whether shapes were drawn on an image before or after its EXIF rotation."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.image_files import exif_orientation, image_size_hw
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.images import read_below

_SLACK_PX = 1.0
FIRST_SWAPPING = 5
"""EXIF orientations from this one on swap the sides of an image."""


class Fit(StrEnum):
    """How all shapes of an image together fit the size that a file records for it."""

    RECORDED = "recorded"
    """They fit the recorded size but not its sides swapped."""
    SWAPPED = "swapped"
    """They only fit the sides swapped."""
    EITHER = "either"
    """They say nothing."""


def fit_of(segmentations: Iterable[object], size_hw: tuple[int, int]) -> Fit:
    """Return which size fits all shapes of an image, with a tolerance of one pixel.

    Args:
        segmentations: of the image, as COCO files have them; malformed ones are skipped.
        size_hw: (height, width) as the file records them.
    """
    height, width = size_hw
    as_recorded = as_swapped = True
    for segmentation in segmentations:
        for right, bottom in _extents(segmentation):
            as_recorded &= right <= width + _SLACK_PX and bottom <= height + _SLACK_PX
            as_swapped &= right <= height + _SLACK_PX and bottom <= width + _SLACK_PX
    if as_recorded == as_swapped:
        return Fit.EITHER
    return Fit.RECORDED if as_recorded else Fit.SWAPPED


def drawn_size(
    storage: Storage, root: str, image_path: str, *, recorded_hw: tuple[int, int], fit: Fit
) -> tuple[int, int]:
    """Return (height, width) of the image as its shapes were drawn on it, stored or turned.

    Without a rotating tag, this is the recorded size.

    Raises:
        TargetError: SIZE_MISMATCH: the image may have been turned or not when it was drawn on.
    """
    stored_hw, orientation = _frame(storage, root, image_path)
    return size_drawn_at(stored_hw, orientation, recorded_hw=recorded_hw, fit=fit, name=image_path)


def size_drawn_at(
    stored_hw: tuple[int, int],
    orientation: int,
    *,
    recorded_hw: tuple[int, int],
    fit: Fit,
    name: str,
) -> tuple[int, int]:
    """As `drawn_size`, for an image whose header was read.

    Args:
        stored_hw: (height, width) as stored.
        orientation: of its EXIF tag, 1 to 8.
        recorded_hw: as the file records them.
        fit: of the shapes.
        name: of the image, for messages.

    Raises:
        TargetError: SIZE_MISMATCH.
    """
    if orientation == 1:
        return recorded_hw
    swapped_hw = (recorded_hw[1], recorded_hw[0])
    if orientation >= FIRST_SWAPPING and recorded_hw != swapped_hw:
        if fit is Fit.SWAPPED:
            return swapped_hw
        # If the rotated size was recorded, the image was rotated.
        if fit is Fit.RECORDED or recorded_hw != stored_hw:
            return recorded_hw
    elif recorded_hw != stored_hw:
        return recorded_hw
    raise undecided_turn(name, orientation)


def undecided_turn(image_path: str, orientation: int) -> TargetError:
    """Return the error that shapes may have been drawn on an image before or after turning."""
    return TargetError(
        RejectReason.SIZE_MISMATCH,
        f"{image_path} is turned by its EXIF tag (orientation {orientation}), the annotation file "
        "records the size of the stored image, and its shapes fit both, so they may not line up "
        "with their objects; save the image without the tag, in the orientation of its shapes",
    )


def _extents(segmentation: object) -> Iterable[tuple[float, float]]:
    """Yield how far to the right and down each part of a segmentation reaches."""
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    for part in parts:
        if isinstance(part, Mapping):
            yield from _extent_of_run_lengths(part)
        elif isinstance(part, list):
            numbers = [v for v in part if isinstance(v, int | float)]
            if len(numbers) >= 2 and len(numbers) == len(part):
                yield max(numbers[0::2]), max(numbers[1::2])


def _extent_of_run_lengths(content: Mapping[Any, Any]) -> Iterable[tuple[float, float]]:
    size = content.get("size")
    match [whole_number(side) for side in size] if isinstance(size, list | tuple) else []:
        # Run lengths state their size.
        case [int(height), int(width)]:
            yield width, height
        case _:
            pass


def _frame(storage: Storage, root: str, image_path: str) -> tuple[tuple[int, int], int]:
    """Return the stored size and the orientation; no orientation for what cannot be read."""
    version = _version(root, image_path)
    if version is None:
        return _read_frame(storage, root, image_path)
    return _kept_frame(storage, root, image_path, version)


def _version(root: str, image_path: str) -> tuple[int, ...] | None:
    """Return a value that changes with a file on the local disk; None if it is missing. In a store
    it is constant: nobody edits files between two targets, and each look costs a request."""
    if "://" in root:
        return ()
    try:
        status = os.stat(posixpath.join(root, image_path))
    except (OSError, ValueError):
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


# The targets of an image are consecutive.
@lru_cache(maxsize=64)
def _kept_frame(
    storage: Storage, root: str, image_path: str, version: tuple[int, ...]
) -> tuple[tuple[int, int], int]:
    return _read_frame(storage, root, image_path)


def _read_frame(storage: Storage, root: str, image_path: str) -> tuple[tuple[int, int], int]:
    try:
        data = read_below(
            storage,
            root,
            image_path,
            missing=RejectReason.MISSING_IMAGE,
            unreadable=RejectReason.UNREADABLE_IMAGE,
        )
        return image_size_hw(data, name=image_path), exif_orientation(data)
    # Loading the image reports what is wrong with it.
    except TargetError:
        return (0, 0), 1
