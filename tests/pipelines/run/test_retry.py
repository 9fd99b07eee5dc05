from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import builders
from hlmat.pipelines.run.folder import RunFolder
from hlmat.pipelines.run.retry import keep_unfinished
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes, unit_to_bytes
from hlmat.transforms.dataset_io.work_units import plan_units, unit_to_json


def test_a_retry_keeps_trajectories_and_asks_for_no_unit_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    refs = [builders.target_ref(str(i), image_path=f"{i // 2}.png") for i in range(6)]
    units = list(plan_units(refs, unit_size=2, fingerprint="f00"))
    folder = RunFolder.of(str(tmp_path / "out"))
    layout, storage = folder.layout, folder.storage
    lines = "".join(f"{unit_to_json(unit)}\n" for unit in units)
    storage.write_bytes(layout.plan_file(0), lines.encode())

    def done(ref: TargetRef):
        return builders.trajectory(builders.target(np.eye(3, dtype=np.bool_), ref))

    reject = Reject(refs[3], RejectReason.MISSING_IMAGE, "no image")
    for unit, outcomes in (
        (units[0], [done(refs[0]), done(refs[1])]),
        (units[1], [done(refs[2]), reject]),
    ):
        data = unit_to_bytes(outcomes, fingerprint="f00")
        storage.write_bytes(layout.unit_file(unit.unit_id), data)
    # Of an earlier version: it counts as not done.
    storage.write_bytes(f"{layout.units}/{units[2].unit_id}.parquet", b"PAR1")
    monkeypatch.setattr(LocalStorage, "is_file", None)
    keep_unfinished(folder, fingerprint="f00")
    assert storage.list_dir(layout.known) == [f"{units[1].unit_id}.arrow"]
    kept = unit_from_bytes(storage.read_bytes(layout.known_file(units[1].unit_id)), name="known")
    assert kept["target_id"].to_pylist() == ["2"]
    left = sorted([f"{units[0].unit_id}.arrow", f"{units[2].unit_id}.parquet"])
    assert storage.list_dir(layout.units) == left
