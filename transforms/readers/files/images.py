"""A data set's images and mask images, read from its storage."""

from __future__ import annotations

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.masks.images import MaskRule, decode_image, decode_mask_image
from hlmat.transforms.masks.mask_values import MaskValues

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")


def load_image_file(
    storage: Storage,
    root: str,
    image_path: str,
    *,
    size_hw: tuple[int, int],
    turns_if_same_size: bool = False,
    turn_must_show: bool = False,
) -> Image:
    """Read an image below a root as uint8 RGB; see `hlmat.transforms.masks.images.decode_image`.

    Raises:
        TargetError: MISSING_IMAGE, UNREADABLE_IMAGE, SIZE_MISMATCH, TOO_LARGE or PATH_ESCAPES_ROOT.
    """
    data = read_below(
        storage,
        root,
        image_path,
        missing=RejectReason.MISSING_IMAGE,
        unreadable=RejectReason.UNREADABLE_IMAGE,
    )
    return decode_image(
        data,
        name=image_path,
        size_hw=size_hw,
        turns_if_same_size=turns_if_same_size,
        turn_must_show=turn_must_show,
    )


def load_mask_file(
    storage: Storage, root: str, mask_path: str, *, rule: MaskRule | MaskValues
) -> TruthMasks:
    """Read a mask image below a root; see `hlmat.transforms.masks.images.decode_mask_image`.

    Raises:
        TargetError: MISSING_MASK, UNREADABLE_MASK, EMPTY_MASK, TOO_LARGE or PATH_ESCAPES_ROOT.
    """
    data = read_below(
        storage,
        root,
        mask_path,
        missing=RejectReason.MISSING_MASK,
        unreadable=RejectReason.UNREADABLE_MASK,
    )
    return decode_mask_image(data, name=mask_path, rule=rule)


def read_below(
    storage: Storage,
    root: str,
    path: str,
    *,
    missing: RejectReason,
    unreadable: RejectReason,
) -> bytes:
    """Read a file below a root; distinguish a missing file from other failures.

    Raises:
        TargetError: with `missing`, `unreadable` or PATH_ESCAPES_ROOT.
    """
    full_path = join_under(root, path)
    try:
        return storage.read_bytes(full_path)
    except (FileNotFoundError, UnicodeEncodeError) as error:
        # No file has a name that file systems reject.
        raise TargetError(missing, f"{full_path} does not exist") from error
    except OSError as error:
        problem = error.strerror or error
        raise TargetError(unreadable, f"{full_path} cannot be read: {problem}") from error


def is_image_name(name: str) -> bool:
    """Return whether a file name is that of an image; macOS's companion files are not.

    >>> is_image_name("a.JPG"), is_image_name("._a.jpg")
    (True, False)
    """
    return split_suffix(name)[1] in IMAGE_SUFFIXES and not name.startswith(".")


def split_suffix(name: str) -> tuple[str, str]:
    """Return stem and lower-case suffix of a file name; dots inside the stem stay.

    >>> split_suffix("a.b.JPG")
    ('a.b', '.jpg')
    """
    stem, dot, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if dot and stem else (name, "")
