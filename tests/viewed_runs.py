"""Runs written from records, and their pages with drawn images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders import columns, provenance, steps, target, trajectory
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.export.runs.manifest import FileEntry, build_manifest, read_manifest
from hlmat.export.view.details import TrainingView
from hlmat.export.view.page_files import PageFiles, ViewedRun
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import (
    Click,
    Reject,
    RejectReason,
    Rle,
    StopReason,
    Trajectory,
)
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.dataset_io.arrow import (
    reject_to_row,
    table_to_parquet_bytes,
    trajectory_table,
)
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA

SIZE_HW = (30, 40)
OBJECT_COLUMNS = 20
CONFIG: dict[str, Any] = {
    "dataset": "d",
    "split": "s",
    "policy": "oracle",
    "segmenter": {"name": "graphcut"},
    "max_clicks": 3,
    "target_iou": 0.95,
    "stop_on_no_gain": True,
    "initial_action": "none",
    "seed": 0,
}


def clicked(number: int, *widths: int, text: str = "", **changes: Any) -> Trajectory:
    """Build a trajectory whose masks are the first columns of the image, one for each click.

    The object is the first 20 of 40 columns; target and image are named by the number.
    """
    truth = columns(OBJECT_COLUMNS, size_hw=SIZE_HW)
    actions = [
        (Click(w // 2, 5 + k, k % 2 == 0), columns(w, size_hw=SIZE_HW))
        for k, w in enumerate(widths)
    ]
    of = target(truth, f"t{number}", text or f"object {number}", image_path=f"{number}.png")
    changes.setdefault("stop_reason", StopReason.MAX_CLICKS)
    return trajectory(of, *steps(truth, *actions), provenance=provenance(), **changes)


def write_run(
    out: Path,
    trajectories: Sequence[Trajectory],
    rejects: Sequence[Reject] = (),
    *,
    shards: int = 1,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write the folder of a finished run; every shard has an equal part of the trajectories."""
    size = -(-len(trajectories) // shards)
    tables = {
        OutputLayout.trajectory_name(k, shards): trajectory_table(
            trajectories[k * size : (k + 1) * size]
        )
        for k in range(shards)
    }
    rows = [reject_to_row(reject, fingerprint="f00") for reject in rejects]
    tables[OutputLayout.reject_name(0, 1)] = pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
    files = {}
    for name, table in tables.items():
        data = table_to_parquet_bytes(table)
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
        files[name] = FileEntry.of(data, rows=table.num_rows)
    counts = {"trajectories": len(trajectories), "rejects": len(rejects)}
    manifest = build_manifest(files, {**CONFIG, **(config or {})}, counts)
    (out / "manifest.json").write_bytes(manifest)
    return out


def damage(out: Path, **values: Any) -> Path:
    """Change values of a run's first trajectory, as a damaged disk would; return its folder."""
    path = min((out / "trajectories").iterdir())
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0] |= values
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return out


def damage_text(out: Path, text: str) -> Path:
    """Make a text in a run's trajectories something that is not UTF-8; return its folder."""
    for path in (out / "trajectories").iterdir():
        pq.write_table(pq.read_table(path), path, compression="none", use_dictionary=False)
        data = path.read_bytes()
        assert text.encode() in data
        path.write_bytes(data.replace(text.encode(), b"\xff" * len(text)))
    return out


class DrawnImages:
    """Grey images; those in `missing` are not there. `asked` holds the paths that were loaded."""

    def __init__(self, *missing: str) -> None:
        self.missing = missing
        self.asked: list[str] = []

    def of_target(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        self.asked.append(image_path)
        if image_path in self.missing:
            raise TargetError(RejectReason.MISSING_IMAGE, f"{image_path} does not exist")
        return np.full((*size_hw, 3), 180, np.uint8)

    def of_reject(self, reject: Reject) -> tuple[Image, Rle | None]:
        return self.of_target(reject.ref.image_path, size_hw=SIZE_HW), None


def viewed(out: Path, images: DrawnImages | None = None) -> ViewedRun:
    """Open a run for its page, with drawn images."""
    manifest = read_manifest(LocalStorage(), str(out))
    return ViewedRun(out.name, str(out), manifest, images or DrawnImages())


def page_of(out: Path, against: Path | None = None, **changes: Any) -> PageFiles:
    """Build the page of a run."""
    changes.setdefault("training", TrainingView(training_task("next-click")))
    images = changes.pop("images", None)
    other = None if against is None else viewed(against)
    return PageFiles(viewed(out, images), against=other, **changes)
