"""Generated scenes as COCO data sets: as they are, and with the errors of `benchmarks.noise`.

    python -m benchmarks.noisy_data --out out/noise --images 160 --rate 0.3

writes OUT/clean and OUT/noisy, which `hlmat trajectories --dataset coco` reads: to train a model on
each, and on what `hlmat noise` leaves of the second (docs/noise.md).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from benchmarks.noise import KINDS, PlantedData, plant
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.readers.shapes.options import ShapesOptions

ANNOTATIONS = "annotations/instances_train.json"


def main() -> None:
    """Write both data sets and print what was planted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--side", type=int, default=120, help="of an image in pixels")
    parser.add_argument("--objects", type=int, default=3, help="most in an image; 2 at least")
    parser.add_argument("--rate", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not 0 < arguments.rate <= 0.5:
        parser.error("--rate: must be above 0 and at most 0.5")
    scenes = ShapesOptions(
        count=arguments.images,
        height=arguments.side,
        width=arguments.side,
        objects_min=2,
        objects_max=arguments.objects,
        seed=arguments.seed,
    )
    for name, rate in (("clean", 0.0), ("noisy", arguments.rate)):
        data = plant(scenes, rate=rate, seed=arguments.seed)
        write_coco(data, arguments.out / name)
        counts = Counter(kind for kinds in data.planted.values() for kind in kinds)
        planted = ", ".join(f"{kind} {counts[kind]}" for kind in KINDS if counts[kind])
        wrong = sum(bool(kinds) for kinds in data.planted.values())
        print(
            f"{arguments.out / name}: {len(data.targets)} targets of {len(data.images)} images, "
            f"{wrong} with errors" + (f" ({planted})" if planted else "")
        )


def write_coco(data: PlantedData, folder: Path) -> None:
    """Write images as PNG and targets as COCO annotations with their texts."""
    places = {path: number for number, path in enumerate(data.images)}
    names = {path: f"{number:06d}.png" for path, number in places.items()}
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for path, image in data.images.items():
        cv2.imwrite(str(folder / "images" / names[path]), image[:, :, ::-1])
    annotations: list[dict[str, Any]] = []
    for ref, truth in data.targets:
        mask = encode_mask(truth)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": places[ref.image_path],
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": {"counts": mask.counts, "size": list(mask.size_hw)},
                "expressions": list(ref.expressions),
            }
        )
    images = [
        {"id": places[path], "file_name": names[path], "height": len(image), "width": len(image[0])}
        for path, image in data.images.items()
    ]
    file = folder / ANNOTATIONS
    file.parent.mkdir(exist_ok=True)
    categories = [{"id": 1, "name": "object"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(content))


if __name__ == "__main__":
    main()
