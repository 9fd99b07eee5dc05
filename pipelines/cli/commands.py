"""The commands by name, with their summaries, in the groups that `hlmat --help` lists."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hlmat.pipelines.cli import click_jobs, correction_jobs, examples, jobs

MAKE_DATA = "make data"
TRAIN_MODELS = "train models"
CORRECT = "correct and divide data"
USE_MODELS = "evaluate and use models"
LOOK = "look at results"


@dataclass(frozen=True)
class Command:
    """A command of `hlmat`.

    Attributes:
        summary: one line for the help.
        group: heading in the help.
        run: takes the parsed arguments and what the parser did not know; returns the exit code.
    """

    summary: str
    group: str
    examples: str
    run: Callable[[argparse.Namespace, list[str]], int]


COMMANDS: Mapping[str, Command] = {
    "trajectories": Command(
        "simulate clicks on a data set and write trajectories",
        MAKE_DATA,
        examples.TRAJECTORIES_EXAMPLES,
        jobs.run_trajectories,
    ),
    "export": Command(
        "convert trajectories to files for other tools",
        MAKE_DATA,
        examples.EXPORT_EXAMPLES,
        jobs.run_export,
    ),
    "fit-clicks": Command(
        "fit the policy human to a log of people's clicks",
        MAKE_DATA,
        examples.FIT_CLICKS_EXAMPLES,
        click_jobs.run_fit_clicks,
    ),
    "mini-base": Command(
        "build the small base model of the recipe mini",
        TRAIN_MODELS,
        examples.MINI_BASE_EXAMPLES,
        jobs.run_mini_base,
    ),
    "train": Command(
        "fine-tune a model by a recipe: trajectories, export, LLaMA-Factory",
        TRAIN_MODELS,
        examples.TRAIN_EXAMPLES,
        jobs.run_train,
    ),
    "star-plus": Command(
        "improve a model with its rollouts, wrong clicks replaced by the oracle's",
        TRAIN_MODELS,
        examples.STAR_PLUS_EXAMPLES,
        jobs.run_star_plus,
    ),
    "rl": Command(
        "train a model by its rollouts: GRPO with TRL",
        TRAIN_MODELS,
        examples.RL_EXAMPLES,
        jobs.run_rl,
    ),
    "evaluate": Command(
        "roll a model out on a data set and measure it",
        USE_MODELS,
        examples.EVALUATE_EXAMPLES,
        jobs.run_evaluate,
    ),
    "ladder": Command(
        "measure what StaR+, stopping, search and GRPO each add on held-out targets",
        USE_MODELS,
        examples.LADDER_EXAMPLES,
        jobs.run_ladder,
    ),
    "filter": Command(
        "score a data set's masks with a model; separate good from doubtful ones",
        USE_MODELS,
        examples.FILTER_EXAMPLES,
        jobs.run_filter,
    ),
    "refine": Command(
        "correct a data set's masks with a model's clicks",
        USE_MODELS,
        examples.REFINE_EXAMPLES,
        jobs.run_refine,
    ),
    "serve-segmenter": Command(
        "serve a segmenter to several runs, on this machine or others",
        USE_MODELS,
        examples.SERVE_SEGMENTER_EXAMPLES,
        jobs.run_serve_segmenter,
    ),
    "edit": Command(
        "flag targets of a run in a browser; write a run without them",
        CORRECT,
        examples.EDIT_EXAMPLES,
        correction_jobs.run_edit,
    ),
    "noise": Command(
        "find doubtful ground truth, texts and images of a run",
        CORRECT,
        examples.NOISE_EXAMPLES,
        correction_jobs.run_noise,
    ),
    "split": Command(
        "divide a run by image into parts, such as train, val and test",
        CORRECT,
        examples.SPLIT_EXAMPLES,
        correction_jobs.run_split,
    ),
    "merge": Command(
        "join runs over parts of a data set",
        CORRECT,
        examples.MERGE_EXAMPLES,
        correction_jobs.run_merge,
    ),
    "sample": Command(
        "draw images or targets of a run at random",
        CORRECT,
        examples.SAMPLE_EXAMPLES,
        correction_jobs.run_sample,
    ),
    "stats": Command("print the figures of a run", LOOK, examples.STATS_EXAMPLES, jobs.run_stats),
    "rejects": Command(
        "list why targets of a run were rejected", LOOK, examples.REJECTS_EXAMPLES, jobs.run_rejects
    ),
    "view": Command(
        "show a run in a browser: every target, step by step",
        LOOK,
        examples.VIEW_EXAMPLES,
        jobs.run_view,
    ),
    "inspect": Command(
        "print one trajectory and write its image strip",
        LOOK,
        examples.INSPECT_EXAMPLES,
        jobs.run_inspect,
    ),
    "score": Command(
        "measure a prediction file in the reference's format",
        LOOK,
        examples.SCORE_EXAMPLES,
        jobs.run_score,
    ),
    "bench": Command(
        "HLMAT-Bench: score, verify and rank submissions",
        USE_MODELS,
        examples.BENCH_EXAMPLES,
        jobs.run_bench,
    ),
    "compare": Command(
        "compare evaluations side by side", LOOK, examples.COMPARE_EXAMPLES, jobs.run_compare
    ),
}


def list_commands() -> str:
    """Return the commands in their groups, for the help."""
    lines = []
    for group in (MAKE_DATA, TRAIN_MODELS, USE_MODELS, CORRECT, LOOK):
        lines += ["", f"{group}:"]
        lines += [
            f"  {name:<15} {command.summary}"
            for name, command in COMMANDS.items()
            if command.group == group
        ]
    return "\n".join(lines[1:]) + "\n"
