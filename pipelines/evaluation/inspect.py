"""The job `hlmat inspect`: one trajectory, or one reject, as text and as an image strip."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

import cv2
import numpy as np

from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.run.finished import load_unsized_image, open_source, read_run_manifest
from hlmat.pipelines.settings.report_options import InspectOptions, inspect_options
from hlmat.transforms.core.errors import ConfigError, OutputError, TargetError
from hlmat.transforms.core.image_digest import check_same_image
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import Box, Click, Reject, Trajectory
from hlmat.transforms.core.suggestions import closest
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.prompting.overlay import draw_outline
from hlmat.transforms.prompting.strips import image_strip


def inspect_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Find a trajectory or a reject, write its strip if requested, and return the view to print.

    Raises:
        ConfigError: no such target.
        DataError: no finished run, or its image cannot be read.
        OutputError: the strip cannot be written.
    """
    options = inspect_options(arguments)
    found = _find(options)
    view = _reject_view(found) if isinstance(found, Reject) else _view(found)
    if options.strip:
        if isinstance(found, Reject):
            view["shown"] = _write_reject(found, options, path=options.strip)
        else:
            _write_strip(found, options, path=options.strip)
        view["strip"] = options.strip
    return view


def format_view(view: Mapping[str, Any]) -> str:
    """Return a trajectory as lines of text."""
    if "reason" in view:
        return _format_reject(view)
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
        lines.append(f"image strip    {view['strip']}")
    return "\n".join(lines)


def _format_reject(view: Mapping[str, Any]) -> str:
    lines = [
        f"target         {view['target_id']}",
        f"image          {view['image_path']}",
        f"expressions    {' | '.join(view['expressions'])}",
        f"rejected as    {view['reason']}: {view['message']}",
    ]
    if "strip" in view:
        lines.append(f"image strip    {view['strip']} ({view['shown']})")
    return "\n".join(lines)


def _find(options: InspectOptions) -> Trajectory | Reject:
    out = options.run_folder
    storage, manifest = storage_for(out), read_run_manifest(out)
    trajectories = read_trajectories(storage, out, manifest=manifest)
    if options.target is None:
        index = options.index or 0
        found = next(islice(trajectories, index, None), None)
        if found is None:
            raise ConfigError(
                [
                    f"--index {index}: {out} has {manifest.counts['trajectories']} trajectories, "
                    f"numbered from 0; `hlmat rejects {out}` lists the targets without one"
                ]
            )
        return found
    ids = []
    for trajectory in trajectories:
        ids.append(trajectory.target.ref.target_id)
        if ids[-1] == options.target:
            return trajectory
    for reject in read_rejects(storage, out, manifest=manifest):
        ids.append(reject.ref.target_id)
        if ids[-1] == options.target:
            return reject
    meant = closest(options.target, ids, cutoff=0.0)
    hint = "" if meant is None else f"; did you mean {meant!r}?"
    raise ConfigError(
        [f"--target {options.target!r} is not among the {len(ids)} targets of {out}{hint}"]
    )


def _view(trajectory: Trajectory) -> dict[str, Any]:
    # Imported here: the rows already have every column under its documented name.
    from hlmat.transforms.dataset_io.arrow import trajectory_to_row

    row = trajectory_to_row(trajectory)
    steps = [
        {"action": _action_text(step), "iou": step.iou, "gain": step.gain}
        for step in trajectory.steps
    ]
    dropped = ("truth_rle", "ignore_rle", "truth_ref")
    return {**{k: v for k, v in row.items() if k not in dropped}, "steps": steps}


def _reject_view(reject: Reject) -> dict[str, Any]:
    ref = reject.ref
    return {
        "target_id": ref.target_id,
        "dataset": ref.dataset,
        "split": ref.split,
        "image_path": ref.image_path,
        "expressions": list(ref.expressions),
        "truth_ref": ref.truth_ref,
        "reason": reject.reason.value,
        "message": reject.message,
    }


def _action_text(step: Any) -> str:
    match step.action:
        case Click(x, y, is_positive):
            text = f"{'+' if is_positive else '-'} ({x}, {y})"
        case Box(x0, y0, x1, y1):
            text = f"box ({x0}, {y0}, {x1}, {y1})"
        case _:
            text = "undo"
    return f"{text} initial" if step.is_initial else text


def _write_strip(trajectory: Trajectory, options: InspectOptions, *, path: str) -> None:
    reader = open_source(read_run_manifest(options.run_folder), data_root=options.data_root)
    target = trajectory.target
    try:
        image = reader.load_image(target.ref.image_path, size_hw=target.size_hw)
        check_same_image(image, target)
    except TargetError as error:
        raise ConfigError([f"{error}; give the image location with --data-root"]) from error
    _write_image(image_strip(image, trajectory), path=path)


def _write_reject(reject: Reject, options: InspectOptions, *, path: str) -> str:
    """Draw as much of a reject as possible to a file; return a description of it."""
    manifest = read_run_manifest(options.run_folder)
    reader = open_source(manifest, data_root=options.data_root)
    problems = []
    try:
        truth = reader.load_truth(reject.ref).truth
    except (TargetError, ValueError, KeyError, TypeError) as error:
        problems.append(f"mask: {error}")
        truth = None
    image = None
    try:
        if truth is not None:
            image = reader.load_image(reject.ref.image_path, size_hw=truth.shape)
        else:
            image = load_unsized_image(manifest, reject.ref.image_path, data_root=options.data_root)
    except TargetError as error:
        problems.append(f"image: {error}")
    if image is None:
        if truth is None:
            raise ConfigError(
                [
                    f"--strip {path}: nothing of {reject.ref.target_id} can be drawn: "
                    f"{'; '.join(problems)}"
                ]
            )
        image = np.zeros((*truth.shape, 3), np.uint8)
    drawn = image if truth is None else draw_outline(image, truth)
    _write_image(drawn, path=path)
    if truth is None:
        return "the image alone"
    return "the mask alone" if problems else "the image and the outline of its mask"


def _write_image(image: Image, *, path: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    encoded, data = cv2.imencode(os.path.splitext(path)[1], cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise OutputError(f"{path}: the image strip cannot be encoded")
    storage_for(path).write_bytes(path, data.tobytes())
