"""The figures of a run: read from its files, and as a text for people."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from hlmat.export.runs.manifest import Manifest, read_manifest, verify
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.metrics.click_curves import (
    ClickProtocol,
    TrajectoryStatistics,
    sum_statistics,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hlmat stats`."""
    parser.add_argument("run_folder", metavar="OUT", help="output folder of a finished run")
    parser.add_argument(
        "--verify", action="store_true", help="first hold every file against the manifest"
    )


def read_figures(out: str, *, verify_all: bool = False) -> dict[str, Any]:
    """Compute the figures of a finished run from its trajectories and rejects.

    Args:
        out: the output folder of the run.
        verify_all: report every file that is not as the manifest lists it, not the first alone.

    Raises:
        DataError: no finished run lies there, or its files are damaged.
    """
    storage = storage_for(out)
    manifest = read_manifest(storage, out)
    if verify_all:
        verify(storage, out, manifest)
    protocol = click_protocol(manifest)
    statistics = sum_statistics(
        (
            TrajectoryStatistics.from_trajectory(t, protocol)
            for t in read_trajectories(storage, out)
        ),
        protocol,
    ) + sum_statistics(
        (TrajectoryStatistics.from_reject(r, protocol) for r in read_rejects(storage, out)),
        protocol,
    )
    config = manifest.config
    return {
        "dataset": config["dataset"],
        "split": config["split"],
        "segmenter": config["segmenter"]["name"],
        "policy": config["policy"],
        **statistics.final_values(),
    }


def click_protocol(manifest: Manifest) -> ClickProtocol:
    """Return the rules that a run's clicks followed."""
    config = manifest.config
    first_mask = config.get("first_mask")
    start = config["initial_action"]
    if first_mask is not None:
        start = "given masks" if first_mask["corrupted_to"] is None else "corrupted masks"
    return ClickProtocol(
        max_clicks=config["max_clicks"],
        stop_on_no_gain=config["stop_on_no_gain"],
        target_iou=config["target_iou"],
        initial_action=start,
        stop_at_score=config["stop_at_score"],
    )


def format_figures(figures: Mapping[str, Any]) -> str:
    """Return figures as aligned lines of text."""
    rejects = format_counts(figures["rejects"])
    stops = format_counts(figures["stop_reasons"])
    ious = "  ".join(f"@{k} {_shown(iou)}" for k, iou in enumerate(figures["IoU@k"], start=1))
    lines = [
        ("data set", f"{figures['dataset']} ({figures['split']})"),
        ("segmenter", f"{figures['segmenter']}, clicks by {figures['policy']}"),
        ("targets in", str(figures["targets"])),
        ("kept", str(figures["trajectories"])),
        ("rejected", f"{figures['rejected']}" + (f" ({rejects})" if rejects else "")),
        ("ended by", stops or "-"),
        ("clicks/target", _shown(figures["clicks_per_target"], digits=2)),
        ("IoU", ious),
        ("gIoU, cIoU", f"{_shown(figures['gIoU'])}, {_shown(figures['cIoU'])}"),
    ]
    lines += [(label, _shown(value, digits=2)) for label, value in figures["NoC"].items()]
    lines += [(label, str(value)) for label, value in figures["NoF"].items()]
    width = max(len(label) for label, _ in lines) + 2
    return "\n".join(f"{label:<{width}} {text}" for label, text in lines)


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts by reason in one line."""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _shown(value: float | None, *, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
