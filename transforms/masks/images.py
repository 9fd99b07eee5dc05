"""Decode images and mask images from bytes of any supported format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image, Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.grey_depth import png_depth, usual_top
from hlmat.transforms.masks.image_files import (
    exif_orientation,
    load_pixels,
    number_of_pages,
    turned_by_exif,
)
from hlmat.transforms.masks.levels import LevelKind, Levels, find_object
from hlmat.transforms.masks.mask_values import MaskValues
from hlmat.transforms.masks.rle import MAX_PIXELS
from hlmat.transforms.masks.valued_masks import read_valued_mask

_FIRST_SWAPPING = 5
_NAMED_VALUES = 5
_MAX_GREY = 65535
_PIXELS_AT_ONCE = 1 << 20
_WEBP_HEADER = 64
_DARK = 16
"""Colours of 16 bit that are all below this after their reduction to 8 bit had 12 bit or fewer."""
_TRIMAP_OBJECT = 255
_TRIMAP_IGNORE = 128


class MaskRule(StrEnum):
    """How a mask image encodes the object."""

    TWO_LEVELS = "two_levels"
    """The object is the brighter of two levels, with or without soft borders; see
    `levels.find_object`."""
    FOREGROUND = "foreground"
    """As above, for data sets with one object per mask, which may also have soft areas."""
    PALETTE_INDEX = "palette_index"
    """Any palette index above 0."""
    TRIMAP = "trimap"
    """Trimap: 255 is the object, 128 is ignored, 0 is background."""
    OBJECT_ID = "object_id"
    """Any value above 0; object ids are not distinguished."""


def decode_image(
    data: bytes,
    *,
    name: str,
    size_hw: tuple[int, int] | None = None,
    turns_if_same_size: bool = False,
    turn_must_show: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Decode an image as uint8 RGB. Shape: (H, W, 3).

    Greys of 16 bit are scaled to 8 bit from their own range: from the depth that a PNG file names
    (sBIT), else from the least of 8, 10, 12, 14 and 16 bit that holds every value, as scanners and
    microscopes store their 12 bit. Transparency is dropped.

    Args:
        data: the file's content.
        name: of the file, for messages.
        size_hw: the required size. The EXIF rotation is applied only if it yields this size. None
            keeps the image as stored.
        turns_if_same_size: also apply an EXIF rotation that keeps the required size.
        turn_must_show: reject an image whose EXIF rotation keeps its size: its mask may have been
            drawn before or after rotating.
        max_pixels: larger images are rejected.

    Raises:
        TargetError: UNREADABLE_IMAGE, also for colours in so small a part of their 16 bit that the
            image would be nearly black; TOO_LARGE or SIZE_MISMATCH.
    """
    image = load_pixels(
        data, name=name, max_pixels=max_pixels, reason=RejectReason.UNREADABLE_IMAGE
    )
    depth = png_depth(data)
    stored_hw = (image.height, image.width)
    if size_hw is not None and stored_hw != size_hw:
        turned = turned_by_exif(image)
        if (turned.height, turned.width) != size_hw:
            raise TargetError(
                RejectReason.SIZE_MISMATCH,
                f"{name} has {image.width} x {image.height} pixels, its mask "
                f"{size_hw[1]} x {size_hw[0]}, and its EXIF tag does not explain the difference",
            )
        image = turned
    elif (turns_if_same_size or turn_must_show) and size_hw is not None:
        turned = turned_by_exif(image)
        if turn_must_show and turned is not image and (turned.height, turned.width) == size_hw:
            raise TargetError(
                RejectReason.SIZE_MISMATCH,
                f"{name} is turned by its EXIF tag and keeps its size, so its mask may be that of "
                "the stored or of the turned image; save the image without the tag, in the "
                "orientation of its mask",
            )
        image = turned if (turned.height, turned.width) == size_hw else image
    rgb = _to_rgb(image, used_bits=depth.used if depth else None)
    if depth and depth.stored == 16 and image.mode.startswith("RGB") and 0 < rgb.max() < _DARK:
        raise TargetError(
            RejectReason.UNREADABLE_IMAGE,
            f"{name} stores colours with 16 bit, but none above {256 * int(rgb.max()) + 255:,} of "
            "65,535, so that the image would be nearly black; scale it to 16 bit, or save it with "
            "8 bit",
        )
    return rgb


def decode_mask_image(
    data: bytes, *, name: str, rule: MaskRule | MaskValues, max_pixels: int = MAX_PIXELS
) -> TruthMasks:
    """Decode a mask image.

    Args:
        data: the file's content.
        name: of the file, for messages.
        rule: how its values are read.
        max_pixels: larger images are rejected.

    Raises:
        TargetError: UNREADABLE_MASK, AMBIGUOUS_MASK, TOO_LARGE or EMPTY_MASK; SIZE_MISMATCH for
            one that its EXIF tag turns without changing its size.
    """
    levels = decode_levels(data, name=name, max_pixels=max_pixels)
    if isinstance(rule, MaskValues):
        return read_valued_mask(levels, rule, name=name)
    ignore = None
    match rule:
        case MaskRule.TWO_LEVELS | MaskRule.FOREGROUND:
            truth = find_object(levels, name=name, is_soft=rule is MaskRule.FOREGROUND)
        case MaskRule.PALETTE_INDEX:
            truth = levels.codes > 0
        case MaskRule.OBJECT_ID:
            truth = levels.brightest > 0
        case MaskRule.TRIMAP:
            truth, ignore = _trimap(levels.brightest, name=name)
    if not truth.any():
        raise TargetError(RejectReason.EMPTY_MASK, f"{name} has no object pixels")
    return TruthMasks(truth=truth, ignore=ignore)


def decode_levels(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Levels:
    """Decode a mask image into its levels: palette indices, greys or colours.

    Args:
        data: the file's content.
        name: of the file, for messages.
        max_pixels: larger images are rejected.

    Raises:
        TargetError: UNREADABLE_MASK or TOO_LARGE; SIZE_MISMATCH for one that its EXIF tag turns
            without changing its size; AMBIGUOUS_MASK for one of several pages.
    """
    if (pages := number_of_pages(data)) > 1:
        raise TargetError(
            RejectReason.AMBIGUOUS_MASK,
            f"{name} has several pages or frames of the same size, at least {pages}, and a mask "
            "is read from one; save each as a file of its own, as NAME_0.png and NAME_1.png for "
            "two objects",
        )
    image = load_pixels(data, name=name, max_pixels=max_pixels, reason=RejectReason.UNREADABLE_MASK)
    orientation = exif_orientation(data)
    if orientation > 1 and (orientation < _FIRST_SWAPPING or image.width == image.height):
        raise TargetError(
            RejectReason.SIZE_MISMATCH,
            f"{name} is turned by its EXIF tag (orientation {orientation}) and keeps its size, so "
            "it may belong to the stored or to the turned image; save the mask without the tag, in "
            "the orientation of its image",
        )
    return _levels(image, is_lossy=_is_lossy(image, data))


def _trimap(values: NDArray[np.integer], *, name: str) -> tuple[Mask, Mask]:
    truth, ignore = values == _TRIMAP_OBJECT, values == _TRIMAP_IGNORE
    unknown = np.unique(values[~(truth | ignore | (values == 0))])
    if unknown.size:
        found = ", ".join(str(value) for value in unknown[:_NAMED_VALUES])
        more = f" and {unknown.size - _NAMED_VALUES} more" * (unknown.size > _NAMED_VALUES)
        raise TargetError(
            RejectReason.UNREADABLE_MASK,
            f"{name} is not a trimap: expected the values 0, {_TRIMAP_IGNORE} and "
            f"{_TRIMAP_OBJECT}, found {found}{more} as well",
        )
    return truth, ignore


def _to_rgb(image: PilImage.Image, *, used_bits: int | None = None) -> Image:
    rgb = np.empty((image.height, image.width, 3), dtype=np.uint8)
    is_grey = image.mode.startswith("I") or image.mode == "F"
    top = _top_of(image, used_bits=used_bits) if is_grey else 0.0
    for rows, strip in _strips(image):
        if is_grey:
            rgb[rows] = _scaled_to_8_bit(np.asarray(strip), top=top)[:, :, None]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rgb[rows] = np.asarray(strip.convert("RGB"))
    return rgb


def _strips(image: PilImage.Image) -> Iterator[tuple[slice, PilImage.Image]]:
    """Yield the image in strips of rows, to avoid copying or widening a large image as a whole."""
    height = max(_PIXELS_AT_ONCE // max(image.width, 1), 1)
    for first in range(0, image.height, height):
        rows = slice(first, min(first + height, image.height))
        yield rows, image.crop((0, rows.start, image.width, rows.stop))


def _as_array(image: PilImage.Image, dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    """Return one number per pixel. Shape: (H, W)."""
    values = np.empty((image.height, image.width), dtype=dtype)
    for rows, strip in _strips(image):
        values[rows] = np.asarray(strip)
    return values


def _top_of(image: PilImage.Image, *, used_bits: int | None) -> float:
    """Return the value that becomes white."""
    if image.mode == "F":
        return max(1.0, *(float(_finite(np.asarray(strip)).max()) for _, strip in _strips(image)))
    brightest = max(int(np.asarray(strip).max()) for _, strip in _strips(image))
    return usual_top(brightest, used_bits=used_bits)


def _finite(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _scaled_to_8_bit(values: NDArray[np.generic], *, top: float) -> NDArray[np.uint8]:
    """Scale greys of 16 bit (or more, or floats in [0, 1]) to 8 bit."""
    return np.clip(np.rint(_finite(values) * (255.0 / top)), 0, 255).astype(np.uint8)


def _levels(image: PilImage.Image, *, is_lossy: bool) -> Levels:
    mode = image.mode
    if mode == "P":
        return _palette_levels(image)
    if mode == "1":
        return Levels(_as_array(image) * np.uint8(255), LevelKind.GREY)
    if mode == "L":
        return Levels(_as_array(image), LevelKind.GREY, is_lossy=is_lossy)
    if mode == "F":
        codes = np.empty((image.height, image.width), np.uint16)
        for rows, strip in _strips(image):
            finite = np.nan_to_num(np.asarray(strip), posinf=0.0, neginf=0.0)
            codes[rows] = np.clip(np.rint(finite), 0, _MAX_GREY)
        return Levels(codes, LevelKind.GREY)
    if mode.startswith("I"):
        dtype = np.uint16 if mode.startswith("I;16") else np.int32
        values = _as_array(image, dtype)
        if dtype is np.int32:
            np.maximum(values, 0, out=values)
            values = values if values.max() > _MAX_GREY else values.astype(np.uint16)
        return Levels(values, LevelKind.GREY, is_lossy=is_lossy)
    colours = _to_rgb(image)
    # A cut-out whose shape is only in its alpha channel has a single colour.
    if mode in ("LA", "PA", "RGBA") and (colours == colours[:1, :1]).all():
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() < alpha.max():
            return Levels(alpha.copy(), LevelKind.GREY, is_lossy=is_lossy)
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    if (red == green).all() and (green == blue).all():
        return Levels(red.copy(), LevelKind.GREY, is_lossy=is_lossy)
    codes = red.astype(np.int32) << 16 | green.astype(np.int32) << 8 | blue
    return Levels(codes, LevelKind.COLOUR, is_lossy=is_lossy)


def _palette_levels(image: PilImage.Image) -> Levels:
    codes = _as_array(image)
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    palette[: len(colours)] = colours
    return Levels(codes, LevelKind.PALETTE, palette)


def _is_lossy(image: PilImage.Image, data: bytes) -> bool:
    """Return whether a file's compression is lossy."""
    match image.format:
        case "JPEG" | "MPO":
            return True
        case "JPEG2000":
            # In the header of the coding style, 1 is the reversible wavelet.
            start = data.find(b"\xff\x52")
            return start < 0 or data[start + 13 : start + 14] != b"\1"
        case "WEBP":
            return b"VP8L" not in data[:_WEBP_HEADER]
        case "TIFF":
            return "jpeg" in str(image.info.get("compression", ""))
    return False
