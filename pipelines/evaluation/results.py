"""The results of a finished run: each target's figures, computed from its trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlmat.export.runs.manifest import Manifest
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.metrics.bootstrap import COVERAGE, RESAMPLES, SEED
from hlmat.transforms.metrics.calibration import calibration_figures, scored_masks
from hlmat.transforms.metrics.click_curves import ClickProtocol
from hlmat.transforms.metrics.invalid_answers import invalid_causes, invalid_forms
from hlmat.transforms.metrics.summary import summarize
from hlmat.transforms.metrics.target_results import (
    StepChoice,
    TargetResult,
    measure_rollout,
    rolled_out,
)

METRICS = "metrics.json"
"""The figures of an evaluation, in its folder."""

INTERVALS = {
    "method": "cluster bootstrap, expanded percentiles",
    "resampled": "images",
    "coverage": COVERAGE,
    "resamples": RESAMPLES,
    "seed": SEED,
}
"""The method of a report's intervals, as named in its JSON."""


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


def evaluation_results(
    trajectories: Sequence[Trajectory], *, protocol: ClickProtocol, step: StepChoice
) -> tuple[list[TargetResult], dict[str, Any]]:
    """Return each target's result, and the figures of all of them with intervals.

    Args:
        trajectories: at least one.
        protocol: the rules of the run.
        step: which mask is the prediction.
    """
    results = [
        measure_rollout(
            rolled_out(t),
            step=step,
            max_clicks=protocol.max_clicks,
            with_boundary=True,
            with_boundary_by_click=protocol.has_boundary,
        )
        for t in trajectories
    ]
    figures = {**summarize(results, protocol).figures(), "intervals": INTERVALS}
    if causes := invalid_causes(trajectories):
        figures["invalid_answers"] = causes
    if forms := invalid_forms(trajectories):
        figures["invalid_forms"] = forms
    scored = [mask for trajectory in trajectories for mask in scored_masks(trajectory)]
    if scored:
        figures["score_calibration"] = calibration_figures(scored)
    return results, figures
