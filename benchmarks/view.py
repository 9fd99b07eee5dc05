"""Measure how a large run's page opens, against reading the run, and how fast a page is saved.

    python -m benchmarks.view --targets 100000 --saved 1000

The run is generated: blobs of 480 x 640 pixels, four clicks each; its images are noise under a
gradient. A page is open when it has its whole index and the masks of its first screen; the first
screen alone comes earlier. Processor time, which does not grow when others use the machine, is
that of `hlmat view`. Memory is the most that the process of `hlmat view` held.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.oracle_clicks import blobs
from hlmat.export.runs.manifest import FileEntry, build_manifest
from hlmat.transforms.core.records import (
    Click,
    Provenance,
    Step,
    StopReason,
    Target,
    TargetRef,
    Trajectory,
)
from hlmat.transforms.dataset_io.arrow import table_to_parquet_bytes, trajectory_table
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA
from hlmat.transforms.masks.rle import encode_mask, mask_iou

_SIZE_HW = (480, 640)
_DRAWN = 200
_CLICKS = 4
_FIRST_SCREEN = 48
_SHARD_ROWS = 10_000
_READ = """
import sys
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.transforms.core.storage import LocalStorage
print(sum(1 for _ in read_trajectories(LocalStorage(), sys.argv[1])))
"""
_CONFIG = {
    "dataset": "folder",
    "split": "all",
    "policy": "oracle",
    "segmenter": {"name": "graphcut"},
    "max_clicks": _CLICKS,
    "target_iou": None,
    "stop_on_no_gain": False,
    "initial_action": "none",
    "seed": 0,
    **dict.fromkeys(("expressions", "split_by", "annotations", "mask_values", "columns")),
}


def drawn_trajectory(number: int) -> Trajectory:
    """Return a trajectory whose masks come nearer to a blob."""
    truth = blobs(_SIZE_HW, seed=number)
    steps: list[Step] = []
    for click in range(_CLICKS):
        size = 1 + 8 * (_CLICKS - click)
        mask = cv2.dilate(truth.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        iou = mask_iou(mask, truth)
        gain = iou - (steps[-1].iou if steps else 0.0)
        steps.append(Step(Click(10 * click, 5, True), encode_mask(mask), iou, gain, score=iou))
    name = f"{number}.png"
    ref = TargetRef(
        f"t{number}", "folder", "all", f"images/{name}", name, None, 0, ("a blob",), "{}", "none"
    )
    made_by = Provenance("graphcut", "", "oracle", 0, "benchmark")
    return Trajectory(Target(ref, encode_mask(truth)), (*steps,), StopReason.MAX_CLICKS, made_by)


def write_run(out: Path, targets: int, *, data_root: Path) -> None:
    """Write a run whose trajectories repeat a few under other names."""
    drawn = trajectory_table([drawn_trajectory(number) for number in range(_DRAWN)])
    shards = -(-targets // _SHARD_ROWS)
    files = {}
    for shard in range(shards):
        numbers = range(shard * _SHARD_ROWS, min((shard + 1) * _SHARD_ROWS, targets))
        table = drawn.take(pa.array([number % _DRAWN for number in numbers]))
        for column, form in (("target_id", "t{}"), ("image_path", "images/{}.png")):
            place = table.schema.get_field_index(column)
            values = pa.array([form.format(number) for number in numbers])
            table = table.set_column(place, table.schema.field(place), values)
        _write(out, OutputLayout.trajectory_name(shard, shards), table, files)
    _write(out, OutputLayout.reject_name(0, 1), REJECT_SCHEMA.empty_table(), files)
    manifest = build_manifest(files, _CONFIG, {}, source={"data_root": str(data_root)})
    (out / "manifest.json").write_bytes(manifest)


def _write(out: Path, name: str, table: pa.Table, files: dict[str, FileEntry]) -> None:
    data = table_to_parquet_bytes(table)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(data)
    files[name] = FileEntry.of(data, rows=table.num_rows)


def write_images(root: Path, count: int) -> None:
    """Write a folder data set with one image and mask for each target."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    gradient = np.linspace(0, 200, _SIZE_HW[1])[None, :, None]
    noise = rng.integers(0, 40, (*_SIZE_HW, 3))
    image = (gradient + noise).astype(np.uint8)
    for number in range(count):
        cv2.imwrite(str(root / "images" / f"{number}.png"), np.roll(image, number, axis=1))
        mask = blobs(_SIZE_HW, seed=number % _DRAWN).astype(np.uint8) * 255
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)


def open_page(out: Path, targets: int) -> dict[str, float]:
    """Serve a run and ask for what a browser asks for; return seconds and the peak in MB."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "hlmat", "view", str(out), "--no-browser", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = json.loads("".join(server.stdout.readline() for _ in range(3)))["address"]

    def load(name: str) -> bytes:
        with urllib.request.urlopen(f"{address}{name}", timeout=600) as answer:
            return answer.read()

    chunk = json.loads(load("data/page.js").split(b",", 1)[1].rstrip()[:-2])["indexRows"]
    load("data/index-0.js")
    for number in range(min(_FIRST_SCREEN, targets)):
        load(f"data/targets-{number}.js")
    first, first_busy = time.perf_counter() - started, _processor_seconds(server.pid)
    for number in range(1, -(-targets // chunk)):
        load(f"data/index-{number}.js")
    whole, whole_busy = time.perf_counter() - started, _processor_seconds(server.pid)
    spread = [k * targets // _FIRST_SCREEN for k in range(_FIRST_SCREEN)]
    for number in spread:
        load(f"data/targets-{number}.js")
    scattered = time.perf_counter() - started - whole
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    server.send_signal(signal.SIGINT)
    server.wait()
    return {
        "first": first,
        "first_busy": first_busy,
        "whole": whole,
        "whole_busy": whole_busy,
        "scattered": scattered,
        "peak_mb": peak / 1024,
    }


def read_run(out: Path) -> dict[str, float]:
    """Read every trajectory of a run in a process of its own; return seconds and the peak in MB."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _READ, str(out)], check=True, capture_output=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"whole": time.perf_counter() - started, "peak_mb": usage.ru_maxrss / 1024}


def save_page(out: Path, folder: Path, *flags: str) -> tuple[float, float, int]:
    """Save a page; return the seconds, those of processor time, and its bytes."""
    started, before = time.perf_counter(), _processor_seconds()
    command = [sys.executable, "-m", "hlmat", "view", str(out), "--save", str(folder), "-q", *flags]
    subprocess.run(command, check=True)
    seconds, busy = time.perf_counter() - started, _processor_seconds() - before
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return seconds, busy, size


def _processor_seconds(process: int | None = None) -> float:
    """Return the processor time of a process, or of every one that has ended."""
    if process is None:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--saved", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_run(root / "large", arguments.targets, data_root=root)
        found: dict[str, Any] = open_page(root / "large", arguments.targets)
        print(
            f"{arguments.targets} targets: first screen {found['first']:.1f} s (processor "
            f"{found['first_busy']:.1f} s), whole index {found['whole']:.1f} s (processor "
            f"{found['whole_busy']:.1f} s), {_FIRST_SCREEN} targets from everywhere "
            f"{found['scattered']:.1f} s, peak {found['peak_mb']:.0f} MB"
        )
        read = read_run(root / "large")
        print(f"reading the whole run: {read['whole']:.1f} s, peak {read['peak_mb']:.0f} MB")
        write_images(root / "data", arguments.saved)
        write_run(root / "small", arguments.saved, data_root=root / "data")
        for flags in ((), ("--rendered",)):
            seconds, busy, size = save_page(root / "small", root / f"page{len(flags)}", *flags)
            print(
                f"saving {arguments.saved} targets {' '.join(flags)}: {seconds:.1f} s "
                f"(processor {busy:.1f} s), {size / 1e6:.0f} MB"
            )


if __name__ == "__main__":
    main()
