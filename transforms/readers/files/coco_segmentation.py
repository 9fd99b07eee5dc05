"""COCO segmentations as the JSON text of `truth_ref`, and back to masks."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import TruthMasks
from hlmat.transforms.core.records import RejectReason, TargetRef
from hlmat.transforms.masks.rasterize import segmentation_to_mask


def segmentation_ref(
    segmentation: Any, *, size_hw: tuple[int, int], ignore: str | None = None
) -> str:
    """Return a `truth_ref` for a COCO segmentation.

    Args:
        segmentation: polygons or run lengths, as the file has them.
        size_hw: (height, width) of the image according to the file.
        ignore: compressed run lengths of the pixels that count for nothing, or None.
    """
    content = {"segmentation": segmentation, "size": list(size_hw)}
    if ignore is not None:
        content["ignore"] = ignore
    return json.dumps(content, separators=(",", ":"), default=_counts_as_text)


def load_segmentation(ref: TargetRef) -> TruthMasks:
    """Return the masks of a `segmentation_ref`.

    Raises:
        TargetError: malformed, of another size, or empty.
    """
    content = json.loads(ref.truth_ref)
    height, width = content["size"]
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


def is_id(value: object) -> TypeGuard[int]:
    """Return whether a value can be an id: a whole number from 0 that fits 64 bits."""
    return type(value) is int and 0 <= value < 1 << 63


def image_size(image: dict[str, Any], *, name: str) -> tuple[int, int]:
    """Return (height, width) of an entry of an annotation file's `images`.

    Raises:
        TargetError: MALFORMED_ENTRY if it has no whole positive numbers there.
    """
    height, width = image.get("height"), image.get("width")
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"{name}: its image has the height {height!r} and the width {width!r}; expected whole "
            "numbers of pixels",
        )
    return height, width


def _counts_as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return repr(value)
