"""Decode images and mask images from bytes of any supported format."""

from __future__ import annotations

import io
import warnings
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL import ImageOps

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import MAX_PIXELS

_EXIF_ORIENTATION = 0x0112
_PNG_EXIF = (b"eXIf", b"Raw profile type")
# Pillow opens other formats, such as EPS, with external programs.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_NAMED_VALUES = 5
_TRIMAP_OBJECT = 255
_TRIMAP_IGNORE = 128


class MaskRule(StrEnum):
    """How a mask image encodes the object."""

    FOREGROUND = "foreground"
    """Bright pixels, relative to the file's maximum."""
    PALETTE_INDEX = "palette_index"
    """Any palette index above 0."""
    TRIMAP = "trimap"
    """255 is the object, 128 is ignored, 0 is background."""
    OBJECT_ID = "object_id"
    """Any value above 0; object ids are not distinguished."""


def decode_image(
    data: bytes,
    *,
    name: str,
    size_hw: tuple[int, int] | None = None,
    turns_if_same_size: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """Decode an image as uint8 RGB. Shape: (H, W, 3).

    16-bit greys are scaled to 8 bit; transparency is dropped.

    Args:
        data: the file's content.
        name: of the file, for messages.
        size_hw: the size that the image must have. It is turned by its EXIF tag only if that
            is what gives it this size. None takes the image as it is stored.
        turns_if_same_size: turn it, too, where its EXIF tag leaves it the size that it must have.
        max_pixels: larger images are rejected.

    Raises:
        TargetError: UNREADABLE_IMAGE, TOO_LARGE or SIZE_MISMATCH.
    """
    image = _decode(data, name=name, max_pixels=max_pixels, reason=RejectReason.UNREADABLE_IMAGE)
    stored_hw = (image.height, image.width)
    if size_hw is not None and stored_hw != size_hw:
        turned = _turned_by_exif(image)
        if (turned.height, turned.width) != size_hw:
            raise TargetError(
                RejectReason.SIZE_MISMATCH,
                f"{name} has {image.width} x {image.height} pixels, its mask "
                f"{size_hw[1]} x {size_hw[0]}, and its EXIF tag does not explain the difference",
            )
        image = turned
    elif turns_if_same_size and size_hw is not None:
        turned = _turned_by_exif(image)
        image = turned if (turned.height, turned.width) == size_hw else image
    return _to_rgb(image)


def exif_orientation(data: bytes) -> int:
    """Return the orientation that an image's EXIF tag states, 1 to 8; 1 without a readable tag.

    2 to 4 mirror or turn the stored image and keep its size; 5 to 8 swap its sides.
    """
    try:
        image = _open(data, name="", reason=RejectReason.UNREADABLE_IMAGE)
        if image.format == "PNG" and not any(mark in data for mark in _PNG_EXIF):
            # Pillow would decode all of it to be sure that no tag follows.
            return 1
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    # Without a readable EXIF block the stored orientation is used.
    except Exception:
        return 1
    return value if type(value) is int and 1 <= value <= 8 else 1


def image_size_hw(data: bytes, *, name: str) -> tuple[int, int]:
    """Return (height, width) as stored, without decoding the pixels.

    Raises:
        TargetError: UNREADABLE_IMAGE.
    """
    image = _open(data, name=name, reason=RejectReason.UNREADABLE_IMAGE)
    return image.height, image.width


def decode_mask_image(
    data: bytes, *, name: str, rule: MaskRule, max_pixels: int = MAX_PIXELS
) -> TruthMasks:
    """Decode a mask image.

    Args:
        data: the file's content.
        name: of the file, for messages.
        rule: how its values are read.
        max_pixels: larger images are rejected.

    Raises:
        TargetError: UNREADABLE_MASK, TOO_LARGE or EMPTY_MASK.
    """
    image = _decode(data, name=name, max_pixels=max_pixels, reason=RejectReason.UNREADABLE_MASK)
    values = _mask_values(image, keep_indices=rule is MaskRule.PALETTE_INDEX)
    ignore = None
    match rule:
        case MaskRule.FOREGROUND:
            truth = _foreground(values)
        case MaskRule.PALETTE_INDEX | MaskRule.OBJECT_ID:
            truth = values > 0
        case MaskRule.TRIMAP:
            truth = values == _TRIMAP_OBJECT
            ignore = values == _TRIMAP_IGNORE
            unknown = np.unique(values[~(truth | ignore | (values == 0))])
            if unknown.size:
                found = ", ".join(str(value) for value in unknown[:_NAMED_VALUES])
                more = f" and {unknown.size - _NAMED_VALUES} more" * (unknown.size > _NAMED_VALUES)
                raise TargetError(
                    RejectReason.UNREADABLE_MASK,
                    f"{name} is not a trimap: expected the values 0, {_TRIMAP_IGNORE} and "
                    f"{_TRIMAP_OBJECT}, found {found}{more} as well",
                )
    if not truth.any():
        raise TargetError(RejectReason.EMPTY_MASK, f"{name} has no object pixel")
    return TruthMasks(truth=truth, ignore=ignore)


def _open(data: bytes, *, name: str, reason: RejectReason) -> PilImage.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PilImage.open(io.BytesIO(data), formats=_FORMATS)
    except PilImage.DecompressionBombError as error:
        raise TargetError(
            RejectReason.TOO_LARGE,
            f"{name} has more than the {MAX_PIXELS:,} pixels that are read; reduce it first "
            f"({error})",
        ) from error
    # Pillow's plugins raise exceptions of any type on broken files.
    except Exception as error:
        raise _unreadable(name, reason, error) from error


def _decode(data: bytes, *, name: str, max_pixels: int, reason: RejectReason) -> PilImage.Image:
    image = _open(data, name=name, reason=reason)
    if image.width * image.height > max_pixels:
        raise TargetError(
            RejectReason.TOO_LARGE,
            f"{name} has {image.width} x {image.height} pixels, more than the "
            f"{max_pixels:,} that are read; reduce it first",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(name, reason, error) from error
    return image


def _unreadable(name: str, reason: RejectReason, error: Exception) -> TargetError:
    cause = " ".join(str(error).split()) or type(error).__name__
    cause = cause.replace("<_io.BytesIO object", "<data")
    return TargetError(reason, f"{name} cannot be read as an image: {cause}")


def _turned_by_exif(image: PilImage.Image) -> PilImage.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if image.getexif().get(_EXIF_ORIENTATION, 1) == 1:
                return image
            return ImageOps.exif_transpose(image)
    # Without a readable EXIF block the stored orientation is used.
    except Exception:
        return image


def _to_rgb(image: PilImage.Image) -> Image:
    if image.mode.startswith("I") or image.mode == "F":
        grey = _scaled_to_8_bit(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(image.convert("RGB"), dtype=np.uint8)


def _scaled_to_8_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale greys of 16 bit (or more, or floats in [0, 1]) to 8 bit."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = 65535.0 if np.issubdtype(values.dtype, np.integer) else max(1.0, float(numbers.max()))
    return np.clip(np.rint(numbers * (255.0 / top)), 0, 255).astype(np.uint8)


def _mask_values(image: PilImage.Image, *, keep_indices: bool) -> NDArray[np.int64]:
    """Return one value per pixel: the palette's indices, or the brightest colour channel."""
    mode = image.mode
    if mode == "P" and keep_indices:
        return np.asarray(image).astype(np.int64)
    if mode == "F":
        finite = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)
        return np.clip(np.rint(finite), 0, 65535).astype(np.int64)
    if mode == "1" or mode == "L" or mode.startswith("I"):
        return np.asarray(image).astype(np.int64)
    values = _to_rgb(image).max(axis=2)
    # A cut-out whose shape is in its transparency alone has one colour throughout.
    if mode in ("LA", "PA", "RGBA") and values.min() == values.max():
        alpha = np.asarray(image.getchannel("A"))
        values = alpha if alpha.min() < alpha.max() else values
    return values.astype(np.int64)


def _foreground(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Threshold at half of the range that the file uses: {0, 1}, 8 bit or 16 bit."""
    top = int(values.max())
    if top <= 1:
        return values > 0
    if top <= 255:
        # Object ids and dim masks never come near the middle of the range.
        return values > 127 if top > 127 else values > 0
    return values > 32767 if top > 32767 else values > 0
