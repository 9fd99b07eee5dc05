"""The masks that `--mask-values` selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.levels import Levels, find_object, lossless
from hlmat.transforms.masks.mask_values import LevelRange, MaskValues

_MAX_TARGETS = 1000
"""Of one mask image; a photo has more levels."""
_COLOUR_TOLERANCE = 12
"""Of each channel, in a lossy image."""
_GREY_TOLERANCE = 4
_SHOWN_LEVELS = 8


def is_black(levels: Levels, code: int) -> bool:
    """Return whether a level is black: grey 0, palette index 0 or #000000."""
    return code == 0


def list_levels(
    levels: Levels,
    values: MaskValues,
    *,
    name: str,
    is_background: Callable[[Levels, int], bool] = is_black,
) -> dict[str, int]:
    """Return the levels that are separate targets, as label and code, in ascending order.

    Args:
        levels: of the image.
        values: which levels are void or background.
        name: of the file, for messages.
        is_background: decides if `values.background` is None.

    Raises:
        TargetError: EMPTY_MASK without such a level, AMBIGUOUS_MASK with more than 1,000.
    """
    exact = lossless(levels)
    left_out = (*values.void, *(values.background or ()))
    codes = [code for code in exact.counts if not _is_in(left_out, exact, code)]
    if values.background is None:
        codes = [code for code in codes if not is_background(exact, code)]
    if not codes:
        raise TargetError(RejectReason.EMPTY_MASK, f"{name} has no level but background and void")
    if len(codes) > _MAX_TARGETS:
        raise TargetError(
            RejectReason.AMBIGUOUS_MASK,
            f"{name} has {len(codes):,} levels, more than the {_MAX_TARGETS:,} targets that a mask "
            "image can hold; it looks like a photo or a soft mask",
        )
    return {exact.label(code): code for code in codes}


def read_valued_mask(levels: Levels, values: MaskValues, *, name: str) -> TruthMasks:
    """Return the object and the void of a mask image.

    Args:
        levels: of the image.
        values: which of them are the object; without `objects`, the only level besides black and
            void.
        name: of the file, for messages.

    Raises:
        TargetError: EMPTY_MASK; or AMBIGUOUS_MASK, if `values` leaves several levels.
    """
    exact = lossless(levels)
    void = _pixels(exact, values.void)
    if values.objects:
        truth = _pixels(exact, values.objects) & ~void
    else:
        truth = _object_beside(void, levels=exact, name=name)
    if not truth.any():
        there = ", ".join(exact.describe(code) for code in list(exact.counts)[:_SHOWN_LEVELS])
        more = ", ..." if len(exact.counts) > _SHOWN_LEVELS else ""
        raise TargetError(
            RejectReason.EMPTY_MASK,
            f"{name} has no pixel of {values}; its levels are {there}{more}",
        )
    return TruthMasks(truth, void if void.any() else None)


def _is_in(ranges: Sequence[LevelRange], levels: Levels, code: int) -> bool:
    return any(_holds(each, levels, code) for each in ranges)


def _holds(wanted: LevelRange, levels: Levels, code: int) -> bool:
    """Return whether a label names a level: a number is a grey value, a palette index, or a grey of
    a colour image; a colour is the level's own, for any kind of image."""
    tolerance = 0
    if levels.is_lossy:
        tolerance = _GREY_TOLERANCE if levels.is_numbered else _COLOUR_TOLERANCE
    low, high = wanted.low - tolerance, wanted.high + tolerance
    if not wanted.is_colour and levels.is_numbered:
        return low <= code <= high
    colour = levels.colour(code)
    if colour is None:
        return False
    if not wanted.is_colour:
        is_grey = max(colour) - min(colour) <= tolerance
        return is_grey and all(low <= channel <= high for channel in colour)
    channels = wanted.low >> 16, wanted.low >> 8 & 255, wanted.low & 255
    return all(abs(a - b) <= tolerance for a, b in zip(colour, channels, strict=True))


def _pixels(levels: Levels, ranges: Sequence[LevelRange]) -> Mask:
    codes = [code for code in levels.counts if _is_in(ranges, levels, code)]
    if levels.codes.dtype.itemsize > 2:
        return np.isin(levels.codes, codes)
    table = np.zeros(np.iinfo(levels.codes.dtype).max + 1, bool)
    table[codes] = True
    return table[levels.codes]


def _object_beside(void: Mask, *, levels: Levels, name: str) -> Mask:
    """Return the object of an image, void left out."""
    kept = levels.codes[~void]
    if not kept.size:
        raise TargetError(RejectReason.EMPTY_MASK, f"{name} is void throughout")
    # Give void pixels another pixel's level, so that void adds no level.
    filled = np.where(void, kept.min(), levels.codes).astype(levels.codes.dtype)
    rest = Levels(filled, levels.kind, levels.palette, is_lossy=levels.is_lossy)
    return find_object(rest, name=name, is_soft=False) & ~void
