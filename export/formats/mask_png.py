"""Masks as PNG files: 0 and 255, under names that any file system takes and no two share."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import count

import cv2
import numpy as np

from hlmat.transforms.core.records import Rle, TargetRef
from hlmat.transforms.masks.rle import decode_rle

_LONGEST_STEM = 120
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")


def mask_png(mask: Rle) -> bytes:
    """Return a mask as a grey PNG, 255 where it is and 0 elsewhere."""
    pixels = decode_rle(mask).view(np.uint8) * np.uint8(255)
    return cv2.imencode(".png", pixels)[1].tobytes()


def mask_names(refs: Sequence[TargetRef], *, mirrored: str | None = None) -> list[str]:
    """Return a name for each target's mask: the image's path without suffix, then the object.

    Whatever is no ASCII letter, digit, point, hyphen or underscore becomes an underscore; a name
    that is taken (capitals make no difference) gets a number.

    Args:
        refs: in one order always, since that decides who gets a number.
        mirrored: the folder of the images, in a data set of one mask for each image; a mask then
            has its image's name below it, sub-folders included, where that is a plain one.
    """
    taken: set[str] = set()
    names: list[str] = []
    for ref in refs:
        name = next(n for n in _candidates(ref, mirrored) if n.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _candidates(ref: TargetRef, mirrored: str | None) -> Iterator[str]:
    """Yield names for a mask, the nicest first, without end."""
    path = posixpath.splitext(ref.image_path)[0]
    if mirrored is not None and path.startswith(f"{mirrored}/"):
        below = path[len(mirrored) + 1 :]
        if all(_PLAIN_PART.fullmatch(part) for part in below.split("/")):
            yield f"{below}.png"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", path)[-_LONGEST_STEM:].lstrip(".-") or "mask"
    yield f"{stem}-{ref.object_id}.png"
    for number in count(2):
        yield f"{stem}-{ref.object_id}-{number}.png"
