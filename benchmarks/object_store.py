"""Requests and time of a run on an object store, against the same run on the disk.

    python -m benchmarks.object_store

Starts a MinIO server (make object-store-servers) behind a proxy that counts and delays requests.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.object_store_servers import Minio, Proxy, s3_environment, s3_files


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--unit-size", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_data(root / "data", arguments.images)
        flags = ("--unit-size", str(arguments.unit_size))
        local_s = _run(f"{root}/data", f"{root}/out", flags, {})
        print(f"disk: {local_s:.1f} s for {arguments.images} images and masks")
        store = Minio(root / "minio")
        with store.running(), Proxy(port=store.port) as proxy:
            files = s3_files(store.url)
            files.mkdir("bucket")
            files.put(f"{root}/data", "bucket/data", recursive=True)
            units = -(-arguments.images // arguments.unit_size)
            for delay_ms in (0, 30):
                proxy.delay_s = delay_ms / 1000
                proxy.counts.clear()
                out = f"s3://bucket/out{delay_ms}"
                spent = _run("s3://bucket/data", out, flags, s3_environment(proxy.url))
                counts = proxy.counts
                print(
                    f"s3, {delay_ms} ms added: {spent:.1f} s, {spent / local_s:.2f} x the disk; "
                    f"{dict(sorted(counts.items()))}; {counts['GET'] / arguments.images / 2:.2f} "
                    f"GETs per file of the data set, {counts['PUT'] / units:.2f} PUTs per unit"
                )


def _write_data(root: Path, count: int) -> None:
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = np.zeros((480, 640), np.uint8)
        cv2.circle(mask, (int(rng.integers(80, 560)), int(rng.integers(80, 400))), 60, 255, -1)
        image = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (640, 480))
        for name, pixels in (("images", image), ("masks", mask)):
            path = root / name / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)


def _run(data: str, out: str, flags: tuple[str, ...], env: Mapping[str, str]) -> float:
    disc = "hlmat.transforms.segmenters.disc:DiscSegmenter"
    command = [sys.executable, "-m", "hlmat", "trajectories", "--dataset", "folder", *flags]
    command += ["--data-root", data, "--out", out, "--segmenter", disc, "--workers", "1", "-q"]
    started = time.perf_counter()
    subprocess.run(command, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
