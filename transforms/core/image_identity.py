"""Which real image a target shows, so that data sets can be compared."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.records import TargetRef

_COCO_SETS = frozenset({"refcoco", "refcoco+", "refcocog", "grefcoco", "coco_mval"})
"""Their images are COCO's; an id is the same image in train2014, train2017 and val."""

_NUMBERED_BY_FOLDER = frozenset({"fss1000"})
"""Whose numbers start again in every folder; elsewhere the folder's name depends on the layout."""

_OF_THE_USER = {"coco": "coco-file", "folder": "folder", "trace": "trace", "parquet": "parquet"}
"""Data sets that may hold any image, which go by its path, and how their keys begin."""

_COCO_STEM = re.compile(r"(?:^|_)([0-9]{12})$")
_COCO_NAME = re.compile(r"COCO_[a-z]+20[0-9]{2}_([0-9]{12})")
_COCO_FOLDER = re.compile(r"(?:train|val|test|unlabeled)20[0-9]{2}")


@dataclass(frozen=True, order=True)
class KnownImage:
    """An image as records of training data know it.

    Attributes:
        key: of `image_key`.
        digest: of `image_digest`; empty if it is not known.
    """

    key: str
    digest: str = ""


def image_key(ref: TargetRef, *, shapes: Mapping[str, Any] | None) -> str:
    """Return a text that is equal for two targets of one data set when they show the same image.

    Images of COCO are known by their id, in whatever data set they lie. Generated ones are the
    same only with the same options. Images of the user's own are known by their path, all others
    by data set and stem, so that another encoding of a file is the same image; a data set's parts
    go by their own names in unions.

    Args:
        shapes: the options of the generated data set, where the target comes from it.

    >>> ref = TargetRef("t", "refcoco", "val", "a/COCO_train2014_000000000042.jpg", "42", 42, 0,
    ...                 ("it",), "{}", "")
    >>> image_key(ref, shapes=None)
    'coco:42'
    """
    path = posixpath.splitext(ref.image_path)[0]
    stem = posixpath.basename(path)
    if ref.dataset == "shapes":
        # How many images there are changes none of them.
        drawn = {key: value for key, value in (shapes or {}).items() if key != "count"}
        options = json.dumps(drawn, sort_keys=True)
        digest = hashlib.sha256(options.encode()).hexdigest()[:12]
        return f"shapes:{digest}:{ref.image_path}"
    if (coco_id := _coco_id(ref.dataset, path)) is not None:
        return f"coco:{coco_id}"
    if ref.dataset in _OF_THE_USER:
        return f"{_OF_THE_USER[ref.dataset]}:{path}"
    if ref.image_id is not None:
        return f"{ref.dataset}:{ref.image_id}"
    if stem.isdigit() and ref.dataset in _NUMBERED_BY_FOLDER:
        stem = f"{posixpath.basename(posixpath.dirname(ref.image_path))}_{stem}"
    return f"{ref.dataset}:{stem}"


def find_leaks(
    training: Iterable[KnownImage], evaluation: Iterable[KnownImage]
) -> list[tuple[KnownImage, KnownImage]]:
    """Return the pairs of an evaluated image and one trained on that show the same, sorted.

    Equal digests are the same image, as are equal keys of COCO and of generated scenes, whose
    pixels may differ by their encoding. Other equal keys count only where a digest is unknown:
    different images may share a name.
    """
    by_key: dict[str, list[KnownImage]] = {}
    by_digest: dict[str, list[KnownImage]] = {}
    for image in sorted(set(training)):
        by_key.setdefault(image.key, []).append(image)
        if image.digest:
            by_digest.setdefault(image.digest, []).append(image)
    pairs = []
    for image in sorted(set(evaluation)):
        same = [other for other in by_key.get(image.key, ()) if _is_same(image, other)]
        same = same or by_digest.get(image.digest, [])
        pairs += [(image, other) for other in same[:1]]
    return pairs


def _is_same(image: KnownImage, other: KnownImage) -> bool:
    if image.key.startswith(("coco:", "shapes:")) or not (image.digest and other.digest):
        return True
    return image.digest == other.digest


def _coco_id(dataset: str, path: str) -> int | None:
    """Return the id of an image of COCO, by its name and where it lies; None for any other."""
    stem = posixpath.basename(path)
    if dataset in _COCO_SETS:
        found = _COCO_STEM.search(stem)
    elif (found := _COCO_NAME.fullmatch(stem)) is None:
        folder = posixpath.basename(posixpath.dirname(path))
        found = _COCO_STEM.match(stem) if _COCO_FOLDER.fullmatch(folder) else None
    return None if found is None else int(found[1])
