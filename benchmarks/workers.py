"""A whole job with one and with two workers, by its size, and the processor time of a target.

    python -m benchmarks.workers

The segmenter paints discs, so that what is measured is everything else: reading, rasterizing,
comparing, searching clicks, encoding and writing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1430)
    parser.add_argument("--targets-per-image", type=int, default=7)
    parser.add_argument("--max-clicks", type=int, default=5)
    parser.add_argument("--limits", type=int, nargs="*", default=[1000], help="smaller jobs, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        count = write_coco(root, images=arguments.images, targets=arguments.targets_per_image)
        clicks = ("--max-clicks", str(arguments.max_clicks))
        alone_s, alone_cpu_s, peak_mb = run_job(root, root / "start", 1, ("--limit", "1", *clicks))
        print(
            f"one target: {alone_s:.1f} s, {alone_cpu_s:.1f} s of processor time, {peak_mb:.0f} MB"
        )
        for limit in arguments.limits:
            flags = ("--limit", str(limit), *clicks)
            wall_s, cpu_s, peak_mb = run_job(root, root / f"first{limit}", 1, flags)
            print(
                f"{limit:,} targets, 1 worker: {wall_s:.1f} s, {cpu_s:.1f} s of processor time, "
                f"{peak_mb:.0f} MB"
            )
        walls = {}
        for workers in (1, 2):
            wall_s, cpu_s, peak_mb = run_job(root, root / f"out{workers}", workers, clicks)
            walls[workers] = wall_s
            each_ms = (cpu_s - alone_cpu_s) / count * 1e3
            print(
                f"{count:,} targets, {workers} worker{'s' * (workers > 1)}: {wall_s:.1f} s, "
                f"{cpu_s:.1f} s of processor time, {each_ms:.2f} ms per target without start-up, "
                f"{peak_mb:.0f} MB in the job's own process"
            )
        print(
            f"two workers: {walls[1] / walls[2]:.2f} times as fast, without start-up "
            f"{(walls[1] - alone_s) / (walls[2] - alone_s):.2f} times"
        )


def write_coco(root: Path, *, images: int, targets: int, shrunk: int = 1) -> int:
    """Write images with polygons in COCO's layout; return the number of polygons.

    Args:
        shrunk: sides are 640 and 480 pixels divided by this.
    """
    rng = np.random.default_rng(0)
    width, height = 640 // shrunk, 480 // shrunk
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, images + 1):
        blocks = rng.integers(0, 256, (12, 16, 3), np.uint8)
        pixels = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        noisy = np.clip(pixels + rng.integers(-12, 13, pixels.shape), 0, 255).astype(np.uint8)
        name = f"{number:012d}.jpg"
        cv2.imwrite(str(root / "val2017" / name), noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for _ in range(targets):
            angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            radii = rng.uniform(15, 90) * rng.uniform(0.7, 1.1, 24)
            centre = rng.uniform((60, 60), (580, 420))
            points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            inside = np.clip(points / shrunk, 0, (width - 1, height - 1))
            polygon = np.round(inside, 2).ravel().tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": [polygon],
                }
            )
    content = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return len(annotations)


def run_job(
    root: Path, out: Path, workers: int, flags: tuple[str, ...], *, segmenter: str = _DISC
) -> tuple[float, float, float]:
    """Return seconds and processor seconds of a run with its workers, and its own peak in MB."""
    command = [sys.executable, "-m", "hlmat", "trajectories", "--dataset", "coco", *flags]
    command += ["--data-root", str(root), "--out", str(out), "--workers", str(workers), "-q"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    job = subprocess.Popen([*command, "--segmenter", segmenter], stdout=subprocess.DEVNULL)
    _, status, own = os.wait4(job.pid, 0)
    if status:
        raise SystemExit(f"{shlex.join(command)} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu_s, own.ru_maxrss / 1e3


if __name__ == "__main__":
    main()
