"""Images of any size with several objects, as JPEG files, for timing the whole worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Mask, TruthMasks
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.masks.images import decode_image


@dataclass(frozen=True)
class DrawnScenes:
    """A data set reader over images that `draw` wrote.

    Attributes:
        folder: holds the JPEG files.
        size_hw: of each image.
        images: how many there are.
        targets: how many there are in all, spread evenly over the images.
        files: how many images are drawn; further ones repeat their pixels, not their targets.
            None draws all.
    """

    folder: Path
    size_hw: tuple[int, int]
    images: int
    targets: int
    files: int | None = None
    name: str = "drawn"
    split: str = "all"

    def draw(self) -> None:
        """Write the images: coloured objects on a textured ground."""
        for index in range(min(self.images, self.files or self.images)):
            rng = np.random.default_rng(index)
            height, width = self.size_hw
            coarse = rng.integers(40, 216, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
            for number in range(self._targets_of(index)):
                image[self._mask(index, number)] = rng.integers(0, 256, 3)
            grain = rng.integers(0, 24, (height, width, 1), dtype=np.uint8)
            cv2.imwrite(str(self.folder / f"{index}.jpg"), cv2.add(image, np.tile(grain, 3)))

    def describe_layout(self) -> str:
        return f"{self.images} drawn images"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        for index in range(self.images):
            for number in range(self._targets_of(index)):
                yield TargetRef(
                    target_id=f"{index}-{number}",
                    dataset=self.name,
                    split=self.split,
                    image_path=f"{index}.jpg",
                    image_name=f"{index}.jpg",
                    image_id=None,
                    object_id=number,
                    expressions=("the object",),
                    truth_ref=f"{index} {number}",
                    license="drawn",
                )

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        index, number = map(int, ref.truth_ref.split())
        return TruthMasks(self._mask(index, number))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        index = int(image_path.removesuffix(".jpg"))
        data = (self.folder / f"{index % (self.files or self.images)}.jpg").read_bytes()
        return decode_image(data, name=image_path, size_hw=size_hw)

    def _targets_of(self, index: int) -> int:
        return (index + 1) * self.targets // self.images - index * self.targets // self.images

    def _mask(self, index: int, number: int) -> Mask:
        rng = np.random.default_rng((index, number))
        height, width = self.size_hw
        canvas = np.zeros(self.size_hw, dtype=np.uint8)
        centre = rng.uniform(0.2, 0.8, 2) * (width, height)
        for _ in range(3):
            at = centre + rng.uniform(-0.1, 0.1, 2) * (width, height)
            axes = rng.uniform(0.05, 0.2, 2) * (width, height)
            cv2.ellipse(
                canvas,
                (int(at[0]), int(at[1])),
                (int(axes[0]), int(axes[1])),
                float(rng.uniform(0, 180)),
                0,
                360,
                1,
                -1,
            )
        return canvas.view(np.bool_)
