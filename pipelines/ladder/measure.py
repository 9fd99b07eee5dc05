"""The job `hlmat ladder`: what each step of SegAgent's method adds, on held-out targets.

Figure 4 of the paper (arXiv 2503.08625) in miniature: the first model with greedy clicks, then
improved by StaR+, stopped by its score, and with tree search; and tables 2, 3, 5 and 6. A model
that finishes by itself is also measured without that, and compared with the stop by its score. GRPO
from the first model is compared with it and with StaR+. All figures have intervals, resampled by
image.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from hlmat.export.reports.charts import ladder_chart, missing_for_charts, reliability_chart
from hlmat.export.reports.evaluation_report import render_metrics_json
from hlmat.export.reports.ladder_tables import render_ladder
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.annotation.filter import filter_annotations
from hlmat.pipelines.annotation.refine import refine_masks
from hlmat.pipelines.evaluation.evaluate import evaluate
from hlmat.pipelines.ladder.job import LadderJob, read_ladder
from hlmat.pipelines.ladder.plan import FIRST, GRPO, STAR_PLUS, Measurement, of_variant
from hlmat.pipelines.ladder.processor_time import PROCESSOR_TIME, ProcessorTime
from hlmat.pipelines.recipes.recipe import load_recipe
from hlmat.pipelines.reinforcement.environment import installed_trl, rl_python
from hlmat.pipelines.reinforcement.rl import reinforce
from hlmat.pipelines.training import star_plus
from hlmat.pipelines.training import train as training
from hlmat.pipelines.training.mini_base import print_note
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.metrics.bootstrap import change_of, paired_difference
from hlmat.transforms.metrics.target_results import (
    RolledOut,
    measure_rollout,
    rolled_out,
)
from hlmat.transforms.metrics.truncation import RolloutOverlaps, step_figures

JSON, TABLES, CHART = "ladder.json", "ladder.md", "ladder.png"
RELIABILITY = "reliability.png"

_FIGURES = (
    *("gIoU", "cIoU", "clicks_per_target", "model_calls_per_target", "decoder_calls_per_target"),
    *("recovery_rate", "invalid_rate", "measured", "images", "rejected", "stop_reasons"),
    "score_calibration",
)


def make_ladder(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate and compare everything in the recipe's `ladder.yaml`; return the figures.

    Finished parts are kept: the same call resumes an interrupted ladder.

    Raises:
        ConfigError: with every problem of recipe and command line.
        DataError: a data set cannot be read.
        OutputError: the output cannot be written, or contains something else.
        IncompleteError: a training or an evaluation failed; the same call resumes it.
    """
    job = read_ladder(arguments)
    note = (lambda text: None) if job.quiet else print_note
    reinforcement = job.reinforcement()
    if reinforcement is not None:
        _check_trl()
    clock = ProcessorTime(job.out / PROCESSOR_TIME)
    note("ladder: first model and StaR+")
    with clock.counting(FIRST, job.model(FIRST)):
        training.train(job.star.arguments)
    with clock.counting(STAR_PLUS, job.model(STAR_PLUS)):
        star_plus.train_rounds(job.star)
    rounds = star_plus.improve(job.star_arguments)
    if reinforcement is not None:
        note("ladder: GRPO")
        with clock.counting(GRPO, job.model(GRPO)):
            reinforce(reinforcement)
    for variant in job.variants():
        note(f"ladder: training {variant.name}")
        training.train(job.training_of(variant))
    sets = {}
    for name in job.plan.sets:
        note(f"ladder: measuring on {name}")
        sets[name] = _measure_set(job, name)
        for remark in sets[name]["remarks"]:
            note(f"ladder: {name}: {remark}")
    grpo = [] if reinforcement is None else [GRPO]
    models = [FIRST, STAR_PLUS, *grpo, *(variant.name for variant in job.variants())]
    report = {
        "recipe": load_recipe(job.recipe).name,
        "limit": job.limit,
        "models": {name: str(job.model(name)) for name in models},
        "star_plus": rounds,
        "processor_minutes": clock.minutes(),
        "sets": sets,
    }
    storage, out = storage_for(str(job.out)), str(job.out)
    rungs = {name: [(r["label"], r["gIoU"]) for r in s["rungs"]] for name, s in sets.items()}
    if (problem := missing_for_charts()) is None:
        storage.write_bytes(f"{out}/{CHART}", ladder_chart(rungs))
        if bins := _score_bins(sets):
            storage.write_bytes(f"{out}/{RELIABILITY}", reliability_chart(bins))
    else:
        note(f"ladder: no chart: {problem}")
    storage.write_bytes(f"{out}/{TABLES}", render_ladder(report).encode())
    # Written last, to mark the folder as complete.
    storage.write_bytes(f"{out}/{JSON}", render_metrics_json(report))
    return report


def _check_trl() -> None:
    """Check before the first training, which may take hours, that GRPO can run after it.

    Raises:
        ConfigError: there is no environment with TRL.
    """
    try:
        installed_trl(rl_python())
    except ConfigError as error:
        ways = "or measure without GRPO: --until search, or a recipe without that key"
        problems = [f"reinforcement in ladder.yaml: {p}; {ways}" for p in error.problems]
        raise ConfigError(problems) from None


def _measure_set(job: LadderJob, name: str) -> dict[str, Any]:
    """Return every table's figures on a set."""
    rows: dict[str, dict[str, Any]] = {}
    ious: dict[str, dict[str, float]] = {}
    clicks: dict[str, dict[str, float]] = {}
    image_of: dict[str, str] = {}
    remarks: list[str] = []
    for measurement, config in job.evaluations(name):
        evaluation = evaluate(config, quiet=job.quiet)
        remarks += evaluation.remarks
        figures = evaluation.figures
        rollouts = _read_rollouts(config.run.out)
        image_of |= {rollout.target_id: rollout.image for rollout in rollouts}
        results = [measure_rollout(each, step=config.step, max_clicks=0) for each in rollouts]
        ious[measurement.name] = {result.target_id: result.iou for result in results}
        clicks[measurement.name] = {result.target_id: float(result.clicks) for result in results}
        rows[measurement.name] = {
            "name": measurement.name,
            "label": measurement.label,
            "out": config.run.out,
            "flags": list(measurement.flags),
            **{key: figures[key] for key in _FIGURES if key in figures},
        }

    def compared(measurement: Measurement) -> dict[str, Any]:
        name, against = measurement.name, measurement.against

        def change(figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any] | None:
            if against is None:
                return None
            return paired_difference(figures[against], figures[name], image_of=image_of)

        return {
            **rows[name],
            "label": measurement.label,
            "against": against,
            "difference": change(ious),
            "clicks_difference": change(clicks),
        }

    plan = job.plan.of(name)
    clicking = "always" if plan.finishes else "star-plus"
    result: dict[str, Any] = {
        "flags": list(plan.sets[name]),
        "remarks": list(dict.fromkeys(remarks)),
        "rungs": [compared(m) for m in plan.rungs()],
        "steps": _step_rows(rows[clicking]["out"], plan.steps) if plan.steps else [],
    }
    tables: Mapping[str, Sequence[Measurement]] = {
        "own_finish": plan.own_finish(),
        "searches": plan.compared_searches(),
        "controls": plan.controls(),
        "reinforcement": plan.reinforced(),
        "initial_actions": plan.actions(),
        "codecs": [of_variant(v) for v in plan.codec_variants()],
        "mask_colours": [of_variant(v) for v in plan.colour_variants()],
    }
    for table, measurements in tables.items():
        if measurements:
            result[table] = [compared(m) for m in measurements]
    return result | _annotation_figures(job, name)


def _read_rollouts(out: str) -> list[RolledOut]:
    return [rolled_out(trajectory) for trajectory in read_trajectories(storage_for(out), out)]


def _step_rows(out: str, steps: Sequence[int]) -> list[dict[str, Any]]:
    rollouts = [RolloutOverlaps.of(rollout) for rollout in _read_rollouts(out)]
    return [step_figures(rollouts, clicks=clicks) for clicks in steps]


def _score_bins(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the true IoU by tenths of the score, of each set whose corrupted masks have scores."""
    calibrations = {name: s.get("filter", {}).get("score_calibration") for name, s in sets.items()}
    return {name: found["bins"] for name, found in calibrations.items() if found is not None}


def _annotation_figures(job: LadderJob, name: str) -> dict[str, Any]:
    """Return how the improved model filters and refines the set's corrupted masks."""
    plan = job.plan.of(name)
    result: dict[str, Any] = {}
    for command, corrupt, run in (
        ("filter", plan.filter, filter_annotations),
        ("refine", plan.refine, refine_masks),
    ):
        if corrupt is None:
            continue
        config = job.annotation(name, command, corrupt=corrupt)
        figures = dict(run(config, quiet=job.quiet).figures)
        if command == "refine":
            figures["gain"] = {**figures["gain"], "change": str(change_of(figures["gain"]))}
        result[command] = {"corrupt": corrupt, "out": config.rollouts.run.out, **figures}
    return result
