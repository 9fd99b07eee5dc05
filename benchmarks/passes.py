"""The passes over a finished run that are no pipelines: what a target costs in each.

    python -m benchmarks.passes

A run over polygons, each row repeated under new ids. Each command is timed on a part of it and on
all of it; the difference is the cost of the targets without start-up.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from benchmarks.workers import write_coco
from hlmat.export.formats.predictions import predictions_json
from hlmat.export.runs.manifest import FileEntry, build_manifest, read_manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.dataset_io.arrow import (
    table_to_parquet_bytes,
    trajectory_table,
)
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA

_DISC = "hlmat.transforms.segmenters.disc:DiscSegmenter"


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_coco(root, images=100, targets=7)
        _cpu_s(
            *("trajectories", "--dataset", "coco", "--data-root", root, "--workers", 1, "-q"),
            *("--segmenter", _DISC, "--out", root / "run", "--no-stop-on-no-gain"),
        )
        sizes = (arguments.targets // 10, arguments.targets)
        for size in sizes:
            repeat_run(root / "run", root / f"run-{size}", targets=size)
        for name in ("stats", "noise", "score"):
            ending = ".json" if name == "score" else ""
            few, many = (_cpu_s(name, f"{root / f'run-{size}'}{ending}") for size in sizes)
            each_ms = (many - few) / (sizes[1] - sizes[0]) * 1e3
            cost = f"{each_ms:.2f} ms of processor time a target"
            print(f"{name}: {cost}, {few:.1f} s for the first {sizes[0]:,}")


def repeat_run(run: Path, out: Path, *, targets: int) -> None:
    """Write a finished run of so many targets, each of another several times; and predictions."""
    manifest = read_manifest(LocalStorage(), str(run))
    found = list(read_trajectories(LocalStorage(), str(run), manifest=manifest))
    repeated = list(_repeated(found, targets))
    Path(f"{out}.json").write_bytes(predictions_json(repeated))
    made = trajectory_table(repeated)
    files: dict[str, FileEntry] = {}
    for name, table in (
        (OutputLayout.trajectory_name(0, 1), made),
        (OutputLayout.reject_name(0, 1), pa.Table.from_pylist([], schema=REJECT_SCHEMA)),
    ):
        data = table_to_parquet_bytes(table)
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(data)
        files[name] = FileEntry.of(data, rows=table.num_rows)
    counts = {**manifest.counts, "targets": targets, "trajectories": targets}
    content = build_manifest(files, dict(manifest.config), counts, source=manifest.source)
    (out / "manifest.json").write_bytes(content)


def _repeated(found: list[Trajectory], targets: int) -> Iterator[Trajectory]:
    for number in range(targets):
        trajectory = found[number * len(found) // targets]
        ref = replace(trajectory.target.ref, target_id=f"{number}")
        yield replace(trajectory, target=replace(trajectory.target, ref=ref))


def _cpu_s(*words: object) -> float:
    """Return the processor seconds of a command of `hlmat`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "hlmat", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
