"""Small data sets, a folder of masks, a COCO file, gRefCOCO, and recorded answers about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools.coco import COCO

from reader_fixtures import as_json, image

SIZE_HW = (48, 64)


def disc(x: int, y: int, radius: int = 9) -> np.ndarray:
    """Return a disc as 0 and 255, uint8."""
    canvas = np.zeros(SIZE_HW, np.uint8)
    cv2.circle(canvas, (x, y), radius, 255, -1)
    return canvas


def make_image(*masks: np.ndarray) -> np.ndarray:
    """Return a grey image with bright discs."""
    image = np.full((*SIZE_HW, 3), 80, np.uint8)
    for mask in masks:
        image[mask > 0] = 220
    return image


def write_folder(
    root: Path, *, names: Sequence[str] = ("a", "b", "sub/c")
) -> dict[str, np.ndarray]:
    """Write a folder data set of one disc for each name; return the masks by name."""
    masks = {name: disc(12 + 12 * k, 20 + 4 * k) for k, name in enumerate(names)}
    for name, mask in masks.items():
        for folder, pixels in (("images", make_image(mask)), ("masks", mask)):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    return masks


def outline(mask: np.ndarray) -> list[list[float]]:
    """Return a disc's outline as COCO polygons."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [[float(v) for v in contour.ravel()] for contour in contours]


def write_coco(root: Path) -> dict[str, Any]:
    """Write a COCO data set with a crowd, a broken mask and an image without any; return it."""
    discs = {11: disc(14, 20), 12: disc(44, 22), 31: disc(30, 26)}
    content: dict[str, Any] = {
        "info": {"description": "mine"},
        "images": [
            {"id": 7, "file_name": "x.png", "height": 48, "width": 64, "flickr_url": "none"},
            {"id": 3, "file_name": "y.png", "height": 48, "width": 64},
            {"id": 9, "file_name": "z.png", "height": 48, "width": 64},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 44, "name": "hair_drier"}],
        "annotations": [
            {"id": 12, "image_id": 7, "category_id": 44, "segmentation": outline(discs[12])},
            {
                "id": 11,
                "image_id": 7,
                "category_id": 18,
                "segmentation": outline(discs[11]),
                "attributes": {"occluded": True},
                "iscrowd": 0,
            },
            {"id": 31, "image_id": 3, "category_id": 18, "segmentation": outline(discs[31])},
            {"id": 32, "image_id": 3, "category_id": 18, "segmentation": [], "iscrowd": 0},
            {
                "id": 33,
                "image_id": 3,
                "category_id": 18,
                "segmentation": {"counts": "PPP", "size": [48, 64]},
            },
            {
                "id": 34,
                "image_id": 3,
                "category_id": 18,
                "segmentation": {"counts": [0, 48 * 64], "size": [48, 64]},
                "iscrowd": 1,
            },
        ],
    }
    images = {"x": (discs[11], discs[12]), "y": (discs[31],), "z": ()}
    for name, masks in images.items():
        path = root / "val2017" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), make_image(*masks))
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return content


def write_grefcoco(root: Path) -> None:
    """Write a split `val` of gRefCOCO: two objects together, one alone, and none ("a dog")."""
    name, (height, width) = "COCO_train2014_000000000001.jpg", (24, 32)
    squares = [[x, 8, x + 8, 8, x + 8, 16, x, 16] for x in (4, 20)]
    content = {
        "images": [{"id": 1, "file_name": name, "height": height, "width": width}],
        "annotations": [
            {"id": 10 + k, "image_id": 1, "iscrowd": 0, "segmentation": [square]}
            for k, square in enumerate(squares)
        ],
        "categories": [],
    }
    texts = {"two": [10, 11], "left": [10], "a dog": [-1]}
    refs = [
        {"ref_id": k, "ann_id": ids, "image_id": 1, "split": "val", "sentences": [{"sent": text}]}
        for k, (text, ids) in enumerate(texts.items())
    ]
    folder = root / "grefcoco"
    folder.mkdir(parents=True)
    (folder / "instances.json").write_bytes(as_json(content))
    (folder / "grefs(unc).json").write_bytes(as_json(refs))
    (root / "train2014").mkdir()
    (root / "train2014" / name).write_bytes(image((height, width)))


def read_coco(path: Path) -> Any:
    """Read an instances file as its own tools do; their stubs know no fields besides COCO's."""
    return COCO(str(path))


def read_mask(path: Path) -> np.ndarray:
    """Return the pixels of an image that holds a mask as 0 and 255. Shape: (H, W), bool."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels > 0


def write_answers(path: Path, answers: Mapping[str, Sequence[str]]) -> str:
    """Write recorded answers by the data set's target ids; return the path as text."""
    lines = [
        json.dumps({"target_id": f"{target_id}@0", "answers": list(texts)})
        for target_id, texts in answers.items()
    ]
    path.write_text("\n".join(lines))
    return str(path)
