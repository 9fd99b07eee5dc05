"""Exports with one and with two workers, against a plain loop that writes the same images.

    python -m benchmarks.exports --images 350 1430 --formats llama-factory

The plain loop reads the same Parquet files, decodes masks with pycocotools, blends them with NumPy
and writes each image with `cv2.imwrite`, in one process, without checks, names, counts or records.
A single worker encodes images on a thread for each core; "on one core" it has one, so that two
workers can be compared with half of what they have. The export for the Hugging Face Hub has the
same images in Parquet files, and the masks as well. Between two numbers of images lies what an
image takes, start-up excluded.
"""

from __future__ import annotations

import argparse
import json
import os
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
_FLAGS: dict[str, Sequence[object]] = {
    "llama-factory": (),
    "hub": ("--images", "all", "--license", "cc-by-4.0"),
}
_WAYS = {"1 worker on one core": 1, "1 worker": 1, "2 workers": 2}
_GREEN = 0.5 * np.array((0, 255, 0))


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[350, 1430])
    parser.add_argument("--targets-per-image", type=int, default=7)
    parser.add_argument("--max-clicks", type=int, default=3)
    parser.add_argument("--shrunk", type=int, default=4, help="divides 640 x 480 pixels")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many counts")
    parser.add_argument("--formats", nargs="+", default=list(_FLAGS), choices=list(_FLAGS))
    parser.add_argument("--plain", nargs=2, metavar=("RUN", "OUT"), help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain_loop(*map(Path, (*arguments.plain, arguments.data)))
        return
    print("| what | images | time | processor time | times as fast as the plain loop |")
    print("|---|---|---|---|---|")
    found = {count: _measure(count, arguments) for count in sorted(arguments.images)}
    (_, (few, first)), *_, (_, (many, last)) = [*found.items(), *found.items()]
    if many == few:
        return
    print("\n| what | ms an image | ms of processor time an image |")
    print("|---|---|---|")
    for name in last:
        each = [(b - a) / (many - few) * 1e3 for a, b in zip(first[name], last[name], strict=True)]
        print(f"| {name} | {each[0]:.2f} | {each[1]:.2f} |")


def _measure(
    count: int, arguments: argparse.Namespace
) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return how many images were written, and the best times of each way to write them."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_coco(root, images=count, targets=arguments.targets_per_image, shrunk=arguments.shrunk)
        run = root / "run"
        _timed(
            *("-m", "hlmat", "trajectories", "--dataset", "coco", "--data-root", root, "-q"),
            *("--segmenter", _DISC, "--max-clicks", arguments.max_clicks, "--out", run),
            *("--workers", 2, "--no-stop-on-no-gain", "--target-iou", "none"),
        )
        best: dict[str, tuple[float, float]] = {}
        for number in range(arguments.rounds):
            out = root / f"plain-{number}"
            plain = ("-m", "benchmarks.exports", "--data", root, "--plain", run, out)
            ways: dict[str, tuple[Sequence[object], bool]] = {"plain loop": (plain, False)}
            for name in arguments.formats:
                for way, workers in {
                    "1 worker on one core": 1,
                    "1 worker": 1,
                    "2 workers": 2,
                }.items():
                    out = root / f"{name}-{number}-{way.replace(' ', '-')}"
                    words = ("-m", "hlmat", "export", "--from", run, "--format", name, "--out", out)
                    flags = (*_FLAGS[name], "--image-format", "png", "--workers", workers, "-q")
                    ways[f"{name}, {way}"] = ((*words, *flags), way.endswith("one core"))
            for name, (words, on_one_core) in ways.items():
                taken = _timed(*words, on_one_core=on_one_core)
                best[name] = min(best.get(name, taken), taken)
        images = sorted((root / "plain-0").rglob("*.png"))
        others = [path.name for path in root.glob("llama-factory-0-*")]
        same = sum(_is_same(path, root, *others) for path in images)
        assert same == len(images), f"{same} of {len(images)} images are the same in all"
    plain_s = best["plain loop"][0]
    for name, (wall_s, cpu_s) in best.items():
        times = f"{wall_s:.1f} s | {cpu_s:.1f} s | {plain_s / wall_s:.2f}"
        print(f"| {name} | {len(images):,} | {times} |", flush=True)
    return len(images), best


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


def _timed(*words: object, on_one_core: bool = False) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a command, its children's included."""
    command: Sequence[str] = [sys.executable, *map(str, words)]
    cores = os.sched_getaffinity(0)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # A process begins with the cores of the one that starts it.
    os.sched_setaffinity(0, {min(cores)} if on_one_core else cores)
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, cores)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu_s


if __name__ == "__main__":
    main()
