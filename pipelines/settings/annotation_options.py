"""The command lines of `hlmat filter` and `hlmat refine` to validated configurations."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hlmat.pipelines.settings.evaluation_options import (
    TARGETS_PER_UNIT,
    EvaluationConfig,
    add_click_arguments,
    add_guard_arguments,
    add_policy_arguments,
    add_seed_argument,
    evaluation_config,
)
from hlmat.pipelines.settings.prompt_options import add_conversation_arguments
from hlmat.pipelines.settings.run_options import (
    add_data_arguments,
    add_output_arguments,
    add_running_arguments,
    add_segmenter_arguments,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.policies.mllm import MODEL_POLICIES
from hlmat.transforms.policies.registry import BASELINES
from hlmat.transforms.rollout.options import FirstMask

_RANGE = re.compile(r"(\d*\.?\d+)-(\d*\.?\d+)")


@dataclass(frozen=True)
class AnnotationConfig:
    """Everything that `hlmat filter` or `hlmat refine` needs to know.

    Attributes:
        rollouts: from the data set's masks, or from corrupted ones.
        is_corrupted: whether the masks are corrupted on purpose, so that the data set's own are
            the truth that results are held against.
        keep_at: the score from which `hlmat filter` keeps a mask, in [0, 1].
    """

    rollouts: EvaluationConfig
    is_corrupted: bool = False
    keep_at: float = 0.0


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `hlmat filter`; values are checked together afterwards."""
    _add_model_arguments(parser)
    masks = parser.add_argument_group("masks")
    masks.add_argument(
        "--keep-at", metavar="S", default="0.8", help="keep masks of this score and above (0.8)"
    )
    _add_mask_arguments(masks)
    _add_run_arguments(parser)
    # Nothing is clicked, so nothing is segmented.
    parser.set_defaults(
        segmenter="graphcut", checkpoint=None, device="auto", segmenter_arg=[], max_clicks="1"
    )
    parser.set_defaults(stop_score=None, search="1", beam="1", search_temperature="1")


def add_refinement_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `hlmat refine`; values are checked together afterwards."""
    _add_model_arguments(parser)
    add_segmenter_arguments(parser)
    add_click_arguments(parser.add_argument_group("rollout"))
    _add_mask_arguments(parser.add_argument_group("masks"))
    _add_run_arguments(parser)


def filter_config(
    arguments: argparse.Namespace, *, rest: Sequence[str], own_flags: Sequence[str]
) -> AnnotationConfig:
    """Validate the arguments of `hlmat filter`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    keep_at = check.fraction("--keep-at", arguments.keep_at) or 0.0
    config = _annotation_config(arguments, check, rest=rest, own_flags=own_flags)
    run = config.rollouts.run
    run = replace(run, limits=replace(run.limits, max_clicks=0))
    return replace(config, rollouts=replace(config.rollouts, run=run), keep_at=keep_at)


def refinement_config(
    arguments: argparse.Namespace, *, rest: Sequence[str], own_flags: Sequence[str]
) -> AnnotationConfig:
    """Validate the arguments of `hlmat refine`.

    Raises:
        ConfigError: with every problem found.
    """
    return _annotation_config(arguments, Check(), rest=rest, own_flags=own_flags)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        metavar="R",
        help="take flags from train_recipes/R, of a model that scores masks; flags given here "
        "win, and with another --dataset its flags on data are left out",
    )
    add_data_arguments(parser)
    add_policy_arguments(parser, names=tuple(MODEL_POLICIES))
    add_conversation_arguments(parser)


def _add_mask_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--corrupt",
        metavar="LOW-HIGH",
        help="trial: corrupt the masks to an IoU in this range first, as 0.5-0.9, and report how "
        "well that is found out",
    )
    add_seed_argument(group)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    add_guard_arguments(parser)
    add_output_arguments(parser, unit_size=TARGETS_PER_UNIT)
    add_running_arguments(parser)
    parser.set_defaults(
        expressions=str(ExpressionChoice.FIRST), initial_action="none", step="best-scored"
    )


def _annotation_config(
    arguments: argparse.Namespace, check: Check, *, rest: Sequence[str], own_flags: Sequence[str]
) -> AnnotationConfig:
    if arguments.policy in BASELINES:
        check.note(
            f"--policy {arguments.policy!r}: masks are scored by a model; choose from "
            f"{', '.join(MODEL_POLICIES)}"
        )
    if arguments.recipe is not None and not arguments.score:
        check.note(
            f"--recipe {arguments.recipe}: its model was not taught to score masks (export.yaml "
            "has neither `score: true` nor the task prm); name a recipe whose model was, or pass "
            "--score if it was after all"
        )
    first_mask = _first_mask(arguments.corrupt, check)
    arguments.score = True
    rollouts = None
    try:
        rollouts = evaluation_config(arguments, rest=rest, own_flags=own_flags)
    except ConfigError as error:
        check.note_all(error.problems)
    check.done()
    assert rollouts is not None
    run = replace(rollouts.run, first_mask=first_mask)
    is_corrupted = first_mask.corrupted_to is not None
    return AnnotationConfig(replace(rollouts, run=run), is_corrupted=is_corrupted)


def _first_mask(text: str | None, check: Check) -> FirstMask:
    if text is None:
        return FirstMask()
    bounds = _RANGE.fullmatch(text)
    if bounds is None:
        check.note(f"--corrupt {text!r}: expected LOW-HIGH, as 0.5-0.9")
        return FirstMask()
    low, high = float(bounds[1]), float(bounds[2])
    if not 0 <= low < high <= 1:
        check.note(f"--corrupt {text}: expected LOW-HIGH with 0 <= LOW < HIGH <= 1, as 0.5-0.9")
        return FirstMask()
    return FirstMask((low, high))
