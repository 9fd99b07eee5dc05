"""The steps together: equal to the direct loop, resumable, nothing half-written, no unit lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner

from hlmat.transforms.beam.read_units import ReadWorkUnits
from hlmat.transforms.beam.shards import ShardPlan, WriteShards
from hlmat.transforms.beam.simulate import (
    METRICS_NAMESPACE,
    ClickSimulationHandler,
    ClickWorker,
    SimulateClicks,
    UnitResult,
)
from hlmat.transforms.core.records import Reject
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.arrow import (
    parquet_bytes_to_table,
    row_to_reject,
    row_to_trajectory,
)
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA, TRAJECTORY_SCHEMA
from hlmat.transforms.dataset_io.work_units import WorkUnit, plan_units, unit_to_json
from hlmat.transforms.rollout.unit_worker import simulate_unit
from scene_reader import SceneReader, disc_settings

READER = SceneReader(images=7, bad_images=frozenset({"003.png"}), bad_masks=frozenset({"005#1"}))
SETTINGS = disc_settings(READER)
UNITS = list(plan_units(READER.read_targets(), unit_size=3, fingerprint="f"))


def run(
    out: str, *, handler: ClickSimulationHandler | None = None, num_shards: int = 2
) -> dict[str, int]:
    """Run all steps and return the counters."""
    layout, storage = OutputLayout(out), storage_for(out)
    lines = "".join(unit_to_json(unit) + "\n" for unit in UNITS)
    storage.write_bytes(layout.plan_file(0), lines.encode())
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner(), options=PipelineOptions([]))
    units: Any = (
        pipeline
        | beam.Create([layout.plan_file(0)])
        | "Read work units" >> ReadWorkUnits(layout, storage)
    )
    made = units["todo"] | "Simulate" >> SimulateClicks(
        handler or ClickSimulationHandler(SETTINGS), layout=layout, storage=storage, fingerprint="f"
    )
    _ = (
        (made, units["done"])
        | beam.Flatten()
        | "Final files"
        >> WriteShards(ShardPlan(len(UNITS), num_shards), layout=layout, storage=storage)
    )
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(METRICS_NAMESPACE))["counters"]
    return {c.key.metric.name: c.committed for c in counters}


def final_files(out: str) -> dict[str, bytes]:
    storage = storage_for(out)
    return {
        f"{folder}/{name}": storage.read_bytes(f"{out}/{folder}/{name}")
        for folder in ("trajectories", "rejects")
        for name in storage.list_dir(f"{out}/{folder}")
    }


def rows(out: str, folder: str, schema: Any) -> list[dict[str, Any]]:
    return [
        row
        for name, data in sorted(final_files(out).items())
        if name.startswith(folder)
        for row in parquet_bytes_to_table(data, schema=schema, name=name).to_pylist()
    ]


def test_the_pipelines_result_is_the_direct_loops(bucket: str):
    counters = run(bucket)
    outcomes = [outcome for unit in UNITS for outcome in simulate_unit(unit, SETTINGS())]
    trajectories = [row_to_trajectory(r) for r in rows(bucket, "trajectories", TRAJECTORY_SCHEMA)]
    rejects = [row_to_reject(r) for r in rows(bucket, "rejects", REJECT_SCHEMA)]
    assert trajectories == [o for o in outcomes if not isinstance(o, Reject)]
    assert rejects == [o for o in outcomes if isinstance(o, Reject)]
    assert (len(trajectories), len(rejects)) == (17, 4)
    assert counters["trajectories"] == 17
    assert counters["rejected_unreadable_image"] == 3
    assert counters["rejected_empty_mask"] == 1


@pytest.mark.slow
def test_a_run_with_units_missing_takes_up_these_alone_and_gives_the_same_bytes(bucket: str):
    whole, broken = f"{bucket}/whole", f"{bucket}/broken"
    run(whole)
    run(broken)
    storage = storage_for(broken)
    storage.remove_dir(f"{broken}/trajectories")
    for unit in UNITS[2:4]:
        storage.remove(OutputLayout(broken).unit_file(unit.unit_id))
    assert run(broken)["units_written"] == 2
    assert final_files(broken) == final_files(whole)
    assert "units_written" not in run(broken)


@pytest.mark.parametrize("num_shards", [1, 3, 7])
def test_the_rows_do_not_depend_on_the_number_of_shards(bucket: str, num_shards: int):
    run(f"{bucket}/a", num_shards=num_shards)
    run(f"{bucket}/b", num_shards=2)
    assert len(final_files(f"{bucket}/a")) == 2 * num_shards
    assert rows(f"{bucket}/a", "trajectories", TRAJECTORY_SCHEMA) == rows(
        f"{bucket}/b", "trajectories", TRAJECTORY_SCHEMA
    )


class DyingHandler(ClickSimulationHandler):
    """Dies at one unit as a bug would."""

    def run_inference(
        self,
        batch: Sequence[WorkUnit],
        model: ClickWorker,
        inference_args: dict[str, Any] | None = None,
    ) -> list[UnitResult]:
        if any(unit.index == 1 for unit in batch):
            raise ZeroDivisionError("a bug")
        return super().run_inference(batch, model, inference_args)


def test_a_dead_unit_leaves_a_note_no_file_and_no_shard_until_it_is_done(bucket: str):
    counters = run(bucket, handler=DyingHandler(SETTINGS))
    layout, storage = OutputLayout(bucket), storage_for(bucket)
    assert counters["units_dead"] == 1
    assert counters["units_written"] == len(UNITS) - 1
    note = json.loads(storage.read_bytes(layout.failure_file(UNITS[1].unit_id)))
    assert "a bug" in " ".join(note["error"])
    assert not storage.is_file(layout.unit_file(UNITS[1].unit_id))
    assert list(final_files(bucket)) == [layout.trajectory_name(1, 2), layout.reject_name(1, 2)]

    assert run(bucket)["units_written"] == 1
    run(f"{bucket}/whole")
    assert final_files(bucket) == final_files(f"{bucket}/whole")


def test_a_damaged_checkpoint_is_named(bucket: str):
    run(bucket)
    path = OutputLayout(bucket).unit_file(UNITS[0].unit_id)
    storage_for(bucket).write_bytes(path, b"PAR1 not really")
    with pytest.raises(Exception, match=f"the unit file {path} is damaged .* remove it"):
        run(bucket)


def test_a_damaged_plan_is_reported(bucket: str):
    layout = OutputLayout(bucket)
    storage_for(bucket).write_bytes(layout.plan_file(0), b"not a unit\n")
    reader = ReadWorkUnits(layout, storage_for(bucket))
    pipeline = beam.Pipeline(runner=fn_runner.FnApiRunner(), options=PipelineOptions([]))
    _ = pipeline | beam.Create([layout.plan_file(0)]) | reader
    with pytest.raises(Exception, match="not a work unit"):
        pipeline.run()


def test_shards_hold_every_unit_once_in_order():
    for num_units in range(1, 30):
        for num_shards in range(1, num_units + 1):
            plan = ShardPlan(num_units, num_shards)
            shards = [plan.shard_of(i) for i in range(num_units)]
            assert shards == sorted(shards)
            assert [shards.count(s) for s in range(num_shards)] == [
                plan.units_in(s) for s in range(num_shards)
            ]
            assert min(shards.count(s) for s in range(num_shards)) >= 1


def test_a_worker_takes_one_unit_at_a_time():
    import threading

    worker = ClickWorker(replace(SETTINGS, reader=SceneReader())())
    results: list[UnitResult] = []
    threads = [
        threading.Thread(target=lambda u=u: results.append(worker.simulate(u))) for u in UNITS[:4]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = ClickWorker(replace(SETTINGS, reader=SceneReader())())
    assert sorted(results, key=lambda r: r.index) == [alone.simulate(u) for u in UNITS[:4]]
