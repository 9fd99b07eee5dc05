"""The initial mask of a rollout: from the data set, or corrupted on purpose."""

from __future__ import annotations

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.corruption import corrupted_to_iou
from hlmat.transforms.rollout.options import FirstMask


def first_mask(options: FirstMask, masks: TruthMasks, *, seed: int, target_id: str) -> Mask:
    """Return a target's first mask, a function of seed and target.

    Raises:
        TargetError: EMPTY_MASK for a target without an object; NOT_CORRUPTIBLE if it is too small
            for the requested IoU. Keeping its mask unchanged would raise the IoU above the
            requested range.
    """
    if not masks.truth.any():
        raise TargetError(
            RejectReason.EMPTY_MASK,
            f"{target_id} names no object, so there is no mask to start with",
        )
    if options.corrupted_to is None:
        return masks.truth
    low, high = options.corrupted_to
    rng = target_rng(seed, target_id, "corrupted-mask")
    found = corrupted_to_iou(masks.truth, low=low, high=high, rng=rng, ignore=masks.ignore)
    if found is None:
        raise TargetError(
            RejectReason.NOT_CORRUPTIBLE,
            f"{target_id}: no corruption of the mask has an IoU of {low:g} to {high:g} with "
            "it; the object is too small, or the range too narrow",
        )
    return found.mask
