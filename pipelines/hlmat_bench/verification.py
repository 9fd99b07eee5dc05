"""Verify a submission: its target list, and a sample of its clicks asked of the segmenter again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hlmat.export.formats.predicted_actions import read_actions
from hlmat.export.formats.predictions import PredictedTarget
from hlmat.pipelines.hlmat_bench.scoring import check_targets
from hlmat.pipelines.hlmat_bench.submission import read_submission, read_submitted
from hlmat.pipelines.hlmat_bench.target_list import track_config
from hlmat.pipelines.hlmat_bench.tracks import TRACKS
from hlmat.pipelines.run.planning import listed_items
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import DatasetReader, PolicyAction, Segmenter, State
from hlmat.transforms.core.records import (
    Box,
    Click,
    Finish,
    Provenance,
    Target,
    TargetRef,
    Undo,
)
from hlmat.transforms.masks.rle import decode_rle, rle_overlap
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.rollout.episode import Episode
from hlmat.transforms.rollout.loop import roll_out
from hlmat.transforms.rollout.options import Limits
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import load_segmenter

AGREEMENT = 0.98
"""Lowest IoU of a mask with the replayed one; other devices and versions move some pixels."""

_PROVENANCE = Provenance("", "", "replayed", 0, "")


@dataclass(frozen=True)
class _Replay:
    """Takes recorded actions, then finishes."""

    actions: Sequence[Click | Box | Undo]
    name: str = "replayed"
    edits: frozenset[type] = frozenset({Undo, Box})

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        return ()

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        return [
            self.actions[state.turn] if state.turn < len(self.actions) else Finish()
            for state in states
        ]


def verify_submission(
    path: str, *, segmenter: SegmenterOptions, data_root: str | None, sample: int, seed: int
) -> dict[str, Any]:
    """Check a submission's target list and replay the clicks of some targets.

    Args:
        path: of the submission's YAML file.
        segmenter: the submission's, with its checkpoint and device here.
        data_root: where the track's data set is, if it needs one.
        sample: number of targets to replay.
        seed: of the sample.

    Returns:
        `target_list` as in a score; `replayed` targets, `masks` compared, how many of them are
        `equal`, `lowest_iou` and the `disagreeing` targets.

    Raises:
        ConfigError: the YAML file, the segmenter or the data root is wrong.
        DataError: the predictions cannot be read, or are not those of the track's targets.
    """
    submission = read_submission(path)
    track = TRACKS[submission.track]
    predicted = read_submitted(path, submission.predictions)
    checked = check_targets(predicted, track, data_root=data_root)
    actions = read_actions(str(Path(path).resolve().parent / submission.predictions))
    config = track_config(track, data_root=data_root)
    reader = open_reader(config.dataset, config.reader)
    drawn = _drawn(predicted, count=sample, seed=seed)
    refs = {i.target_id: i for i in listed_items(reader, config) if isinstance(i, TargetRef)}
    tool = load_segmenter(segmenter)
    ious: dict[str, list[float]] = {}
    for one in drawn:
        name = one.rollout.target_id
        if name not in refs:
            raise DataError(f"{path}: target {name!r} is not in the track's data set")
        ious[name] = list(
            _replayed_ious(one, actions[name], refs[name], reader=reader, segmenter=tool)
        )
    every = [iou for of_target in ious.values() for iou in of_target]
    return {
        "name": submission.name,
        "track": submission.track,
        "target_list": checked,
        "replayed": len(drawn),
        "masks": len(every),
        "equal": sum(iou == 1 for iou in every),
        "lowest_iou": min(every, default=None),
        "disagreeing": sorted(name for name, of in ious.items() if min(of, default=1) < AGREEMENT),
    }


def _drawn(predicted: Sequence[PredictedTarget], *, count: int, seed: int) -> list[PredictedTarget]:
    """Draw targets that have steps; the same submission and seed give the same ones."""
    with_steps = sorted(
        (p for p in predicted if p.rollout.masks), key=lambda p: p.rollout.target_id
    )
    chosen = np.random.default_rng(seed).permutation(len(with_steps))[:count]
    return [with_steps[k] for k in sorted(chosen)]


def _replayed_ious(
    one: PredictedTarget,
    actions: Sequence[Click | Box | Undo],
    ref: TargetRef,
    *,
    reader: DatasetReader,
    segmenter: Segmenter,
) -> Iterator[float]:
    """Yield the IoU of each recorded mask with the segmenter's answer to the same actions."""
    rollout = one.rollout
    # A box before the policy's own actions is the start that the rules allow.
    first = actions[0] if rollout.first_click else None
    box = first if isinstance(first, Box) else None
    own = actions[0 if box is None else 1 :]
    truth = decode_rle(rollout.truth)
    image = reader.load_image(ref.image_path, size_hw=rollout.truth.size_hw)
    trajectory = roll_out(
        Episode(
            target=Target(ref=ref, truth=rollout.truth, ignore=rollout.ignore),
            truth=truth,
            initial_box=box,
            initial_mask=None if rollout.initial_mask is None else decode_rle(rollout.initial_mask),
        ),
        image=image,
        segmenter=segmenter,
        policy=_Replay(own),
        limits=Limits(max_clicks=len(own), target_iou=None, stop_on_no_gain=False),
        provenance=_PROVENANCE,
    )
    if len(trajectory.steps) != len(rollout.masks):
        raise DataError(
            f"target {rollout.target_id!r}: action {len(trajectory.steps) + 1} cannot be replayed: "
            f"{trajectory.stop_detail}"
        )
    for recorded, step in zip(rollout.masks, trajectory.steps, strict=True):
        shared, either = rle_overlap(recorded, step.mask, ignore=None)
        yield shared / either if either else 1.0


def format_verification(report: Mapping[str, Any]) -> str:
    """Return the outcome as aligned lines of text."""
    targets = report["target_list"]
    compared = targets["compared_with"] or "nothing: give --data-root to compare it"
    lines = {
        "target list": f"sha256 {targets['sha256']}, compared with {compared}",
        "replayed": f"{report['replayed']} targets, {report['masks']} masks, "
        f"{report['equal']} of them equal",
    }
    if report["lowest_iou"] is not None:
        lines["lowest IoU"] = f"{report['lowest_iou']:.4f} (at least {AGREEMENT} is expected)"
    if report["disagreeing"]:
        lines["disagreeing"] = ", ".join(report["disagreeing"][:10])
    return "\n".join(f"{label:<14} {text}" for label, text in lines.items())
