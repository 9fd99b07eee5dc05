"""Read the plan: split its work units into those to do and those done already."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam import pvalue

from hlmat.transforms.beam.faults import carried_errors
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.layout import UnitLayout
from hlmat.transforms.dataset_io.work_units import UnitShard, unit_from_json


class ReadWorkUnits(beam.PTransform):
    """PCollection[path of a plan file] -> {"todo": unit, "done": (index, unit id)}.

    A unit is done when its file exists; each worker lists the files once. Units to do are
    reshuffled over the workers, since simulating them costs thousands of times more than reading
    them.

    Args:
        shard: the units to read; None for all.
        parse: returns the unit, with `unit_id` and `index`, of a line of a plan file.
    """

    def __init__(
        self,
        layout: UnitLayout,
        storage: Storage,
        *,
        shard: UnitShard | None = None,
        parse: Callable[[str], Any] = unit_from_json,
    ) -> None:
        super().__init__()
        self._layout = layout
        self._storage = storage
        self._shard = shard
        self._parse = parse

    def expand(self, input_or_inputs: Any) -> dict[str, Any]:
        outputs = input_or_inputs | "Read the plan" >> beam.ParDo(
            _ReadPlanFile(self._layout, self._storage, self._shard, self._parse)
        ).with_outputs("done", main="todo")
        return {
            "todo": outputs["todo"] | "Spread units over workers" >> beam.Reshuffle(),
            "done": outputs["done"],
        }


class _ReadPlanFile(beam.DoFn):
    def __init__(
        self,
        layout: UnitLayout,
        storage: Storage,
        shard: UnitShard | None,
        parse: Callable[[str], Any],
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._shard = shard
        self._parse = parse
        self._done: set[str] = set()

    def setup(self) -> None:
        with carried_errors():
            self._done = set(self._storage.list_dir(self._layout.units))

    def process(self, element: str) -> Iterator[object]:
        with carried_errors():
            for line in self._storage.read_bytes(element).decode("utf-8").splitlines():
                unit = self._parse(line)
                if self._shard is not None and not self._shard.holds(unit.index):
                    continue
                if posixpath.basename(self._layout.unit_file(unit.unit_id)) in self._done:
                    yield pvalue.TaggedOutput("done", (unit.index, unit.unit_id))
                else:
                    yield unit
