"""Process each unit of a job once; the file of a finished unit is kept under its id."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.metrics.metric import Metrics

from hlmat.transforms.beam.faults import StepError, carried_errors
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.dataset_io.layout import UnitLayout

METRICS_NAMESPACE = "hlmat"


class Unit(Protocol):
    """A unit of any job."""

    @property
    def unit_id(self) -> str:
        """An id that is the same for the same work of the same job."""
        ...

    @property
    def index(self) -> int:
        """Position in the job, from 0."""
        ...


BuildWork = Callable[[], Callable[[Any], bytes]]
"""Called in a worker; returns the function from a unit to the content of its file."""


class DoUnits(beam.PTransform):
    """PCollection[Unit] -> PCollection[(index, unit id)] of units whose file is written.

    The project's errors and file errors end the job. After any other exception, the unit counts as
    dead: it has no file, so the next call tries it again.

    Args:
        build: small and picklable.
    """

    def __init__(self, build: BuildWork, *, layout: UnitLayout, storage: Storage) -> None:
        super().__init__()
        self._step = _DoUnit(build, layout, storage)

    def expand(self, input_or_inputs: Any) -> Any:
        return input_or_inputs | "Do each unit" >> beam.ParDo(self._step)


class _DoUnit(beam.DoFn):
    def __init__(self, build: BuildWork, layout: UnitLayout, storage: Storage) -> None:
        self._build = build
        self._layout = layout
        self._storage = storage
        self._work: Callable[[Any], bytes] | None = None

    def process(self, element: Unit) -> Iterator[tuple[int, str]]:
        try:
            with carried_errors():
                if self._work is None:
                    self._work = self._build()
                data = self._work(element)
        except StepError:
            raise
        except Exception as error:
            note_dead_unit(
                element.unit_id,
                element.index,
                cause=one_line(f"{type(error).__name__}: {error}"),
                error=traceback.format_exception(error),
                layout=self._layout,
                storage=self._storage,
            )
            return
        write_unit_file(element.unit_id, data, layout=self._layout, storage=self._storage)
        yield element.index, element.unit_id


def write_unit_file(unit_id: str, data: bytes, *, layout: UnitLayout, storage: Storage) -> None:
    """Write the file that marks a unit as finished.

    Raises:
        StepError: carries the OSError of a file that cannot be written.
    """
    with carried_errors():
        storage.write_bytes(layout.unit_file(unit_id), data)
    Metrics.counter(METRICS_NAMESPACE, "units_written").inc()


def note_dead_unit(
    unit_id: str,
    index: int,
    *,
    cause: str,
    error: Sequence[str],
    layout: UnitLayout,
    storage: Storage,
) -> None:
    """Record why a unit failed; it has no file, so the next call tries it again.

    Raises:
        StepError: carries the OSError of a note that cannot be written.
    """
    Metrics.counter(METRICS_NAMESPACE, "units_dead").inc()
    note = {"unit_id": unit_id, "index": index, "cause": cause, "error": list(error)}
    with carried_errors():
        storage.write_bytes(
            layout.failure_file(unit_id), json.dumps(note, sort_keys=True, indent=1).encode()
        )


def one_line(text: str) -> str:
    """Return the text of an exception as one line, without module names of the project's errors."""
    text = " ".join(text.split())
    module, dot, rest = text.partition(":")[0].rpartition(".")
    return text[len(module) + 1 :] if dot and module.startswith("hlmat.") and rest else text
