"""Image files as Pillow opens them: formats, sizes, EXIF rotation, pages."""

from __future__ import annotations

import io
import re
import warnings

from PIL import Image as PilImage
from PIL import ImageOps

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.rle import MAX_PIXELS

_EXIF_ORIENTATION = 0x0112
_FIRST_SWAPPING = 5
_PNG_EXIF = (b"eXIf", b"Raw profile type")
# Pillow opens other formats, such as EPS, with external programs.
_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_PAGED = ("GIF", "PNG", "TIFF", "WEBP")
"""Formats whose further pages are not previews, as those of a JPEG are."""
_MOST_PAGES = 16
_TURNS_BACK = {
    2: PilImage.Transpose.FLIP_LEFT_RIGHT,
    3: PilImage.Transpose.ROTATE_180,
    4: PilImage.Transpose.FLIP_TOP_BOTTOM,
    5: PilImage.Transpose.TRANSPOSE,
    6: PilImage.Transpose.ROTATE_90,
    7: PilImage.Transpose.TRANSVERSE,
    8: PilImage.Transpose.ROTATE_270,
}
"""What undoes the turn of each orientation."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"

# Freed blocks of this size return to the system; smaller ones may not.
PilImage.core.set_block_size(1 << 26)


def exif_orientation(data: bytes) -> int:
    """Return an image's EXIF orientation, 1 to 8; 1 without a readable tag.

    2 to 4 mirror or rotate the stored image and keep its size; 5 to 8 swap its sides.
    """
    try:
        image = _open(data, name="", reason=RejectReason.UNREADABLE_IMAGE)
        if image.format == "PNG" and not any(mark in data for mark in _PNG_EXIF):
            # Pillow would decode the whole image to make sure that no tag follows.
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
    # Of a TIFF file, Pillow states the size after turning.
    if image.format == "TIFF" and exif_orientation(data) >= _FIRST_SWAPPING:
        return image.width, image.height
    return image.height, image.width


def number_of_pages(data: bytes) -> int:
    """Return how many pages or frames of its first one's size a file has; counting may stop early.

    Reduced copies in a TIFF file and previews in a JPEG file do not count; nor do frames that
    cannot be found.
    """
    count = 1
    try:
        image = _open(data, name="", reason=RejectReason.UNREADABLE_MASK)
        if image.format not in _PAGED:
            return 1
        size = image.size
        for page in range(1, _MOST_PAGES):
            image.seek(page)
            count += image.size == size
    # There are no more, or none that can be read.
    except Exception:
        return count
    return count


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
        if data.startswith(_LFS_POINTER):
            raise TargetError(
                reason,
                f"{name} cannot be read: it is a pointer of Git LFS; run `git lfs pull` there",
            ) from error
        raise _unreadable(name, reason, error) from error


def load_pixels(data: bytes, *, name: str, max_pixels: int, reason: RejectReason) -> PilImage.Image:
    """Decode the first page of an image file as it is stored, not turned by its EXIF tag.

    Args:
        data: the file's content.
        name: of the file, for messages.
        max_pixels: larger images are rejected.
        reason: of the error if it cannot be read.

    Raises:
        TargetError: `reason`, or TOO_LARGE.
    """
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
            orientation = image.getexif().get(_EXIF_ORIENTATION) if image.format == "TIFF" else None
            image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(name, reason, error) from error
    return _turned_back(image, orientation)


def _turned_back(image: PilImage.Image, orientation: object) -> PilImage.Image:
    """Return a TIFF image as stored, with its tag: Pillow turns it as it is loaded."""
    turn = _TURNS_BACK.get(orientation) if isinstance(orientation, int) else None
    if turn is None or _EXIF_ORIENTATION in image.getexif():
        return image
    stored = image.transpose(turn)
    stored.format = image.format
    stored.getexif()[_EXIF_ORIENTATION] = orientation
    return stored


def _unreadable(name: str, reason: RejectReason, error: Exception) -> TargetError:
    cause = " ".join(str(error).split()) or type(error).__name__
    # A memory address would make the message differ from run to run.
    cause = re.sub(r"<_io\.BytesIO object at 0x[0-9a-fA-F]+>", "from its content", cause)
    return TargetError(reason, f"{name} cannot be read as an image: {cause}")


def turned_by_exif(image: PilImage.Image) -> PilImage.Image:
    """Return an image as its EXIF tag turns it; the same one without a readable tag."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if image.getexif().get(_EXIF_ORIENTATION) not in range(2, 9):
                return image
            return ImageOps.exif_transpose(image)
    # Without a readable EXIF block the stored orientation is used.
    except Exception:
        return image
