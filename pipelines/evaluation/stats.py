"""The job `hlmat stats`: the figures of a run, read from its files and shown as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hlmat.export.runs.manifest import read_manifest, verify
from hlmat.export.runs.trajectories import read_rejects, read_trajectories
from hlmat.pipelines.evaluation.results import click_protocol
from hlmat.transforms.core.records import RejectReason, Target
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.masks.rle import rle_area, rle_surrounds
from hlmat.transforms.metrics.summary import Summary
from hlmat.transforms.metrics.target_results import measure_rollout, rolled_out

FILLING_SHARE = 0.95
"""Share of an image; a target that covers more may be an inverted mask."""
_SURROUNDING_SHARE = 0.5
"""As above, for a target that has the whole border of its image."""


def read_figures(out: str, *, verify_all: bool = False) -> dict[str, Any]:
    """Compute the figures of a finished run from its trajectories and rejects.

    Args:
        out: the output folder of the run.
        verify_all: report every file that differs from the manifest, not only the first.

    Raises:
        DataError: the folder has no finished run, or its files are damaged.
    """
    storage = storage_for(out)
    manifest = read_manifest(storage, out)
    if verify_all:
        verify(storage, out, manifest)
    protocol = click_protocol(manifest)
    summary = Summary(protocol, by_image=False)
    filling = 0
    for trajectory in read_trajectories(storage, out, manifest=manifest):
        filling += may_be_inverted(trajectory.target)
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
    }


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
