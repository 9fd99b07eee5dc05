"""The end of an export: units in their order become the data set, after its checks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from hlmat.export.llama_factory.merge import ExportCounts, Merge, check_samples, dataset_info
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.export.llama_factory.unit_samples import UnitSamples
from hlmat.pipelines.exporting.job import AnyJob, LlamaFactoryJob
from hlmat.transforms.core.errors import DataError, IncompleteError, OutputError
from hlmat.transforms.dataset_io.layout import UnitLayout

Counts = dict[str, object]


def merge_units(
    job: LlamaFactoryJob, *, max_reject_rate: float, record: Callable[[Counts], bytes]
) -> Counts:
    """Write the rows, the rejects, the record and, last, what makes the folder a data set.

    Args:
        max_reject_rate: the most targets that may be rejects, as a share; never all.
        record: returns the export's record.

    Returns:
        Counts of samples, images, targets and rejects.

    Raises:
        IncompleteError: units died.
        DataError: too many targets are rejects; the next call tries their units again.
        OutputError: there is nothing to learn.
    """
    storage, layout = job.folder.storage, job.folder.layout
    options, task = job.settings.options, training_task(job.settings.task)
    merge, with_rejects = Merge(), list[str]()
    rows = layout.rows(options.name)
    pieces = merge.rows_file(_units(job, with_rejects))
    storage.write_pieces(rows, (piece.encode("ascii") for piece in pieces))
    rejects = merge.rejects
    try:
        check_rejects(job, rejects, with_rejects, max_reject_rate=max_reject_rate)
    except DataError:
        storage.remove(rows)
        raise
    try:
        check_samples(task, merge.counts, out=layout.out)
    except OutputError:
        job.folder.clear()
        raise
    counts = _counts(merge)
    write_rejects(job, rejects)
    storage.write_bytes(layout.record, record(counts))
    job.folder.finish(dataset_info(task, options))
    return counts


def check_rejects(
    job: AnyJob,
    rejects: Sequence[Mapping[str, str]],
    with_rejects: Sequence[str],
    *,
    max_reject_rate: float,
) -> None:
    """Check that few targets are rejects; otherwise the next call tries their units again.

    Args:
        rejects: of all units.
        with_rejects: ids of the units that have any.
        max_reject_rate: the most targets that may be rejects, as a share; never all.

    Raises:
        DataError: there are too many.
    """
    most = min(max_reject_rate * job.plan.targets, job.plan.targets - 1)
    if rejects and len(rejects) > most:
        for unit_id in with_rejects:
            job.folder.storage.remove(job.layout.unit_file(unit_id))
        raise _too_many(rejects, targets=job.plan.targets)


def write_rejects(job: AnyJob, rejects: Sequence[Mapping[str, str]]) -> None:
    """Write a line of JSON for each reject; no file without any."""
    if rejects:
        lines = [json.dumps(reject, sort_keys=True) for reject in rejects]
        data = "".join(f"{line}\n" for line in lines).encode("ascii")
        job.folder.storage.write_bytes(job.layout.rejects, data)


def _units(job: LlamaFactoryJob, with_rejects: list[str]) -> Iterator[UnitSamples]:
    """Yield the units in order; add the ids of those with rejects to a list."""
    for unit_id, path, data in unit_files(job):
        found = UnitSamples.from_bytes(data, name=path)
        if found.rejects:
            with_rejects.append(unit_id)
        yield found


def unit_files(job: AnyJob) -> Iterator[tuple[str, str, bytes]]:
    """Yield id, path and content of each unit's file, in order.

    Raises:
        IncompleteError: units died.
    """
    for unit in job.plan.units:
        path = job.layout.unit_file(unit.unit_id)
        try:
            data = job.folder.storage.read_bytes(path)
        except FileNotFoundError as error:
            raise _incomplete(job, job.layout) from error
        yield unit.unit_id, path, data


def _incomplete(job: AnyJob, layout: UnitLayout) -> IncompleteError:
    done = {name.partition(".")[0] for name in job.folder.storage.list_dir(layout.units)}
    missing = [unit for unit in job.plan.units if unit.unit_id not in done]
    shown = "\n".join(f"  {text}" for text in job.folder.failures()[:3])
    return IncompleteError(
        f"{len(missing)} of {len(job.plan.units)} units died, so the data set is not written:\n"
        f"{shown}\nwhat is done is kept in {layout.units}; run the same command again to do the "
        "rest"
    )


def _too_many(rejects: Sequence[Mapping[str, str]], *, targets: int) -> DataError:
    first, count = rejects[0], len(rejects)
    return DataError(
        f"{count} of {targets} targets cannot be exported, the first because of its image: "
        f"{first['reason']}: {first['message']}; say with --data-root where the "
        "data set is now, or allow more with --max-reject-rate"
        if first["reason"] not in ("malformed_entry", "malformed_segmentation")
        else f"{count} of {targets} targets cannot be exported, the first of them "
        f"{first['target_id']!r}: {first['reason']}: {first['message']}; make the run again, or "
        "allow more with --max-reject-rate"
    )


def _counts(merge: Merge) -> Counts:
    counts: ExportCounts = merge.counts
    found: Counts = dict(asdict(counts))
    reasons = Counter(reject["reason"] for reject in merge.rejects)
    return found | {"rejects": dict(sorted(reasons.items()))}
