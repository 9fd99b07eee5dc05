"""Exports with one and with two workers, against a plain loop that writes the same images.

    python -m benchmarks.exports

The plain loop reads the same Parquet files, decodes masks with pycocotools, blends them with NumPy
and writes each image with `cv2.imwrite`, in one process, without checks, names, counts or records.
The export for the Hugging Face Hub has the same images in Parquet files, and the masks as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from pycocotools import mask as coco_mask

from benchmarks.workers import write_coco

_DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"
_GREEN = 0.5 * np.array((0, 255, 0))


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--targets-per-image", type=int, default=7)
    parser.add_argument("--max-clicks", type=int, default=3)
    parser.add_argument("--shrunk", type=int, default=4, help="divides 640 x 480 pixels")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts")
    parser.add_argument("--plain", nargs=2, metavar=("RUN", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain_loop(*map(Path, (*arguments.plain, arguments.data)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_coco(
            root,
            images=arguments.images,
            targets=arguments.targets_per_image,
            shrunk=arguments.shrunk,
        )
        run = root / "run"
        _timed(
            *("-m", "hlmat", "trajectories", "--dataset", "coco", "--data-root", root, "-q"),
            *("--segmenter", _DISC, "--max-clicks", arguments.max_clicks, "--out", run),
            *("--workers", 2, "--no-stop-on-no-gain", "--target-iou", "none"),
        )
        best: dict[str, tuple[float, float]] = {}
        for number in range(arguments.rounds):
            for name, words in {
                "plain loop": (
                    *("-m", "benchmarks.exports", "--data", root),
                    *("--plain", run, root / f"plain-{number}"),
                ),
                **{
                    f"export, {workers} worker{'s' * (workers > 1)}": (
                        *("-m", "hlmat", "export", "--from", run, "--format", "llama-factory"),
                        *("--out", root / f"out-{number}-{workers}", "--image-format", "png"),
                        *("--workers", workers, "-q"),
                    )
                    for workers in (1, 2)
                },
                **{
                    f"export for the hub, {workers} worker{'s' * (workers > 1)}": (
                        *("-m", "hlmat", "export", "--from", run, "--format", "hub"),
                        *("--out", root / f"hub-{number}-{workers}", "--image-format", "png"),
                        *("--images", "all", "--license", "cc-by-4.0", "--workers", workers, "-q"),
                    )
                    for workers in (1, 2)
                },
            }.items():
                found = _timed(*words)
                best[name] = min(best.get(name, found), found)
        images = sorted((root / "out-0-1").rglob("*.png"))
        same = sum(_is_same(path, root, "out-0-2", "plain-0") for path in images)
        print(f"{len(images):,} images, {same:,} of them the same in all")
        plain_s = best["plain loop"][0]
        for name, (wall_s, cpu_s) in best.items():
            print(
                f"{name}: {wall_s:.1f} s, {cpu_s:.1f} s of processor time, "
                f"{plain_s / wall_s:.2f} times as fast as the plain loop"
            )


def plain_loop(run: Path, out: Path, data: Path) -> None:
    """Write the images of a run's states and one JSON file of rows."""
    rows: list[dict[str, Any]] = []
    image, image_path = np.zeros(0, np.uint8), ""
    out.mkdir()
    for table in sorted((run / "trajectories").glob("*.parquet")):
        for row in pq.read_table(table).to_pylist():
            if row["image_path"] != image_path:
                image_path = row["image_path"]
                image = np.asarray(cv2.imread(str(data / image_path)))
                cv2.imwrite(str(out / f"{Path(image_path).stem}.png"), image)
            size = [row["height"], row["width"]]
            for number, step in enumerate(row["steps"]):
                name = f"{Path(image_path).stem}.png"
                if number > 0:
                    before = row["steps"][number - 1]["mask_rle"]
                    mask = coco_mask.decode({"size": size, "counts": before}).astype(bool)
                    shown = image.copy()
                    shown[mask] = np.rint(0.5 * shown[mask] + _GREEN).astype(np.uint8)
                    name = f"{row['target_id']}-{number:02d}.png".replace("/", "_")
                    cv2.imwrite(str(out / name), shown)
                question = f"Segment this object: {row['expressions'][:1]}. Give the next click."
                answer = f"Point: ({step['x'] / size[1]:.3f}, {step['y'] / size[0]:.3f})"
                messages = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": answer},
                ]
                rows.append({"messages": messages, "images": [name]})
    (out / "rows.json").write_text(json.dumps(rows))


def _is_same(path: Path, root: Path, *others: str) -> bool:
    """Return whether an image has the same bytes in the other folders, by content."""
    return all(path.read_bytes() in _contents(root / other) for other in others)


_CONTENTS: dict[Path, set[bytes]] = {}


def _contents(folder: Path) -> set[bytes]:
    if folder not in _CONTENTS:
        _CONTENTS[folder] = {path.read_bytes() for path in folder.rglob("*.png")}
    return _CONTENTS[folder]


def _timed(*words: object) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a command, its children's included."""
    command: Sequence[str] = [sys.executable, *map(str, words)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu_s


if __name__ == "__main__":
    main()
