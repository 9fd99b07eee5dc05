"""A run's images for its page, read with the reader that the run was made with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hlmat.export.runs.manifest import Manifest
from hlmat.pipelines.run.finished import load_unsized_image
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import DatasetReader, Image
from hlmat.transforms.core.records import Reject, RejectReason, Rle
from hlmat.transforms.masks.rle import encode_mask


@dataclass(frozen=True)
class ReaderImages:
    """The images of a run.

    Attributes:
        reader: of its data set; None if that cannot be opened.
        problem: why it cannot be opened.
        data_root: where the data set is now; None uses the root in the manifest.
    """

    reader: DatasetReader | None
    manifest: Manifest
    data_root: str | None = None
    problem: str = ""

    def of_target(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Load a target's image. Raises TargetError."""
        return self._opened().load_image(image_path, size_hw=size_hw)

    def of_reject(self, reject: Reject) -> tuple[Image, Rle | None]:
        """Load what can be read of a reject: its image and its mask.

        Without an image, a grey one is used.

        Raises:
            TargetError: nothing can be read.
        """
        reader = self._opened()
        try:
            truth = reader.load_truth(reject.ref).truth
        except (TargetError, ValueError, KeyError, TypeError):
            # Any problem with it is already the reject's reason.
            path = reject.ref.image_path
            return load_unsized_image(self.manifest, path, data_root=self.data_root), None
        size_hw = (truth.shape[0], truth.shape[1])
        try:
            image = reader.load_image(reject.ref.image_path, size_hw=size_hw)
        except TargetError:
            image = np.full((*size_hw, 3), 128, np.uint8)
        return image, encode_mask(truth)

    def _opened(self) -> DatasetReader:
        if self.reader is None:
            raise TargetError(RejectReason.MISSING_IMAGE, self.problem)
        return self.reader
