"""The initial mask of a rollout: from the data set, or corrupted on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.corruption import corrupted_to_iou


@dataclass(frozen=True)
class FirstMask:
    """Which mask a rollout begins with.

    Attributes:
        corrupted_to: the data set's mask is corrupted on purpose, to an IoU with itself from the
            first number up to, but not including, the second; None takes the mask as it is.

    Raises:
        ValueError: not 0 <= low < high <= 1.
    """

    corrupted_to: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.corrupted_to is None:
            return
        low, high = self.corrupted_to
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"masks are corrupted to an IoU of LOW-HIGH with 0 <= LOW < HIGH <= 1, got "
                f"{low:g}-{high:g}"
            )

    def of(self, masks: TruthMasks, *, seed: int, target_id: str) -> Mask:
        """Return a target's first mask; the same for the same seed and target.

        Raises:
            TargetError: NOT_CORRUPTIBLE where the object is too small for such an IoU. It is left
                out: kept as it is, it would make the masks look better than was asked for.
        """
        if self.corrupted_to is None:
            return masks.truth
        low, high = self.corrupted_to
        rng = target_rng(seed, target_id, "corrupted-mask")
        found = corrupted_to_iou(masks.truth, low=low, high=high, rng=rng, ignore=masks.ignore)
        if found is None:
            raise TargetError(
                RejectReason.NOT_CORRUPTIBLE,
                f"{target_id}: no corruption of the mask has an IoU of {low:g} to {high:g} with "
                "it; the object is too small, or the range too narrow",
            )
        return found.mask

    def describe(self) -> dict[str, Any]:
        """Return plain JSON values for the run's fingerprint."""
        return {"corrupted_to": None if self.corrupted_to is None else list(self.corrupted_to)}
