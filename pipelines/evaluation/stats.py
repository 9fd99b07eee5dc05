"""The job `hlmat stats`: the figures of a run, read from its files and shown as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hlmat.export.runs.manifest import read_manifest, verify
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.evaluation.results import METRICS, click_protocol
from hlmat.pipelines.settings.report_options import stats_options
from hlmat.transforms.core.errors import DataError, OutputError
from hlmat.transforms.core.records import RejectReason, Target, Trajectory
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.masks.rle import rle_area, rle_surrounds
from hlmat.transforms.metrics.summary import Summary
from hlmat.transforms.metrics.target_results import measure_rollout, rolled_out

if TYPE_CHECKING:
    from hlmat.transforms.core.storage import Storage
    from hlmat.transforms.metrics.part_statistics import PartStatistics

FILLING_SHARE = 0.95
"""Share of an image; a target that covers more may be an inverted mask."""
_SURROUNDING_SHARE = 0.5
"""As above, for a target that has the whole border of its image."""

_CALLS = (
    ("model_calls_per_target", "model calls/target"),
    ("decoder_calls_per_target", "segmenter calls/target"),
)


def report_figures(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compute the figures that a command line asks for, and write its report.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: the folder has no finished run, or its files are damaged.
        OutputError: the report cannot be written.
    """
    asked = stats_options(arguments)
    with_parts = asked.parts or asked.report is not None
    figures = read_figures(asked.run_folder, verify_all=asked.verify, with_parts=with_parts)
    if asked.report is None:
        return figures
    from hlmat.export.reports.statistics_report import render_statistics

    shown = dict(figure_lines(figures))
    title = f"Statistics of {asked.run_folder}"
    report = render_statistics(figures["parts"], title=title, figures=shown)
    try:
        storage_for(asked.report).write_bytes(asked.report, report)
    except OSError as error:
        raise OutputError(f"{asked.report} cannot be written: {error}; name another") from error
    figures["report"] = asked.report
    if not asked.parts:
        del figures["parts"]
    return figures


def read_figures(out: str, *, verify_all: bool = False, with_parts: bool = False) -> dict[str, Any]:
    """Compute the figures of a finished run from its trajectories and rejects.

    Args:
        out: the output folder of the run.
        verify_all: report every file that differs from the manifest, not only the first.
        with_parts: add `parts`, the statistics of each data set and split, in order.

    Raises:
        DataError: the folder has no finished run, or its files are damaged.
    """
    storage = storage_for(out)
    manifest = read_manifest(storage, out)
    if verify_all:
        verify(storage, out, manifest)
    protocol = click_protocol(manifest)
    summary = Summary(protocol, by_image=False)
    parts = _Parts(protocol.max_clicks) if with_parts else None
    filling = 0
    for trajectory in read_trajectories(storage, out, manifest=manifest):
        filling += may_be_inverted(trajectory.target)
        if parts is not None:
            parts.add(trajectory)
        rollout = rolled_out(trajectory)
        summary.add(measure_rollout(rollout, step="last", max_clicks=protocol.max_clicks))
    examples: dict[str, str] = {}
    for reject in read_rejects(storage, out, manifest=manifest):
        summary.add_reject(reject)
        examples.setdefault(reject.reason.value, reject.message)
    config = manifest.config
    return {
        "dataset": config["dataset"],
        "split": config["split"],
        "segmenter": config["segmenter"]["name"],
        "policy": config["policy"],
        "filling_targets": filling,
        "reject_examples": dict(sorted(examples.items())),
        **summary.values(),
        **_click_time(storage, out),
        **({} if parts is None else {"parts": parts.values()}),
    }


def _click_time(storage: Storage, out: str) -> dict[str, float]:
    """Return the seconds per click (SPC) that an evaluation measured, empty if none did."""
    path = f"{out.rstrip('/')}/{METRICS}"
    if not storage.is_file(path):
        return {}
    try:
        seconds = json.loads(storage.read_bytes(path)).get("SPC")
        return {} if seconds is None else {"SPC": float(seconds)}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} does not contain the figures of an evaluation ({type(error).__name__}: "
            f"{error}); run hlmat evaluate again, or remove the file"
        ) from error


class _Parts:
    """The statistics of each data set and split of a run."""

    def __init__(self, max_clicks: int) -> None:
        # Decoding masks needs more libraries than the figures do.
        from hlmat.transforms.metrics.part_statistics import PartStatistics

        self._new = lambda: PartStatistics(max_clicks)
        self._parts: dict[tuple[str, str], PartStatistics] = {}
        self._images: dict[tuple[str, str], set[str]] = {}

    def add(self, trajectory: Trajectory) -> None:
        """Add a trajectory. Raises DataError."""
        ref = trajectory.target.ref
        key = (ref.dataset, ref.split)
        if key not in self._parts:
            self._parts[key] = self._new()
        try:
            self._parts[key].add(trajectory)
        except ValueError as error:
            raise DataError(f"{error}; run again with --overwrite") from error
        self._images.setdefault(key, set()).add(ref.image_path)

    def values(self) -> list[dict[str, Any]]:
        """Return the statistics as plain JSON values."""
        return [
            {
                "dataset": key[0],
                "split": key[1],
                "images": len(self._images[key]),
                **self._parts[key].values(),
            }
            for key in sorted(self._parts)
        ]


def may_be_inverted(target: Target) -> bool:
    """Return whether a target's mask looks like the background of an object."""
    height, width = target.size_hw
    share = rle_area(target.truth) / (height * width)
    return share > FILLING_SHARE or (share > _SURROUNDING_SHARE and rle_surrounds(target.truth))


def remarks_on(figures: Mapping[str, Any]) -> list[str]:
    """Return remarks on the targets of a run, one sentence each."""
    remarks = []
    if filling := figures.get("filling_targets"):
        remarks.append(
            f"{filling} of {figures['targets']} targets cover more than {FILLING_SHARE:.0%} of "
            "their image, or all of its border and most of the rest: their masks may be inverted; "
            "if objects are black, give --mask-values object=0"
        )
    if ambiguous := figures["rejects"].get(RejectReason.AMBIGUOUS_MASK):
        remarks.append(
            f"{ambiguous} of {figures['targets']} masks have more levels than object and "
            "background; if the others are of the same kind, their two levels were taken for "
            f"these: give --mask-values{_example(figures, RejectReason.AMBIGUOUS_MASK)}"
        )
    return remarks


def _example(figures: Mapping[str, Any], reason: str) -> str:
    """Return a reject's message as the end of a sentence; "" if there is none."""
    message = figures.get("reject_examples", {}).get(reason)
    return "" if message is None else f"; for example, {message}"


def format_figures(figures: Mapping[str, Any]) -> str:
    """Return figures as aligned lines of text."""
    lines = figure_lines(figures)
    width = max(len(label) for label, _ in lines) + 2
    return "\n".join(f"{label:<{width}} {text}" for label, text in lines)


def figure_lines(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return figures as text, with their labels."""
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
    lines += [(label, _shown(figures[key], digits=2)) for key, label in _CALLS if figures.get(key)]
    if "SPC" in figures:
        lines.append(("seconds/click", f"{figures['SPC']:.4g}, as the evaluation measured"))
    lines += [(label, _shown(value, digits=2)) for label, value in figures["NoC"].items()]
    lines += [(label, str(value)) for label, value in figures["NoF"].items()]
    if "report" in figures:
        lines.append(("report", figures["report"]))
    return lines


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts by reason in one line."""
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _shown(value: float | None, *, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
