"""The job `hlmat inspect`: one trajectory as text and as an image strip."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

import cv2

from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.run.finished import open_manifest, open_source
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.errors import ConfigError, OutputError, TargetError
from hlmat.transforms.core.records import Click, Trajectory
from hlmat.transforms.core.suggestions import closest
from hlmat.transforms.prompting.strips import image_strip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat inspect`."""
    parser.add_argument("run_folder", metavar="OUT", help="output folder of a finished run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--target", metavar="ID", help="target id (default: the first)")
    which.add_argument("--index", metavar="N", help="position in the run, from 0")
    parser.add_argument("--strip", metavar="FILE", help="write the image strip (.png or .jpg)")
    parser.add_argument("--data-root", metavar="DIR", help="where the data set lies now")


def inspect_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find a trajectory, write its strip if requested, and return its content for printing.

    Raises:
        ConfigError: no such target.
        DataError: no finished run, or its image cannot be read.
        OutputError: the strip cannot be written.
    """
    if arguments.strip and not arguments.strip.lower().endswith((".png", ".jpg", ".jpeg")):
        raise ConfigError([f"--strip {arguments.strip!r}: the name must end in .png or .jpg"])
    trajectory = _find(arguments)
    view = _view(trajectory)
    if arguments.strip:
        _write_strip(trajectory, arguments)
        view["strip"] = arguments.strip
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


def _find(arguments: argparse.Namespace) -> Trajectory:
    out = arguments.run_folder
    trajectories = read_trajectories(storage_for(out), out)
    if arguments.target is None:
        text = arguments.index or "0"
        if not text.isdecimal():
            raise ConfigError([f"--index {text!r}: expected a whole number from 0"])
        found = next(islice(trajectories, int(text), None), None)
        if found is None:
            raise ConfigError([f"--index {text}: {out} has fewer trajectories"])
        return found
    ids = []
    for trajectory in trajectories:
        ids.append(trajectory.target.ref.target_id)
        if ids[-1] == arguments.target:
            return trajectory
    meant = closest(arguments.target, ids, cutoff=0.0)
    hint = "" if meant is None else f"; did you mean {meant!r}?"
    raise ConfigError(
        [f"--target {arguments.target!r} is not among the {len(ids)} trajectories of {out}{hint}"]
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
    return f"{text} set-up" if step.is_initial else text


def _write_strip(trajectory: Trajectory, arguments: argparse.Namespace) -> None:
    reader = open_source(open_manifest(arguments.run_folder), data_root=arguments.data_root)
    target = trajectory.target
    try:
        image = reader.load_image(target.ref.image_path, size_hw=target.size_hw)
    except TargetError as error:
        raise ConfigError([f"{error}; give the image location with --data-root"]) from error
    strip = image_strip(image, trajectory)
    os.makedirs(os.path.dirname(arguments.strip) or ".", exist_ok=True)
    encoded, data = cv2.imencode(
        os.path.splitext(arguments.strip)[1], cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)
    )
    if not encoded:
        raise OutputError(f"{arguments.strip}: the image strip cannot be encoded")
    storage_for(arguments.strip).write_bytes(arguments.strip, data.tobytes())
