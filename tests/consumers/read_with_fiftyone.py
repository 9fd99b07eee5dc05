"""Imports folders with FiftyOne and prints what each data set has, as a list in JSON.

Runs in an environment with FiftyOne and its database; nothing of this project is imported.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import fiftyone as fo  # pyright: ignore[reportMissingImports]
import numpy as np
from fiftyone.core.service import ServiceListenTimeout  # pyright: ignore[reportMissingImports]
from fiftyone.utils.iou import compute_ious  # pyright: ignore[reportMissingImports]
from PIL import Image


def digest(detection: Any, size_wh: tuple[int, int]) -> str:
    """Return the sha256 of a detection's mask at the size of the image, as FiftyOne pastes it."""
    mask = detection.to_segmentation(frame_size=size_wh, target=1).mask
    return hashlib.sha256(np.ascontiguousarray(mask != 0).tobytes()).hexdigest()


def measured(prediction: Any, truth: Any) -> float | None:
    """Return the IoU of two masks as FiftyOne computes it; None without a truth."""
    if truth is None:
        return None
    return float(compute_ious([prediction], [truth], use_masks=True)[0, 0])


def content(folder: str) -> dict[str, Any]:
    """Return what FiftyOne makes of a folder."""
    data = fo.Dataset.from_dir(folder, dataset_type=fo.types.FiftyOneDataset)
    has_boxes, has_absent = (data.has_field(name) for name in ("boxes", "no_object"))
    samples = []
    for sample in data:
        with Image.open(sample.filepath) as image:
            image.load()
            size_wh = image.size
        metadata = sample.metadata
        truths = {each.target_id: each for each in sample.ground_truth.detections}
        assert (metadata.width, metadata.height) == size_wh
        samples.append(
            {
                "image_path": sample.image_path,
                "tags": sample.tags,
                "size_wh": size_wh,
                "ground_truth": [
                    {
                        "target_id": each.target_id,
                        "label": each.label,
                        "expressions": each.expressions,
                        "iou": each.iou,
                        "num_clicks": each.num_clicks,
                        "stop_reason": each.stop_reason,
                        "mask": digest(each, size_wh),
                    }
                    for each in sample.ground_truth.detections
                ],
                "predictions": [
                    {
                        "target_id": each.target_id,
                        "iou": each.iou,
                        "measured": measured(each, truths.get(each.target_id)),
                        "mask": digest(each, size_wh),
                    }
                    for each in sample.predictions.detections
                ],
                "clicks": [
                    {
                        "target_id": each.target_id,
                        "label": each.label,
                        "points": each.points,
                        "step": each.step,
                        "iou": each.iou,
                    }
                    for each in sample.clicks.keypoints
                ],
                "boxes": [
                    [each.target_id, *each.bounding_box]
                    for each in (sample.boxes.detections if has_boxes and sample.boxes else ())
                ],
                "no_object": [
                    [each.target_id, each.label]
                    for each in (
                        sample.no_object.classifications if has_absent and sample.no_object else ()
                    )
                ],
            }
        )
    low = data.filter_labels("ground_truth", fo.ViewField("iou") < 0.9)
    found = {
        "samples": samples,
        "tags": data.count_sample_tags(),
        "stop_reasons": data.count_values("ground_truth.detections.stop_reason"),
        "iou_below_0.9": low.count("ground_truth.detections"),
        "info": data.info,
    }
    data.delete()
    return found


def wait_for_the_database() -> None:
    """Wait until FiftyOne's database answers, on a busy machine longer than FiftyOne does."""
    for attempts_left in reversed(range(5)):
        try:
            fo.list_datasets()
        except ServiceListenTimeout:
            if not attempts_left:
                raise
        else:
            return


if __name__ == "__main__":
    wait_for_the_database()
    sys.stdout.write(f"\n{json.dumps([content(folder) for folder in sys.argv[1:]])}\n")
