"""The job `hlmat inspect`: one trajectory as text and as an image strip."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

import cv2

from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.run.finished import open_source, read_run_manifest
from hlmat.pipelines.settings.report_options import InspectOptions, inspect_options
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.errors import ConfigError, OutputError, TargetError
from hlmat.transforms.core.records import Click, Trajectory
from hlmat.transforms.core.suggestions import closest
from hlmat.transforms.prompting.strips import image_strip


def inspect_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find a trajectory, write its strip if requested, and return its content for printing.

    Raises:
        ConfigError: no such target.
        DataError: no finished run, or its image cannot be read.
        OutputError: the strip cannot be written.
    """
    options = inspect_options(arguments)
    trajectory = _find(options)
    view = _view(trajectory)
    if options.strip:
        _write_strip(trajectory, options, path=options.strip)
        view["strip"] = options.strip
    return view


def format_view(view: Mapping[str, Any]) -> str:
    """Return a trajectory as lines of text."""
    lines = [
        f"target         {view['target_id']}",
        f"image          {view['image_path']} ({view['width']} x {view['height']} pixels)",
        f"expressions    {' | '.join(view['expressions'])}",
        f"truth          {view['truth_area']} pixels",
    ]
    for number, step in enumerate(view["steps"], start=1):
        lines.append(
            f"step {number:<9} {step['action']}  IoU {step['iou']:.3f} ({step['gain']:+.3f})"
        )
    detail = f": {view['stop_detail']}" if view["stop_detail"] else ""
    lines.append(f"ended by       {view['stop_reason']}{detail}")
    lines.append(
        f"made by        {view['segmenter']}, clicks by {view['policy']}, seed {view['seed']}"
    )
    if "strip" in view:
        lines.append(f"image strip  {view['strip']}")
    return "\n".join(lines)


def _find(options: InspectOptions) -> Trajectory:
    out = options.run_folder
    trajectories = read_trajectories(storage_for(out), out)
    if options.target is None:
        index = options.index or 0
        found = next(islice(trajectories, index, None), None)
        if found is None:
            raise ConfigError([f"--index {index}: {out} has fewer trajectories"])
        return found
    ids = []
    for trajectory in trajectories:
        ids.append(trajectory.target.ref.target_id)
        if ids[-1] == options.target:
            return trajectory
    meant = closest(options.target, ids, cutoff=0.0)
    hint = "" if meant is None else f"; did you mean {meant!r}?"
    raise ConfigError(
        [f"--target {options.target!r} is not among the {len(ids)} trajectories of {out}{hint}"]
    )


def _view(trajectory: Trajectory) -> dict[str, Any]:
    # Imported where it is used: the rows already hold every column by its documented name.
    from hlmat.transforms.dataset_io.arrow import trajectory_to_row

    row = trajectory_to_row(trajectory)
    steps = [
        {"action": _action_text(step), "iou": step.iou, "gain": step.gain}
        for step in trajectory.steps
    ]
    dropped = ("truth_rle", "ignore_rle", "truth_ref")
    return {**{k: v for k, v in row.items() if k not in dropped}, "steps": steps}


def _action_text(step: Any) -> str:
    action = step.action
    text = (
        f"{'+' if action.is_positive else '-'} ({action.x}, {action.y})"
        if isinstance(action, Click)
        else f"box ({action.x0}, {action.y0}, {action.x1}, {action.y1})"
    )
    return f"{text} initial" if step.is_initial else text


def _write_strip(trajectory: Trajectory, options: InspectOptions, *, path: str) -> None:
    reader = open_source(read_run_manifest(options.run_folder), data_root=options.data_root)
    target = trajectory.target
    try:
        image = reader.load_image(target.ref.image_path, size_hw=target.size_hw)
    except TargetError as error:
        raise ConfigError([f"{error}; give the image location with --data-root"]) from error
    strip = image_strip(image, trajectory)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    encoded, data = cv2.imencode(os.path.splitext(path)[1], cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise OutputError(f"{path}: the image strip cannot be encoded")
    storage_for(path).write_bytes(path, data.tobytes())
