"""The job `hlmat edit`: flags on a run's targets, and the run that they make."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from hlmat.export.runs.flags import (
    KEY_COLUMNS,
    Flag,
    Key,
    TargetFlags,
    counts_of,
    flags_path,
    flags_to_csv,
    load_flags,
)
from hlmat.pipelines.correction.derived_run import DerivedRun, Place, SourceRun, listed
from hlmat.pipelines.settings.correction_options import EditOptions, edit_options
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA


def edit_run(arguments: argparse.Namespace, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Open the page, add flags from a file, or apply the flags; return what to print.

    Args:
        arguments: of the command.
        tell: receives the address of the page.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or flags that do not fit it.
        OutputError: flags or run cannot be written.
    """
    asked, page, is_applied = edit_options(arguments)
    path = asked.flags or flags_path(page.run_folder)
    if is_applied:
        return apply_flags(page.run_folder, path, out=str(asked.out), overwrite=asked.overwrite)
    if asked.read is not None:
        return _add_flags(asked, page.run_folder, path)
    from hlmat.pipelines.viewing.view import serve_for_editing

    serve_for_editing(page, path, tell=tell)
    return {}


def apply_flags(run_folder: str, path: str, *, out: str, overwrite: bool) -> dict[str, Any]:
    """Write a run without the dropped targets and with the fixed expressions.

    Notes change nothing; the new run's folder holds the flags that it was made with.

    Args:
        run_folder: a finished run; it is not changed.
        path: of the file of flags.
        out: folder of the new run.
        overwrite: remove an earlier run there first.

    Raises:
        ConfigError: `out` is the run's own folder.
        DataError: no finished run, flags that do not fit it, or every target dropped.
        OutputError: the folder holds something else, or cannot be written.
    """
    run = SourceRun.open(run_folder)
    flags = load_flags(storage_for(path), path)
    found = TargetFlags(flags, _keys(run), name=path, run=run_folder)
    dropped = found.dropped
    kept: list[Place] = []
    fixed = 0
    for place, row in listed(run.trajectories, (*KEY_COLUMNS, "expressions")):
        key = (row["dataset"], row["split"], row["target_id"])
        if key not in dropped:
            kept.append(place)
            before = tuple(row["expressions"])
            fixed += found.expressions(key, before) != before
    if not kept:
        raise DataError(f"{path} drops every target of {run_folder}; leave some")
    rejects = [
        place
        for place, row in listed(run.rejects, KEY_COLUMNS)
        if (row["dataset"], row["split"], row["target_id"]) not in dropped
    ]
    applied = flags_to_csv(flags)
    step = {
        "by": "edit",
        "from": [run.digest],
        "flags_sha256": hashlib.sha256(applied).hexdigest(),
    }
    derived = DerivedRun(
        [run],
        run.manifest.config,
        step,
        kept,
        rejects,
        change=lambda table: _with_fixes(table, found),
        flags=applied,
    )
    counts = derived.write(out, overwrite=overwrite)
    return {"written": out, "dropped": len(dropped), "with fixes": fixed, **counts}


def _add_flags(asked: EditOptions, run_folder: str, path: str) -> dict[str, Any]:
    """Add the flags of a CSV file to the run's; later ones replace those of the same place."""
    run, storage = SourceRun.open(run_folder), storage_for(path)
    read = str(asked.read)
    added = load_flags(storage_for(read), read)
    before = load_flags(storage, path) if storage.is_file(path) else []
    # Flags may name data set and split or not: both forms are brought to the full one.
    merged: dict[Any, Flag] = {}
    for flags, name in ((before, path), (added, read)):
        found = TargetFlags(flags, _keys(run), name=name, run=run_folder)
        for flag in found.with_keys():
            merged[flag.place] = flag
    try:
        storage.write_bytes(path, flags_to_csv(merged.values()))
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}; name another file with --flags"
        ) from error
    return {"written": path, **counts_of(merged.values())}


def _with_fixes(table: pa.Table, flags: TargetFlags) -> pa.Table:
    keys = zip(*(table[name].to_pylist() for name in KEY_COLUMNS), strict=True)
    before = table["expressions"].to_pylist()
    after: Sequence[Sequence[str]] = [
        flags.expressions(key, texts) for key, texts in zip(keys, before, strict=True)
    ]
    place = TRAJECTORY_SCHEMA.get_field_index("expressions")
    column = TRAJECTORY_SCHEMA.field(place)
    return table.set_column(place, column, pa.array(after, column.type))


def _keys(run: SourceRun) -> Iterator[Key]:
    for files in (run.trajectories, run.rejects):
        for _, row in listed(files, KEY_COLUMNS):
            yield row["dataset"], row["split"], row["target_id"]
