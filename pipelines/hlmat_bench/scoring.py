"""Score a submission by its masks alone, and check its target list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlmat.export.formats.predictions import PredictedTarget
from hlmat.pipelines.evaluation.results import INTERVALS
from hlmat.pipelines.hlmat_bench.submission import Submission, read_submission, read_submitted
from hlmat.pipelines.hlmat_bench.target_list import ListedTarget, list_digest, read_track
from hlmat.pipelines.hlmat_bench.tracks import TRACKS, VERSION, Track
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.metrics.bootstrap import paired_difference
from hlmat.transforms.metrics.budget_figures import budget_figures, measure_budgets


def score_submission(path: str, *, data_root: str | None = None) -> dict[str, Any]:
    """Return a submission's figures, recomputed from its masks.

    Args:
        path: of the submission's YAML file.
        data_root: where the track's data set is; needed where no digest of its list is recorded.

    Raises:
        ConfigError: the YAML file is wrong.
        DataError: predictions cannot be read, or are not those of the track's targets.
    """
    submission = read_submission(path)
    track = TRACKS[submission.track]
    predicted = read_submitted(path, submission.predictions)
    checked = check_targets(predicted, track, data_root=data_root)
    step = submission.choice
    results = {p.rollout.target_id: measure_budgets(p.rollout, step=step) for p in predicted}
    figures = budget_figures(list(results.values()))
    control = None
    if submission.control is not None:
        control = _control(
            path, submission, {k: r.stopped.iou for k, r in results.items()}, predicted
        )
    return {
        "bench": VERSION,
        "name": submission.name,
        "model": submission.model,
        "track": submission.track,
        "start": str(submission.start),
        "segmenter": submission.segmenter,
        "step": step,
        "date": submission.date,
        "hardware": submission.hardware,
        "seconds_per_click": submission.seconds_per_click,
        "target_list": checked,
        "intervals": INTERVALS,
        "figures": figures,
        "control": control,
    }


def check_targets(
    predicted: Sequence[PredictedTarget], track: Track, *, data_root: str | None
) -> dict[str, Any]:
    """Return the digest of a submission's target list, and what it was compared with.

    Raises:
        DataError: it is another list than the track's.
    """
    mine = [
        ListedTarget.of(p.rollout.target_id, p.expression, p.rollout.truth, p.rollout.ignore)
        for p in predicted
    ]
    digest = list_digest(mine)
    if digest == track.sha256:
        return {"sha256": digest, "compared_with": "the track's recorded digest"}
    if track.sha256 is None and data_root is None:
        return {"sha256": digest, "compared_with": None}
    theirs = read_track(track, data_root=data_root)
    if track.sha256 is not None and list_digest(theirs) != track.sha256:
        raise DataError(
            f"the data set gives another target list than the track {track.name} "
            f"(sha256 {track.sha256}); its files differ from those the track was defined by"
        )
    if list_digest(theirs) == digest:
        return {"sha256": digest, "compared_with": "the data set"}
    raise DataError(_differences(mine, theirs, track.name))


def _differences(mine: Sequence[ListedTarget], theirs: Sequence[ListedTarget], track: str) -> str:
    have, want = ({t.target_id: t for t in targets} for targets in (mine, theirs))
    parts = []
    for label, ids in (
        ("missing", sorted(want.keys() - have.keys())),
        ("not in the list", sorted(have.keys() - want.keys())),
        (
            "with another expression or true mask",
            sorted(k for k in want.keys() & have.keys() if want[k] != have[k]),
        ),
    ):
        if ids:
            parts.append(f"{len(ids)} {label}, the first {ids[0]!r}")
    return (
        f"the predictions are not those of the {len(want)} targets of {track}: {'; '.join(parts)}; "
        f"evaluate with the flags that `hlmat bench show {track}` prints"
    )


def _control(
    path: str,
    submission: Submission,
    ious: dict[str, float],
    predicted: Sequence[PredictedTarget],
) -> dict[str, Any]:
    """Return the control's figures, and how far the submission is above it, paired."""
    assert submission.control is not None
    given = read_submitted(path, submission.control)
    own = {p.rollout.target_id: p.expression for p in predicted}
    # Objects keep their ids; how many expressions an object gets changes with the shuffle.
    if {_object_of(p.rollout.target_id) for p in given} != set(map(_object_of, own)):
        raise DataError(
            f"{path}: the control has other targets than the predictions; evaluate the same data "
            "set with --expressions shuffled"
        )
    same = sum(p.expression == own.get(p.rollout.target_id) for p in given)
    if same == len(given):
        raise DataError(
            f"{path}: the control has every target's own expression; evaluate with --expressions "
            "shuffled"
        )
    results = {
        p.rollout.target_id: measure_budgets(p.rollout, step=submission.choice) for p in given
    }
    image_of = {p.rollout.target_id: p.rollout.image for p in predicted}
    return {
        "figures": budget_figures(list(results.values())),
        "same_expressions": same,
        "gIoU_above_control": paired_difference(
            {k: r.stopped.iou for k, r in results.items()}, ious, image_of=image_of
        ),
    }


def _object_of(target_id: str) -> str:
    """Return T for the target "T@k", the k-th expression of T."""
    return target_id.rpartition("@")[0]
