"""One object and one click at a time: the loop as published evaluations of SAM write it.

Written from its definition, for comparison: every object's image is read and encoded, every
click goes through `SamPredictor`, all masks are made in full resolution, errors are searched by a
distance transform of every pixel, and masks are compared and run-length encoded as whole arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from benchmarks.oracle_clicks import plain_click
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import Click, Rle, TargetRef

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PlainStep = tuple[Click, Rle, float]
"""A click, the mask after it and its IoU."""


class PlainLoop:
    """Makes trajectories without any of the worker's means.

    Args:
        model: SAM of segment-anything's classes.
        reader: the data set.
        max_clicks: clicks per object.
        share_images: encode an image once for those of its objects that follow one another.
    """

    def __init__(
        self, model: Sam, *, reader: DatasetReader, max_clicks: int, share_images: bool = False
    ) -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model)
        self._reader = reader
        self._max_clicks = max_clicks
        self._share_images = share_images
        self._image_path: str | None = None

    def trajectory(self, ref: TargetRef) -> list[PlainStep]:
        """Click on one object to the end."""
        truth = self._reader.load_truth(ref).truth
        if not self._share_images or self._image_path != ref.image_path:
            size_hw = (truth.shape[0], truth.shape[1])
            self._predictor.set_image(self._reader.load_image(ref.image_path, size_hw=size_hw))
            self._image_path = ref.image_path
        mask: Any = np.zeros_like(truth)
        logits: Any = None
        clicks: list[Click] = []
        steps: list[PlainStep] = []
        for _ in range(self._max_clicks):
            click = plain_click(mask, truth, clicked=tuple(clicks))
            if click is None:
                break
            clicks.append(click)
            masks, scores, all_logits = self._predictor.predict(
                point_coords=np.array([(c.x, c.y) for c in clicks]),
                point_labels=np.array([int(c.is_positive) for c in clicks]),
                mask_input=logits,
                multimask_output=True,
            )
            best = int(np.argmax(scores))
            mask, logits = masks[best], all_logits[best : best + 1]
            iou = np.logical_and(mask, truth).sum() / np.logical_or(mask, truth).sum()
            encoded: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            rle = Rle(encoded["counts"].decode(), (mask.shape[0], mask.shape[1]))
            steps.append((click, rle, float(iou)))
        return steps
