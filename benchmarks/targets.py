"""A job by its number of targets, with a segmenter that is right at once and costs nothing.

    python -m benchmarks.targets
    python -m benchmarks.targets --targets 10000 --sleep-ms 1

What is measured is everything except the segmenter: planning, reading, rasterizing, the click,
comparing, encoding and writing. With `--sleep-ms` each call of the segmenter sleeps so long, as if
a device computed meanwhile.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.flat_scenes import SEGMENTER, write_flat_scenes
from benchmarks.workers import run_job


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sleep-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    sleep = ("--segmenter-arg", f"sleep_ms={arguments.sleep_ms}")
    print("| targets | workers | time | processor time | ms a target | targets/s | peak memory |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_flat_scenes(root, max(arguments.targets))
        for workers in arguments.workers:
            start_s = start_cpu_s = 0.0
            for count in (1, *arguments.targets):
                flags = ("--limit", str(count), *sleep)
                out = root / f"out{workers}-{count}"
                wall_s, cpu_s, peak_mb = run_job(root, out, workers, flags, segmenter=SEGMENTER)
                if count == 1:
                    start_s, start_cpu_s = wall_s, cpu_s
                each_ms = (cpu_s - start_cpu_s) / count * 1e3
                rate = count / (wall_s - start_s) if count > 1 else 0
                print(
                    f"| {count:,} | {workers} | {wall_s:.1f} s | {cpu_s:.1f} s | {each_ms:.2f} "
                    f"| {rate:.0f} | {peak_mb:.0f} MB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
