"""Time and memory of planning a run, by the size of the data set and the kind of its files.

    python -m benchmarks.planning

Planning lists the targets and cuts them into units; it reads names and shapes, no pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_POINTS = 24
_PER_IMAGE = 100
_SHAPES = 1000
_REFCOCO = {"images": 19_994, "annotations": 196_771, "refs": 50_000, "sentences": 142_210}
"""Counts of RefCOCO's files, from the data set's authors."""


def main() -> None:
    """Run the comparison and print it; with `--plan`, plan one data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=int, nargs="*", default=[100_000, 3_000_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--refcoco", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--plan", nargs=2, metavar=("DATASET", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        _plan(*arguments.plan)
        return
    print("| files | targets | time | processor time | us a target | peak memory |")
    print("|---|---|---|---|---|---|")
    for count in arguments.annotations:
        _measure("coco", f"COCO, {count:,} polygons", lambda root, n=count: _write_coco(root, n))
    if arguments.refcoco:
        _measure("refcoco", "RefCOCO's size", _write_refcoco)
    for count in arguments.rows:
        _measure("parquet", f"table, {count:,} rows", lambda root, n=count: _write_table(root, n))


def _measure(dataset: str, name: str, write: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        command = [sys.executable, "-m", "benchmarks.planning", "--plan", dataset, folder]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(
            f"| {name} | {found['targets']:,} | {time.perf_counter() - started:.1f} s "
            f"| {found['cpu_s']:.1f} s | {found['cpu_s'] / found['targets'] * 1e6:.0f} "
            f"| {found['peak_mb']:.0f} MB |",
            flush=True,
        )


def _plan(dataset: str, root: str) -> None:
    """Plan a run over a data set and print what that took as JSON."""
    from hlmat.pipelines.run.folder import RunFolder
    from hlmat.pipelines.run.source import RunSource
    from hlmat.pipelines.settings.commands import parse_command
    from hlmat.pipelines.settings.run_options import trajectories_config

    out = os.path.join(root, "out")
    flags = ["--dataset", dataset, "--data-root", root, "--out", out]
    config = trajectories_config(parse_command("trajectories", flags))
    source, folder = RunSource.open(config), RunFolder.of(out)
    with folder.locked():
        status = folder.begin({}, overwrite=False)
        plan, _ = source.plan_run(folder, status=status, settings={}, fingerprint="benchmark")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "targets": plan.num_targets,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1e3,
    }
    print(json.dumps(found))


def _write_coco(root: Path, count: int) -> None:
    names = [f"{number:012d}.jpg" for number in range(1, -(-count // _PER_IMAGE) + 1)]
    _write_images(root / "val2017", names)
    _write_instances(root / "annotations" / "instances_val2017.json", names, count)


def _write_refcoco(root: Path) -> None:
    names = [f"COCO_train2014_{n:012d}.jpg" for n in range(1, _REFCOCO["images"] + 1)]
    _write_images(root / "images" / "train2014", names)
    _write_instances(root / "refcoco" / "instances.json", names, _REFCOCO["annotations"])
    refs: list[dict[str, Any]] = []
    first, per_image = 0, -(-_REFCOCO["annotations"] // len(names))
    for number in range(_REFCOCO["refs"]):
        last = _REFCOCO["sentences"] * (number + 1) // _REFCOCO["refs"]
        annotation = number * _REFCOCO["annotations"] // _REFCOCO["refs"]
        refs.append(
            {
                "ref_id": number,
                "ann_id": annotation + 1,
                "image_id": annotation // per_image + 1,
                "category_id": 1,
                "split": "train",
                "file_name": f"{names[annotation // per_image][:-4]}_{annotation + 1}.jpg",
                "sent_ids": list(range(first, last)),
                "sentences": [
                    {"sent_id": i, "sent": f"thing {i}", "raw": f"thing {i}", "tokens": ["thing"]}
                    for i in range(first, last)
                ],
            }
        )
        first = last
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))


def _write_instances(path: Path, names: list[str], count: int) -> None:
    """Write an instances file, an annotation at a time."""
    path.parent.mkdir(parents=True)
    rng, per_image = np.random.default_rng(0), -(-count // len(names))
    angles = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shapes = []
    for _ in range(_SHAPES):
        centre, radius = rng.uniform((120, 120), (520, 360)), rng.uniform(15, 90)
        polygon = np.round(centre + radius * circle, 2)
        left, top = polygon.min(axis=0)
        width, height = np.ptp(polygon, axis=0)
        shape = {
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [float(left), float(top), float(width), float(height)],
            "segmentation": [polygon.ravel().tolist()],
        }
        shapes.append(json.dumps(shape)[1:])
    with open(path, "w") as file:
        images = [
            {"id": number, "file_name": name, "width": 640, "height": 480}
            for number, name in enumerate(names, start=1)
        ]
        categories = [{"id": 1, "name": "thing"}]
        head = json.dumps({"images": images, "categories": categories})
        file.write(head[:-1] + ', "annotations": [')
        for number in range(count):
            ids = f'{{"id": {number + 1}, "image_id": {number // per_image + 1}, '
            file.write((", " if number else "") + ids + shapes[number % _SHAPES])
        file.write("]}")


def _write_images(folder: Path, names: list[str]) -> None:
    """Write one image under many names."""
    folder.mkdir(parents=True)
    data = cv2.imencode(".jpg", np.full((480, 640, 3), 128, np.uint8))[1].tobytes()
    first = folder / names[0]
    first.write_bytes(data)
    for name in names[1:]:
        os.link(first, folder / name)


def _write_table(root: Path, count: int) -> None:
    """Write rows with a small image inside, a polygon and an expression."""
    data = cv2.imencode(".png", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()
    columns = {
        "image": pa.array([{"bytes": data, "path": None}] * count),
        "question": pa.array([f"the thing number {i}" for i in range(count)]),
        "answer": pa.array([[f"the thing number {i}"] for i in range(count)]),
        "segmentation": pa.array([[1.0, 1.0, 40.0, 1.0, 40.0, 30.0, 1.0, 30.0]] * count),
        "bbox": pa.array([[1.0, 1.0, 39.0, 29.0]] * count),
        "file_name": pa.array([f"{i:012d}.png" for i in range(count)]),
    }
    pq.write_table(pa.table(columns), root / "train-00000-of-00001.parquet", row_group_size=1000)


if __name__ == "__main__":
    main()
