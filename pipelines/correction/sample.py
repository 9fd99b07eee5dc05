"""The jobs `hlmat sample` and `hlmat split`: a part of a run, or several, as new runs."""

from __future__ import annotations

import argparse
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.pipelines.correction.choosing import Group, apportion, groups_of, places_in
from hlmat.pipelines.correction.derived_run import DerivedRun, SourceRun, refuse_sources
from hlmat.pipelines.settings.correction_options import (
    DrawOptions,
    draw_options,
    partition_options,
)
from hlmat.transforms.core.errors import ConfigError


def sample_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a sample of a run; return what was written.

    Raises:
        ConfigError: with every problem of the command line, or more asked for than there is.
        DataError: no finished run, or a damaged one.
        OutputError: the folder holds something else, or cannot be written.
    """
    asked = draw_options(arguments)
    run = SourceRun.open(asked.run_folder)
    groups = groups_of(run, by=asked.by, stratify=asked.stratify)
    # A sample has targets; what was rejected goes with them.
    drawn = {name: group for name, group in groups.items() if group.trajectories}
    count = _count(asked, len(drawn))
    share = count / len(drawn)
    parts = apportion(drawn, {"drawn": share, "left": 1 - share}, seed=asked.seed)
    step = {
        "by": "sample",
        "from": [run.digest],
        "unit": asked.by,
        "count": count,
        "stratify": list(asked.stratify),
        "seed": asked.seed,
    }
    counts = _write(run, parts["drawn"], step, out=asked.out, overwrite=asked.overwrite)
    return {"written": asked.out, f"{asked.by}s": count, **counts}


def split_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the parts of a run, a folder for each; return what was written.

    An image is in one part only, and so are images of the same pixels.

    Raises:
        ConfigError: with every problem of the command line, or a part would be empty.
        DataError: no finished run, or a damaged one.
        OutputError: a folder holds something else, or cannot be written.
    """
    asked, shares = partition_options(arguments)
    run = SourceRun.open(asked.run_folder)
    refuse_sources(asked.out, [run.out])
    groups = groups_of(run, by="image", stratify=asked.stratify)
    parts = apportion(groups, shares, seed=asked.seed)
    empty = [name for name, part in parts.items() if not any(g.trajectories for g in part)]
    if empty:
        raise ConfigError(
            [
                f"--parts: {', '.join(empty)} would have no target, as {run.out} has "
                f"{len(groups)} images; give larger shares or another --seed"
            ]
        )
    report: dict[str, Any] = {}
    for name, part in parts.items():
        step = {
            "by": "split",
            "from": [run.digest],
            "part": name,
            "parts": shares,
            "stratify": list(asked.stratify),
            "seed": asked.seed,
        }
        out = posixpath.join(asked.out, name)
        counts = _write(run, part, step, out=out, overwrite=asked.overwrite)
        report[name] = {"written": out, "images": len(part), **counts}
    return report


def _count(asked: DrawOptions, there: int) -> int:
    """Return how many are drawn."""
    if not there:
        raise ConfigError([f"{asked.run_folder} has no trajectory to draw from"])
    if asked.count is None:
        return max(1, round((asked.share or 1) * there))
    if asked.count > there:
        raise ConfigError(
            [
                f"--count {asked.count}: {asked.run_folder} has {there} {asked.by}s; give at most "
                "that many"
            ]
        )
    return asked.count


def _write(
    run: SourceRun,
    groups: Sequence[Group],
    step: Mapping[str, Any],
    *,
    out: str,
    overwrite: bool,
) -> dict[str, Any]:
    trajectories, rejects = places_in(groups)
    derived = DerivedRun([run], run.manifest.config, step, trajectories, rejects)
    return derived.write(out, overwrite=overwrite)
