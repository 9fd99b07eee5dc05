"""Write the final files: each concatenates the unit files of a shard, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa

from hlmat.transforms.beam.faults import carried_errors
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import split_unit_tables, table_to_parquet_bytes
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes


@dataclass(frozen=True)
class ShardPlan:
    """Assign units to final files evenly and in order, so that rows keep the run's order.

    Attributes:
        num_units: number of units of the whole run.
        num_shards: number of files of each kind.
    """

    num_units: int
    num_shards: int

    def shard_of(self, unit_index: int) -> int:
        """Return the shard of a unit."""
        return unit_index * self.num_shards // self.num_units

    def units_in(self, shard: int) -> int:
        """Return how many units a shard has."""
        return self._first_of(shard + 1) - self._first_of(shard)

    def _first_of(self, shard: int) -> int:
        return -(-shard * self.num_units // self.num_shards)


class WriteShards(beam.PTransform):
    """PCollection[(index, unit id)] -> PCollection[shard number] of shards that were written.

    Only indices and ids travel through the grouping; the rows are read from the unit files. A
    shard with a unit missing is not written.
    """

    def __init__(self, plan: ShardPlan, *, layout: OutputLayout, storage: Storage) -> None:
        super().__init__()
        self._plan = plan
        self._layout = layout
        self._storage = storage

    def expand(self, input_or_inputs: Any) -> Any:
        plan = self._plan
        return (
            input_or_inputs
            | "Deal units to shards" >> beam.Map(lambda unit: (plan.shard_of(unit[0]), unit))
            | "Gather a shard's units" >> beam.GroupByKey()
            | "Write shards" >> beam.ParDo(_WriteShard(plan, self._layout, self._storage))
        )


class _WriteShard(beam.DoFn):
    def __init__(self, plan: ShardPlan, layout: OutputLayout, storage: Storage) -> None:
        self._plan = plan
        self._layout = layout
        self._storage = storage

    def process(self, element: tuple[int, Iterable[tuple[int, str]]]) -> Iterator[int]:
        shard, units = element
        # A set: a runner that retries a bundle may announce a unit twice.
        in_order = sorted(set(units))
        if len(in_order) != self._plan.units_in(shard):
            return
        with carried_errors():
            self._write(shard, [unit_id for _, unit_id in in_order])
        yield shard

    def _write(self, shard: int, unit_ids: Sequence[str]) -> None:
        trajectories, rejects = split_unit_tables([self._read(unit_id) for unit_id in unit_ids])
        shards = self._plan.num_shards
        for path, table in (
            (self._layout.trajectory_file(shard, shards), trajectories),
            (self._layout.reject_file(shard, shards), rejects),
        ):
            self._storage.write_bytes(path, table_to_parquet_bytes(table))

    def _read(self, unit_id: str) -> pa.Table:
        path = self._layout.unit_file(unit_id)
        try:
            return unit_from_bytes(self._storage.read_bytes(path), name=path)
        except DataError as error:
            raise OutputError(
                f"the unit file {path} is damaged ({error.__cause__ or error}); remove it and run "
                "the same command again"
            ) from error
