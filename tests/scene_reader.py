"""A reader for tests: grey images with one bright rectangle per target, and chosen faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import builders
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.policies.oracle import OraclePolicy
from hlmat.transforms.rollout.loop import Limits
from hlmat.transforms.rollout.options import AreaFilter, InitialAction
from hlmat.transforms.rollout.unit_worker import RolloutSettings
from hlmat.transforms.segmenters.registry import SegmenterOptions

SIZE_HW = (40, 50)


@dataclass(frozen=True)
class SceneReader:
    """`images` images of three targets each.

    Attributes:
        bad_images: images that cannot be read.
        bad_masks: target ids whose mask cannot be read.
        listed_rejects: target ids that are rejected while listing.
        ignored_from: the row from which on every pixel is ignored.
    """

    images: int = 4
    bad_images: frozenset[str] = frozenset()
    bad_masks: frozenset[str] = frozenset()
    listed_rejects: frozenset[str] = frozenset()
    ignored_from: int | None = None
    name: str = "scenes"
    split: str = "test"

    def describe_layout(self) -> str:
        return f"{self.images} scenes"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        for image in range(self.images):
            for number in range(3):
                name = f"{image:03d}.png"
                ref = builders.target_ref(
                    f"{image:03d}#{number}",
                    f"rectangle {number}",
                    dataset=self.name,
                    split=self.split,
                    image_path=name,
                    object_id=number,
                    truth_ref=str(number),
                )
                if ref.target_id in self.listed_rejects:
                    yield Reject(ref, RejectReason.MISSING_MASK, "no mask next to it")
                else:
                    yield ref

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        if ref.target_id in self.bad_masks:
            raise TargetError(RejectReason.EMPTY_MASK, f"{ref.target_id}: the mask is empty")
        number = int(ref.truth_ref)
        mask = np.zeros(SIZE_HW, dtype=np.bool_)
        mask[4 + 3 * number : 24 + 5 * number, 6:30] = True
        if self.ignored_from is None:
            return TruthMasks(mask)
        ignore = np.zeros_like(mask)
        ignore[self.ignored_from :] = True
        return TruthMasks(mask & ~ignore, ignore)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        if image_path in self.bad_images:
            raise TargetError(RejectReason.UNREADABLE_IMAGE, f"{image_path} is truncated")
        return np.full((*size_hw, 3), 90, dtype=np.uint8)


def disc_settings(reader: SceneReader) -> RolloutSettings:
    """The oracle clicking on a reader's scenes, answered with discs."""
    return RolloutSettings(
        reader=reader,
        segmenter=SegmenterOptions("hlmat.transforms.segmenters.disc:DiscSegmenter"),
        build_policy=OraclePolicy,
        initial_action=InitialAction.NONE,
        limits=Limits(),
        area_filter=AreaFilter(),
        seed=0,
        provenance=builders.provenance("disc"),
        num_threads=2,
    )
