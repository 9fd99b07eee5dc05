"""The job `hlmat merge`: runs over parts of one data set as one run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hlmat.export.runs.flags import KEY_COLUMNS, Key
from hlmat.export.runs.row_slices import TrajectoryFiles
from hlmat.pipelines.correction.derived_run import DerivedRun, Place, SourceRun, listed
from hlmat.pipelines.settings.correction_options import merging_options
from hlmat.transforms.core.errors import ConfigError, DataError

_MAY_DIFFER = ("derived", "limit", "partition", "min_area", "max_area", "unit_size")
"""Settings that choose targets, and do not change what is recorded of one."""


def merge_runs(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write runs as one; return what was written.

    Rows keep the order of the runs, except that the targets of an image are put together.

    Raises:
        ConfigError: with every problem of the command line, or runs of different settings.
        DataError: no finished run, a damaged one, or a target that two runs have.
        OutputError: the folder holds something else, or cannot be written.
    """
    asked = merging_options(arguments)
    runs = [SourceRun.open(out) for out in asked.run_folders]
    _refuse_differences(runs)
    config = {
        name: value
        for name, value in runs[0].manifest.config.items()
        if name not in _MAY_DIFFER or all(r.manifest.config.get(name) == value for r in runs)
    }
    for name in _MAY_DIFFER:
        if name != "derived" and any(name in run.manifest.config for run in runs):
            config.setdefault(name, None)
    first: dict[Key, int] = {}
    trajectories = _places(runs, lambda r: r.trajectories, first, keep_first=asked.keep_first)
    rejects = _places(runs, lambda r: r.rejects, {}, keep_first=True, leave_out=first)
    step = {
        "by": "merge",
        "from": [run.digest for run in runs],
        "keep_first": asked.keep_first,
        "steps": [list(run.manifest.config.get("derived", ())) for run in runs],
    }
    counts = DerivedRun(runs, config, step, trajectories, rejects).write(
        asked.out, overwrite=asked.overwrite
    )
    return {"written": asked.out, "runs": len(runs), **counts}


def _refuse_differences(runs: Sequence[SourceRun]) -> None:
    first, *others = runs
    problems = []
    for run in others:
        ours, theirs = first.manifest.config, run.manifest.config
        problems += [
            f"{run.out}: its {name} is {_short(theirs.get(name))}, expected "
            f"{_short(ours.get(name))} as in {first.out}; give runs made with the same settings "
            "over parts of one data set"
            for name in sorted({*ours, *theirs} - set(_MAY_DIFFER))
            if ours.get(name) != theirs.get(name)
        ]
        roots = [each.manifest.source.get("data_root") for each in (first, run)]
        if roots[0] != roots[1]:
            problems.append(
                f"{run.out}: its images are in {roots[1]}, expected {roots[0]} as of {first.out}; "
                "make both runs from one --data-root"
            )
    if problems:
        raise ConfigError(problems)


def _places(
    runs: Sequence[SourceRun],
    files_of: Callable[[SourceRun], TrajectoryFiles],
    seen: dict[Key, int],
    *,
    keep_first: bool,
    leave_out: Mapping[Key, int] | None = None,
) -> list[Place]:
    """Return where the rows of all runs are, with those of an image together.

    Args:
        seen: receives the number of the run that a target was found in first.
        keep_first: leave out what a later run has again, instead of an error.
        leave_out: targets that are not wanted.
    """
    by_image: dict[tuple[str, str], list[Place]] = {}
    for place, row in _rows(runs, files_of):
        key = (row["dataset"], row["split"], row["target_id"])
        if key in (leave_out or ()):
            continue
        before = seen.setdefault(key, place[0])
        if before != place[0]:
            if keep_first:
                continue
            raise DataError(
                f"target {key[2]!r} ({key[0]}, {key[1]}) is in {runs[before].out} and in "
                f"{runs[place[0]].out}; give --keep-first to take it from the first of them"
            )
        by_image.setdefault((row["dataset"], row["image_path"]), []).append(place)
    return [place for places in by_image.values() for place in places]


def _rows(
    runs: Sequence[SourceRun], files_of: Callable[[SourceRun], TrajectoryFiles]
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for number, run in enumerate(runs):
        yield from listed(files_of(run), (*KEY_COLUMNS, "image_path"), run=number)


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
