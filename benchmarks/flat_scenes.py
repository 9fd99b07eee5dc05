"""Small drawn scenes in COCO's layout, whose objects a trivial segmenter finds at one click."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

SEGMENTER = "hlmat.transforms.segmenters.flat_colour:FlatColourSegmenter"
TARGETS = 7
"""Of an image."""
_WIDTH, _HEIGHT = 160, 120
_COLUMNS = 4
_POINTS = 24


def write_flat_scenes(root: Path, targets: int) -> int:
    """Write images with polygons, each in a cell of its own; return the number of polygons.

    Every image is drawn again, since a run reads each again to record its content.
    """
    rng = np.random.default_rng(0)
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    cell = np.array((_WIDTH / _COLUMNS, _HEIGHT / 2))
    angles = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for number in range(1, -(-targets // TARGETS) + 1):
        pixels = rng.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
        # Noise in the other colours keeps the images of a size that photographs have.
        pixels[..., 2] = 0
        pixels[..., :2] >>= 4
        for index in range(TARGETS):
            centre = (np.array((index % _COLUMNS, index // _COLUMNS)) + 0.5) * cell
            radii = rng.uniform(6, 18) * rng.uniform(0.7, 1.0, _POINTS)
            polygon = np.round(centre + radii[:, None] * circle, 2).ravel().tolist()
            polygons: Any = [polygon]
            runs = coco_mask.merge(coco_mask.frPyObjects(polygons, _HEIGHT, _WIDTH))
            pixels[coco_mask.decode(runs).astype(bool), 2] = 30 * (index + 1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": [polygon],
                }
            )
        name = f"{number:012d}.png"
        cv2.imwrite(str(root / "val2017" / name), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        images.append({"id": number, "file_name": name, "width": _WIDTH, "height": _HEIGHT})
    content = {
        "images": images,
        "annotations": annotations[:targets],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return targets
