"""Plan a run: list its targets, split them into units, write the plan files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hlmat.pipelines.run.folder import RunFolder
from hlmat.pipelines.run.inputs import files_of
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.dataset_io.expression_choice import one_item_per_expression
from hlmat.transforms.dataset_io.layout import OutputLayout
from hlmat.transforms.dataset_io.work_units import (
    WorkItem,
    WorkUnit,
    plan_units,
    ref_of,
    select_items,
    unit_to_json,
)

UNITS_PER_PLAN_FILE = 64


@dataclass(frozen=True)
class Plan:
    """The run's units, as written to plan files.

    Attributes:
        files: paths of the plan files.
        targets_by_unit: number of targets per unit id, in the run's order.
        targets_sha256: digest over all units.
        inputs: the files of the targets' pixels.
    """

    files: tuple[str, ...]
    targets_by_unit: Mapping[str, int]
    targets_sha256: str
    inputs: frozenset[str] = frozenset()

    @property
    def num_targets(self) -> int:
        """Count the targets of the run."""
        return sum(self.targets_by_unit.values())


def write_plan(
    reader: DatasetReader, config: RunConfig, *, fingerprint: str, folder: RunFolder | None
) -> Plan:
    """List the targets, split them into units and write the plan files, streaming.

    Raises:
        DataError: there are no targets.
    """
    units = plan_units(
        listed_items(reader, config), unit_size=config.unit_size, fingerprint=fingerprint
    )
    layout = OutputLayout(config.out)
    digest = hashlib.sha256()
    targets_by_unit: dict[str, int] = {}
    files = []
    inputs: set[str] = set()
    for number, chunk in enumerate(_chunked(units, UNITS_PER_PLAN_FILE)):
        lines = "".join(unit_to_json(unit) + "\n" for unit in chunk).encode()
        digest.update(lines)
        targets_by_unit.update((unit.unit_id, len(unit.items)) for unit in chunk)
        inputs.update(p for unit in chunk for item in unit.items for p in files_of(ref_of(item)))
        path = layout.plan_file(number)
        if folder is not None:
            folder.storage.write_bytes(path, lines)
        files.append(path)
    if not files:
        raise DataError(
            f"{config.dataset} has no target to work on ({reader.describe_layout()}); check "
            "--split, --partition and --data-root"
        )
    return Plan(tuple(files), targets_by_unit, digest.hexdigest(), frozenset(inputs))


def listed_items(reader: DatasetReader, config: RunConfig) -> Iterator[WorkItem]:
    """List the targets of a run, as its units contain them."""
    items = select_items(_listed(reader, config), partition=config.partition, limit=config.limit)
    if config.expressions is None:
        return items
    return one_item_per_expression(items, config.expressions, seed=config.seed)


@contextmanager
def reading_errors(config: RunConfig) -> Iterator[None]:
    """Turn an `OSError` raised while a data set is listed into a `DataError`."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{config.dataset} in {config.reader.data_root} cannot be read: {error}; check "
            "--data-root and its permissions"
        ) from error


def _listed(reader: DatasetReader, config: RunConfig) -> Iterator[TargetRef | Reject]:
    with reading_errors(config):
        yield from reader.read_targets()


def _chunked(units: Iterable[WorkUnit], size: int) -> Iterator[list[WorkUnit]]:
    chunk: list[WorkUnit] = []
    for unit in units:
        chunk.append(unit)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
