"""COCO segmentations as the JSON text of `truth_ref`, and back to masks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.rasterize import check_size, segmentation_to_mask
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.frames import Fit, drawn_size

_OF_PLAIN_NUMBERS = b"0123456789.,-[]"


def segmentation_ref(
    segmentation: Any,
    *,
    size_hw: tuple[int, int],
    ignore: str | None = None,
    fit: Fit | None = None,
) -> str:
    """Return a `truth_ref` for a COCO segmentation.

    Args:
        segmentation: polygons or run lengths, as the file has them.
        size_hw: (height, width) of the image according to the file.
        ignore: compressed run lengths of the ignored pixels, or None.
        fit: which size the image's shapes fit, if its EXIF tag makes that matter.
    """
    if fit is None and ignore is None and (text := polygons_text(segmentation)) is not None:
        return f'{{"segmentation":{text},"size":[{size_hw[0]},{size_hw[1]}]}}'
    content = {"segmentation": segmentation, "size": list(size_hw)}
    if fit is not None:
        content["shapes_fit"] = fit.value
    if ignore is not None:
        content["ignore"] = ignore
    return json.dumps(content, separators=(",", ":"), default=_counts_as_text)


def union_ref(
    segmentations: Sequence[Any], *, size_hw: tuple[int, int], fit: Fit | None = None
) -> str:
    """Return a `truth_ref` for the union of COCO segmentations; without any, an empty mask.

    Arguments as of `segmentation_ref`.
    """
    content: dict[str, Any] = {"parts": list(segmentations), "size": list(size_hw)}
    if fit is not None:
        content["shapes_fit"] = fit.value
    return json.dumps(content, separators=(",", ":"), default=_counts_as_text)


def polygons_text(segmentation: Any) -> str | None:
    """Return polygons as `json.dumps` writes them without blanks; None for what orjson, which is
    ten times as fast, writes differently: tiny and huge numbers, NaN, and texts."""
    if type(segmentation) is not list:
        return None
    try:
        text = orjson.dumps(segmentation)
    except TypeError:
        return None
    if text.translate(None, _OF_PLAIN_NUMBERS) or b"0.0000" in text:
        return None
    return text.decode("ascii")


def load_segmentation(ref: TargetRef, *, storage: Storage, root: str) -> TruthMasks:
    """Return the masks of a `segmentation_ref` or a `union_ref`.

    Args:
        ref: the target.
        storage: reaches `root`.
        root: the data root, to find the mask's image.

    Raises:
        TargetError: malformed, of another size, or empty.
    """
    content = json.loads(ref.truth_ref)
    height, width = content["size"]
    if (fit := content.get("shapes_fit")) is not None:
        height, width = drawn_size(
            storage, root, ref.image_path, recorded_hw=(height, width), fit=Fit(fit)
        )
    if "parts" in content:
        return TruthMasks(_union(content["parts"], (height, width), name=ref.target_id))
    mask = segmentation_to_mask(
        content["segmentation"], size_hw=(height, width), name=ref.target_id
    )
    counts = content.get("ignore")
    if counts is None:
        return TruthMasks(mask)
    run_lengths = {"counts": counts, "size": [height, width]}
    try:
        ignore = segmentation_to_mask(run_lengths, size_hw=(height, width), name=ref.target_id)
    except TargetError as error:
        if error.reason is not RejectReason.EMPTY_MASK:
            raise
        return TruthMasks(mask)
    return TruthMasks(mask, ignore & ~mask)


def _union(parts: Sequence[Any], size_hw: tuple[int, int], *, name: str) -> Mask:
    check_size(size_hw, name=name)
    whole = np.zeros(size_hw, np.bool_)
    empty: TargetError | None = None
    for part in parts:
        try:
            whole |= segmentation_to_mask(part, size_hw=size_hw, name=name)
        except TargetError as error:
            if error.reason is not RejectReason.EMPTY_MASK:
                raise
            empty = error
    if empty is not None and not whole.any():
        raise empty
    return whole


def image_size(image: Mapping[str, Any], *, name: str) -> tuple[int, int]:
    """Return (height, width) of an entry of an annotation file's `images`.

    Raises:
        TargetError: MALFORMED_ENTRY if it has no whole positive numbers there; 120.0 is whole.
    """
    height, width = whole_number(image.get("height")), whole_number(image.get("width"))
    if height is None or width is None or height < 1 or width < 1:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"{name}: its image has the height {image.get('height')!r:.40} and the width "
            f"{image.get('width')!r:.40}; expected whole numbers of pixels",
        )
    return height, width


def _counts_as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return repr(value)
