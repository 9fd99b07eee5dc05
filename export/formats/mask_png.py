"""Masks as PNG files of 0 and 255, with unique names that every file system accepts."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

import cv2
import numpy as np

from hlmat.transforms.core.records import Rle, TargetRef
from hlmat.transforms.masks.rle import decode_rle

_LONGEST_STEM = 120
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")


def mask_png(mask: Rle) -> bytes:
    """Return a mask as a grayscale PNG: 255 inside, 0 outside."""
    pixels = decode_rle(mask).view(np.uint8) * np.uint8(255)
    return cv2.imencode(".png", pixels)[1].tobytes()


def mask_names(refs: Sequence[TargetRef], *, mirrored: str | None = None) -> list[str]:
    """Return a name for each target's mask: the image's path without suffix, then the object.

    Characters other than ASCII letters, digits, dots, hyphens and underscores become underscores;
    a name that is taken (case-insensitively) gets a number.

    Args:
        refs: in a fixed order, which decides which names get a number.
        mirrored: the image folder of a data set whose masks are files named after their images; a
            mask then takes the path of its image below that folder, if it consists of plain names,
            with the object's number if the image has several.
    """
    of_image = Counter(ref.image_path for ref in refs)
    taken: set[str] = set()
    names: list[str] = []
    for ref in refs:
        candidates = _candidates(ref, mirrored, is_only=of_image[ref.image_path] == 1)
        name = next(n for n in candidates if n.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _candidates(ref: TargetRef, mirrored: str | None, *, is_only: bool) -> Iterator[str]:
    """Yield names for a mask without end, the preferred one first."""
    path = posixpath.splitext(ref.image_path)[0]
    if mirrored is not None and path.startswith(f"{mirrored}/"):
        below = path[len(mirrored) + 1 :]
        if all(_PLAIN_PART.fullmatch(part) for part in below.split("/")):
            yield f"{below}.png" if is_only else f"{below}_{ref.object_id}.png"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", path)[-_LONGEST_STEM:].lstrip(".-") or "mask"
    yield f"{stem}-{ref.object_id}.png"
    for number in count(2):
        yield f"{stem}-{ref.object_id}-{number}.png"
