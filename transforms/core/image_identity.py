"""Which real image a target shows, so that data sets can be held against each other."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hlmat.transforms.core.records import TargetRef

_COCO_SETS = frozenset({"refcoco", "refcoco+", "refcocog", "coco", "coco_mval"})
"""Their images are COCO's; an id is the same image in train2014, train2017 and val."""

_NUMBERED_BY_FOLDER = frozenset({"fss1000", "folder"})
"""Whose numbers start again in every folder; elsewhere the folder's name depends on the layout."""

_COCO_STEM = re.compile(r"(?:^|_)([0-9]{12})$")


def image_key(ref: TargetRef, *, shapes: Mapping[str, Any] | None) -> str:
    """Return a text that is equal for two targets exactly when they show the same image.

    Images of COCO are known by their id, in whatever data set they lie. Generated ones are the
    same only with the same options. All others are known by data set and stem, so that another
    encoding of a file is the same image; a data set's parts go by their own names in unions.

    Args:
        shapes: the options of the generated data set, where the target comes from it.

    >>> ref = TargetRef("t", "refcoco", "val", "a/COCO_train2014_000000000042.jpg", "42", 42, 0,
    ...                 ("it",), "{}", "")
    >>> image_key(ref, shapes=None)
    'coco:42'
    """
    stem = posixpath.splitext(posixpath.basename(ref.image_path))[0]
    if ref.dataset == "shapes":
        # How many images there are changes none of them.
        drawn = {key: value for key, value in (shapes or {}).items() if key != "count"}
        options = json.dumps(drawn, sort_keys=True)
        digest = hashlib.sha256(options.encode()).hexdigest()[:12]
        return f"shapes:{digest}:{ref.image_path}"
    coco_id = ref.image_id
    if coco_id is None and (found := _COCO_STEM.search(stem)) is not None:
        coco_id = int(found[1])
    if coco_id is not None and (ref.dataset in _COCO_SETS or _COCO_STEM.search(stem)):
        return f"coco:{coco_id}"
    if coco_id is not None:
        return f"{ref.dataset}:{coco_id}"
    if stem.isdigit() and ref.dataset in _NUMBERED_BY_FOLDER:
        stem = f"{posixpath.basename(posixpath.dirname(ref.image_path))}_{stem}"
    return f"{ref.dataset}:{stem}"


def find_leaks(training: Iterable[str], evaluation: Iterable[str]) -> list[str]:
    """Return the keys that are among both, sorted."""
    return sorted(set(training) & set(evaluation))
