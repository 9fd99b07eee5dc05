"""Simulate clicks for work units through Beam's RunInference and write unit files."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from hlmat.transforms.beam.do_units import (
    METRICS_NAMESPACE,
    note_dead_unit,
    one_line,
    write_unit_file,
)
from hlmat.transforms.beam.faults import carried_errors
from hlmat.transforms.beam.run_inference import ModelHandler, RunInference
from hlmat.transforms.core.records import Reject, Trajectory
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.arrow import row_to_trajectory
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.unit_files import unit_from_bytes, unit_to_bytes
from hlmat.transforms.dataset_io.work_units import WorkUnit, ref_of
from hlmat.transforms.rollout.unit_worker import Simulation, simulate_unit


@dataclass(frozen=True)
class UnitResult:
    """The outcome of a unit: one trajectory or reject per item, in order; no pixels."""

    unit_id: str
    index: int
    outcomes: tuple[Trajectory | Reject, ...]


class ClickWorker:
    """Keeps the loaded segmenter and processes units, one at a time.

    A segmenter keeps the current image, so threads of one process must take turns.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._lock = threading.Lock()

    def simulate(self, unit: WorkUnit) -> UnitResult:
        """Roll out every target of a unit."""
        with self._lock:
            try:
                outcomes = simulate_unit(unit, self._simulation)
            # Signals do not reach this thread: the user's own tool or policy raised it.
            except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
                raise RuntimeError(
                    f"the segmenter or the policy raised {type(error).__name__}: {error}"
                ) from error
        return UnitResult(unit_id=unit.unit_id, index=unit.index, outcomes=tuple(outcomes))


@dataclass(frozen=True)
class KnownOutcomes:
    """Trajectories of units that are processed again only to retry their rejects."""

    layout: OutputLayout
    storage: Storage

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.storage.list_dir(self.layout.known))

    def of(self, unit: WorkUnit) -> Mapping[str, Trajectory]:
        """Return the trajectories of a unit that are kept, by target id."""
        path = self.layout.known_file(unit.unit_id)
        if posixpath.basename(path) not in self._names:
            return {}
        table = unit_from_bytes(self.storage.read_bytes(path), name=path)
        rows = table["trajectory"].to_pylist()
        return {row["target_id"]: row_to_trajectory(row) for row in rows}


class ClickSimulationHandler(ModelHandler[WorkUnit, UnitResult, ClickWorker]):
    """One "inference" is a whole unit: read, encode each image once, run the click loop.

    Args:
        load_simulation: builds the simulation on the worker; this loads the weights.
        known: earlier outcomes, which are not computed again.
    """

    def __init__(
        self, load_simulation: Callable[[], Simulation], *, known: KnownOutcomes | None = None
    ) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._load_simulation = load_simulation
        self._known = known

    def load_model(self) -> ClickWorker:
        """Load the segmenter on the worker."""
        with carried_errors():
            return ClickWorker(self._load_simulation())

    def run_inference(
        self,
        batch: Sequence[WorkUnit],
        model: ClickWorker,
        inference_args: dict[str, Any] | None = None,
    ) -> list[UnitResult]:
        """Simulate the units of a batch and count their outcomes."""
        results = [self._simulate(unit, model) for unit in batch]
        for result in results:
            for outcome in result.outcomes:
                name = (
                    f"rejected_{outcome.reason}" if isinstance(outcome, Reject) else "trajectories"
                )
                Metrics.counter(METRICS_NAMESPACE, name).inc()
        return results

    def _simulate(self, unit: WorkUnit, model: ClickWorker) -> UnitResult:
        known = self._known.of(unit) if self._known is not None else {}
        left = tuple(item for item in unit.items if ref_of(item).target_id not in known)
        made = iter(model.simulate(replace(unit, items=left)).outcomes if left else ())
        outcomes = tuple(
            known[i] if (i := ref_of(item).target_id) in known else next(made)
            for item in unit.items
        )
        return UnitResult(unit.unit_id, unit.index, outcomes)

    def get_num_bytes(self, batch: Sequence[WorkUnit]) -> int:
        """Estimate a batch's size; the default would pickle every unit to find out."""
        return sum(256 * len(unit.items) for unit in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of all counters of the project."""
        return METRICS_NAMESPACE


class SimulateClicks(beam.PTransform):
    """PCollection[WorkUnit] -> PCollection[(index, unit id)] of units whose file is written.

    Args:
        accelerator: Beam's resource hint for the workers of this step only, for instance
            ``type:nvidia-l4;count:1;install-nvidia-driver``. None sets no hint: a hint splits the
            graph into more stages, even if the runner ignores it.
    """

    def __init__(
        self,
        handler: ClickSimulationHandler,
        *,
        layout: OutputLayout,
        storage: Storage,
        fingerprint: str,
        accelerator: str | None = None,
    ) -> None:
        super().__init__()
        self._handler = handler
        self._layout = layout
        self._storage = storage
        self._fingerprint = fingerprint
        if accelerator is not None:
            self.with_resource_hints(accelerator=accelerator)

    def expand(self, input_or_inputs: Any) -> Any:
        results, dead = (
            input_or_inputs
            | "Simulate clicks" >> RunInference(self._handler).with_exception_handling()
        )
        _ = dead.failed_inferences | "Note dead units" >> beam.ParDo(
            _NoteDeadUnits(self._layout, self._storage)
        )
        return results | "Write unit files" >> beam.ParDo(
            _WriteUnitFile(self._layout, self._storage, self._fingerprint)
        )


class _WriteUnitFile(beam.DoFn):
    """Write a unit file as soon as it is done: a runner may put all units into one bundle."""

    def __init__(self, layout: OutputLayout, storage: Storage, fingerprint: str) -> None:
        self._layout = layout
        self._storage = storage
        self._fingerprint = fingerprint

    def process(self, element: UnitResult) -> Iterator[tuple[int, str]]:
        data = unit_to_bytes(element.outcomes, fingerprint=self._fingerprint)
        write_unit_file(element.unit_id, data, layout=self._layout, storage=self._storage)
        yield element.index, element.unit_id


class _NoteDeadUnits(beam.DoFn):
    """Record why a unit failed; it has no unit file, so the next run tries it again."""

    def __init__(self, layout: OutputLayout, storage: Storage) -> None:
        self._layout = layout
        self._storage = storage

    def process(self, element: tuple[Sequence[WorkUnit], Sequence[Any]]) -> None:
        batch, error = element
        for unit in batch:
            note_dead_unit(
                unit.unit_id,
                unit.index,
                cause=_last_line(error),
                error=[str(part) for part in error],
                layout=self._layout,
                storage=self._storage,
            )


def _last_line(error: Sequence[Any]) -> str:
    """Return an exception as one line, from Beam's form of it: type, repr, traceback lines."""
    lines = error[-1]
    return one_line(str(lines[-1] if isinstance(lines, list) and lines else error[1]))
