"""Builders of the records that tests need; keywords override what a test is about."""

from __future__ import annotations

from typing import Any

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Provenance, Target, TargetRef
from hlmat.transforms.masks.rle import encode_mask


def target_ref(target_id: str = "t", *expressions: str, **changes: Any) -> TargetRef:
    """Build a reference to a target; `image_name` follows `image_path`.

    Args:
        expressions: "cup" if none is given.
        changes: further fields of the reference.
    """
    fields: dict[str, Any] = {
        "dataset": "d",
        "split": "s",
        "image_path": "a.jpg",
        "image_id": None,
        "object_id": 0,
        "expressions": expressions or ("cup",),
        "truth_ref": "{}",
        "license": "CC BY 4.0",
        **changes,
    }
    fields.setdefault("image_name", fields["image_path"])
    return TargetRef(target_id, **fields)


def target(
    truth: Mask, target_id: str = "t", *expressions: str, ignore: Mask | None = None, **changes: Any
) -> Target:
    """Build a target with its mask; the rest is as for `target_ref`."""
    ref = target_ref(target_id, *expressions, **changes)
    return Target(ref, encode_mask(truth), None if ignore is None else encode_mask(ignore))


def provenance(
    segmenter: str = "graphcut", policy: str = "oracle", *, fingerprint: str = "f00"
) -> Provenance:
    """Build what made a trajectory: a segmenter without weights, and seed 0."""
    return Provenance(segmenter, "", policy, 0, fingerprint)
