"""The levels of a mask image (grey values, palette indices or colours), and which is the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import RejectReason

_SHOWN_LEVELS = 8
_VOID = 255
"""The level that most data sets use for void."""
_MANY_LEVELS = 32
"""An image with more levels is not a class map but one object with soft borders."""
_SOLID_SHARE = 2e-5
"""A level that fills 3 x 3 blocks around more than this share of all pixels is an area, not a
border."""
_RAMP_SHARE = 0.5
"""The least share of the pixels between two levels that has a darker and a brighter neighbour in a
ramp."""
_JPEG_LEVELS = 10
"""The fewest that a JPEG of an object has."""
_FLAT_RANGE = 2
_FLAT_SHARE = 0.005
"""The least share of all pixels that is flat at a level of a lossy image."""
_FLAT_NOISE = 0.001
_LOSSY_GAP, _COARSE_GAP = 3, 12
_COLOUR_DISTANCE = 24
_FAR = 32
"""A pixel further from every level is not compression noise but an object too thin to be flat, or
another colour."""
_BLOCK = np.ones((3, 3), np.uint8)
_COUNTED_AT_ONCE = 1 << 22


class LevelKind(StrEnum):
    """What a level of a mask image is."""

    GREY = "grey"
    PALETTE = "palette"
    """An index; its colour is in the palette."""
    COLOUR = "colour"
    """0xRRGGBB."""


@dataclass(frozen=True, eq=False)
class Levels:
    """A mask image as one whole number per pixel.

    Attributes:
        codes: uint8, uint16 or int32, not negative. Shape: (H, W).
        kind: what the numbers are.
        palette: uint8 RGB of each index; None without a palette. Shape: (N, 3).
        is_lossy: whether the file's compression changes values.
    """

    codes: NDArray[np.integer]
    kind: LevelKind
    palette: NDArray[np.uint8] | None = None
    is_lossy: bool = False

    @cached_property
    def counts(self) -> dict[int, int]:
        """The number of pixels of each level, in ascending order."""
        values, counts = _counted(self.codes)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    @cached_property
    def brightest(self) -> NDArray[np.integer]:
        """The grey value of each pixel, or the brightest channel of its colour. Shape: (H, W)."""
        if self.palette is not None:
            return self.palette.max(axis=1)[self.codes]
        if self.kind is LevelKind.COLOUR:
            return _channels(self.codes).max(axis=2)
        return self.codes

    @property
    def is_numbered(self) -> bool:
        """Whether levels are grey values or indices, not colours."""
        return self.kind is not LevelKind.COLOUR

    def colour(self, code: int) -> tuple[int, int, int] | None:
        """Return the colour of a level as (R, G, B); None for greys above 255."""
        if self.palette is not None:
            red, green, blue = self.palette[code].tolist()
            return red, green, blue
        if self.kind is LevelKind.COLOUR:
            return code >> 16, code >> 8 & 255, code & 255
        return (code, code, code) if code <= 255 else None

    def brightness(self, code: int) -> int:
        """Return a grey value, or the brightest channel of a colour."""
        colour = self.colour(code)
        return code if colour is None else max(colour)

    def label(self, code: int) -> str:
        """Return a level as `--mask-values` takes it."""
        return f"#{code:06X}" if self.kind is LevelKind.COLOUR else str(code)

    def describe(self, code: int) -> str:
        """Return a level as shown in messages, an index with its colour."""
        if self.palette is None:
            return self.label(code)
        red, green, blue = self.palette[code].tolist()
        return f"{code} (#{red:02X}{green:02X}{blue:02X})"


def find_object(levels: Levels, *, name: str, is_soft: bool) -> Mask:
    """Return the object of a mask image that only separates object and background.

    Of two levels, the brighter is the object. More levels are accepted if they form the soft
    borders of one object: greys (or shades of one colour) between two levels, each such pixel
    between a darker and a brighter one and none of them filling an area; the threshold is halfway
    between the two levels. A lossy image (JPEG) is read by the values of its flat areas in the same
    way, and so is one that was saved again without loss.

    Args:
        levels: of the image.
        name: of the file, for messages.
        is_soft: the image is known to show one object; its semi-transparent areas belong to it if
            they are above half of the range.

    Raises:
        TargetError: AMBIGUOUS_MASK; the image has other levels than an object and a background.
    """
    truth = None
    if len(levels.counts) <= 2:
        truth = _brighter(levels, list(levels.counts))
    else:
        greys = _greys(levels)
        if levels.is_lossy:
            truth = _split_lossy(levels, greys)
        elif greys is not None:
            truth = _split_soft(greys)
            if truth is None and is_soft and len(levels.counts) > _MANY_LEVELS:
                truth = greys > _half(int(greys.max()))
    if truth is None:
        raise TargetError(RejectReason.AMBIGUOUS_MASK, _problem(levels, name))
    return truth


def _counted(
    values: NDArray[np.integer],
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the values that occur, in ascending order, with their counts."""
    if values.dtype.itemsize > 2:
        return np.unique(values, return_counts=True)
    flat = values.ravel()
    counts = np.zeros(np.iinfo(values.dtype).max + 1, np.int64)
    # Counting widens each value to 64 bits.
    for first in range(0, flat.size, _COUNTED_AT_ONCE):
        counts += np.bincount(flat[first : first + _COUNTED_AT_ONCE], minlength=counts.size)
    there = np.flatnonzero(counts)
    return there, counts[there]


def lossless(levels: Levels) -> Levels:
    """Snap each pixel of a lossy image to the nearest level that has flat areas; the result is
    still marked as lossy. A lossless image is returned unchanged."""
    if not levels.is_lossy:
        return levels
    if levels.kind is LevelKind.COLOUR:
        return Levels(_nearest_colours(levels), LevelKind.COLOUR, is_lossy=True)
    centres = np.array([value for value, _ in _flat_greys(levels.codes)])
    edges = (centres[1:] + centres[:-1] + 1) // 2
    nearest = centres[np.searchsorted(edges, levels.codes, side="right")]
    return Levels(nearest.astype(levels.codes.dtype), LevelKind.GREY, is_lossy=True)


def _nearest_colours(levels: Levels) -> NDArray[np.int32]:
    pixels = _channels(levels.codes).astype(np.int16)
    found = np.zeros(levels.codes.shape, np.int32)
    smallest = np.full(levels.codes.shape, np.iinfo(np.int16).max, np.int16)
    for code in _flat_colours(levels):
        distance = np.abs(pixels - np.array(levels.colour(code), np.int16)).max(axis=2)
        found[distance < smallest] = code
        np.minimum(smallest, distance, out=smallest)
    return found


def _brighter(levels: Levels, codes: Sequence[int]) -> Mask | None:
    """Return the brighter of at most two levels; None if neither is a background."""
    codes = sorted(codes, key=levels.brightness)
    dark, bright = levels.brightness(codes[0]), levels.brightness(codes[-1])
    if len(codes) == 1:
        return np.full(levels.codes.shape, bright > 0)
    if dark < bright and (dark == 0 or dark <= _half(bright) < bright):
        return levels.codes == codes[1]
    if levels.kind is LevelKind.PALETTE and 0 in codes:
        return levels.codes != 0
    return None


def _half(top: int) -> int:
    """Return half of the range, 8 or 16 bit, that the brightest value implies."""
    return 127 if top <= 255 else 32767


def _greys(levels: Levels) -> NDArray[np.integer] | None:
    """Return one strength per pixel; None if the image has several colours."""
    if levels.kind is LevelKind.GREY:
        return levels.codes
    if levels.palette is not None:
        used = levels.palette[list(levels.counts)]
        if (used != used[:, :1]).any():
            return None
        return levels.palette[:, 0][levels.codes]
    if levels.is_lossy:
        return levels.brightest if len(_flat_colours(levels)) <= 2 else None
    colours = np.array([levels.colour(code) for code in levels.counts], np.int32)
    strength = colours.max(axis=1)
    top = colours[strength.argmax()]
    # Each colour is the strongest one, darkened; the rounding of an earlier JPEG, as in FSS-1000,
    # tints masks.
    tint = _FAR if len(colours) > _MANY_LEVELS else 1.5
    if (np.abs(colours - np.outer(strength, top) / top.max()) > tint).any():
        return None
    return levels.brightest


def _channels(codes: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=2).astype(np.uint8)


def _neighbours(values: NDArray[np.integer]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the darkest and the brightest value of each pixel's 3 x 3 block."""
    plane = values if values.dtype.itemsize <= 2 else values.astype(np.float64)
    return cv2.erode(plane, _BLOCK), cv2.dilate(plane, _BLOCK)


def _split_soft(greys: NDArray[np.integer]) -> Mask | None:
    """Split halfway between two levels joined by soft borders; None if there are other levels."""
    values, counts = _counted(greys)
    darkest, brightest = _neighbours(greys)
    solid = np.zeros_like(counts)
    solid_values, solid_counts = _counted(greys[darkest == brightest])
    solid[np.searchsorted(values, solid_values)] = solid_counts
    # If at most one level fills a block, the object (or the background) is thin.
    by_area = np.lexsort((counts, solid))[::-1]
    first = by_area[0] if solid[by_area[0]] else 0
    second = by_area[1] if solid[by_area[1]] else (0 if first > len(values) // 2 else -1)
    dark, bright = sorted((int(values[first]), int(values[second])))
    between = (greys != dark) & (greys != bright)
    areas = np.delete(solid, [first, second])
    ramps = between & (darkest < greys) & (greys < brightest)
    is_soft = (
        len(values) > 3
        and areas.max() <= _SOLID_SHARE * greys.size
        and np.count_nonzero(ramps) >= _RAMP_SHARE * np.count_nonzero(between)
    )
    is_read = is_soft or (
        len(values) >= _JPEG_LEVELS and _is_ringing(greys, between, dark=dark, bright=bright)
    )
    if not is_read or dark > _half(bright) or bright <= 2 * dark:
        return None
    return greys > (dark + bright) / 2


def _is_ringing(greys: NDArray[np.integer], between: Mask, *, dark: int, bright: int) -> bool:
    """Return whether other levels than two are only where a JPEG that was saved as another file
    had them: in those of its 8 x 8 blocks that a border crosses."""
    height, width = greys.shape
    padded = np.pad(greys, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8)
    quarter = (bright - dark) / 4
    is_crossed = (blocks.min(axis=(1, 3)) <= dark + quarter) & (
        blocks.max(axis=(1, 3)) >= bright - quarter
    )
    crossed = is_crossed.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return not (between & ~crossed).any()


def _split_lossy(levels: Levels, greys: NDArray[np.integer] | None) -> Mask | None:
    """Split halfway between the two levels that have flat areas; None if there are others."""
    if greys is None or _exactly_flat(greys) > 2:
        return None
    found = [value for value, _ in _flat_greys(greys)]
    low, high = int(greys.min()), int(greys.max())
    if len(found) == 1:
        (only,) = found
        other = low if only - low > high - only else high
        if abs(other - only) < _FAR:
            # Levels as close as 0 and 1 count as one flat level.
            return greys > (only + high) / 2 if 0 < high <= _FLAT_RANGE + 1 else greys > 0
        found = sorted((only, other))
    if len(found) != 2 or (found[0] > _FAR and not found[0] <= _half(high) < found[1]):
        return None
    return greys > sum(found) / 2


def _flat_greys(greys: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Return the levels of a lossy image that have flat areas, with the number of flat pixels."""
    darkest, brightest = _neighbours(greys)
    is_flat = brightest.astype(np.int32) - darkest <= _FLAT_RANGE
    values, counts = np.unique(greys[is_flat], return_counts=True)
    kept = counts >= max(_FLAT_NOISE * greys.size, 1)
    for gap in (_LOSSY_GAP, _COARSE_GAP):
        ends = np.flatnonzero(np.diff(values[kept]) > gap) + 1
        groups = zip(np.split(values[kept], ends), np.split(counts[kept], ends), strict=True)
        found = [
            (int(members[sizes.argmax()]), int(sizes.sum()))
            for members, sizes in groups
            if sizes.sum() >= _FLAT_SHARE * greys.size
        ]
        if len(found) <= 2:
            break
    # An image of a few pixels has no flat areas.
    return found or [(int(np.median(greys)), greys.size)]


def _exactly_flat(greys: NDArray[np.integer]) -> int:
    """Return how many levels of a lossy image fill areas without any noise.

    Such areas are far from all borders, so even classes of close numbers are distinguished.
    """
    darkest, brightest = _neighbours(greys)
    values, counts = np.unique(greys[darkest == brightest], return_counts=True)
    values = values[counts >= _FLAT_SHARE * greys.size]
    # Areas of one brightness differ in their last digit if they were compressed twice.
    gap = _FLAT_RANGE if values.size and values[-1] >= _FAR else 0
    return 1 + int(np.count_nonzero(np.diff(values) > gap))


def _flat_colours(levels: Levels) -> list[int]:
    """Return the colours of a lossy image that have flat areas, the most frequent first."""
    channels = _channels(levels.codes)
    ranges = [np.subtract(*_neighbours(channels[..., i])[::-1]) for i in range(3)]
    is_flat = np.max(ranges, axis=0) <= 2 * _FLAT_RANGE
    colours, counts = np.unique(channels[is_flat], axis=0, return_counts=True)
    found: list[int] = []
    open_ = np.ones(len(colours), bool)
    while open_.any():
        centre = colours[np.where(open_, counts, 0).argmax()].astype(np.int16)
        near = open_ & (np.abs(colours.astype(np.int16) - centre).max(axis=1) <= _COLOUR_DISTANCE)
        if counts[near].sum() >= _FLAT_SHARE * levels.codes.size:
            red, green, blue = centre.tolist()
            found.append(red << 16 | green << 8 | blue)
        open_ &= ~near
    return found


def _problem(levels: Levels, name: str) -> str:
    shown = lossless(levels)
    largest = sorted(shown.counts, key=lambda code: -shown.counts[code])[:_SHOWN_LEVELS]
    listed = ", ".join(f"{shown.describe(c)}: {shown.counts[c]:,} px" for c in sorted(largest))
    others = len(shown.counts) - len(largest)
    more = f" and {others} more" if others else ""
    objects = [c for c in sorted(largest) if shown.brightness(c) not in (0, _VOID)] or largest
    void = f",void={_VOID}" if _VOID in shown.counts and shown.is_numbered else ""
    return (
        f"{name} has {len(shown.counts)} levels, not one object on a background: {listed}{more}; "
        f"name them, as --mask-values object={shown.label(objects[0])}{void}, or "
        "--mask-values classes or --mask-values instances for a target per level"
    )
