"""The command lines of `hlmat filter` and `hlmat refine` to validated configurations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hlmat.pipelines.settings.evaluation_options import (
    CLICKS,
    GUARD,
    TARGETS_PER_UNIT,
    EvaluationConfig,
    EvaluationOptions,
    evaluation_config,
    policy_group,
)
from hlmat.pipelines.settings.flags import Flag, Group, Pair
from hlmat.pipelines.settings.prompt_options import CONVERSATION
from hlmat.pipelines.settings.run_flags import DATA, RUNNING, SEED, SEGMENTER, output_group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.policies.mllm import MODEL_POLICIES
from hlmat.transforms.policies.registry import BASELINES
from hlmat.transforms.rollout.options import FirstMask


@options
class FilterOptions:
    """Which masks `hlmat filter` keeps."""

    keep_at: float = setting(
        default=0.8, ge=0, le=1, metavar="S", help="keep masks with at least this score"
    )


@dataclass(frozen=True)
class AnnotationConfig:
    """Everything that `hlmat filter` or `hlmat refine` needs to know.

    Attributes:
        rollouts: begin with the data set's masks, or with corrupted ones.
        is_corrupted: whether the masks are corrupted on purpose, to compare results with the
            original masks.
        keep_at: minimum score of a mask that `hlmat filter` keeps, in [0, 1].
    """

    rollouts: EvaluationConfig
    is_corrupted: bool = False
    keep_at: float = 0.0


IOU_RANGE = Pair(("LOW", "HIGH"), "-", "0.5-0.9")
_CORRUPT = Flag("corrupt", FirstMask, "corrupted_to", pair=IOU_RANGE)
_MODEL = (
    Group(
        "recipe",
        (
            Flag(
                "recipe",
                EvaluationOptions,
                help="take flags from train_recipes/R, of a model that scores masks; flags given "
                "here win, and with another --dataset its flags on data are left out",
            ),
        ),
    ),
    DATA,
    policy_group(tuple(MODEL_POLICIES)),
    CONVERSATION,
)
_RUN = (GUARD, output_group(TARGETS_PER_UNIT), RUNNING)
FILTER = (
    *_MODEL,
    Group("masks", (Flag("keep-at", FilterOptions), _CORRUPT, SEED)),
    *_RUN,
)
REFINE = (
    *_MODEL,
    SEGMENTER,
    Group("rollout", CLICKS),
    Group("masks", (_CORRUPT, SEED)),
    *_RUN,
)


def filter_config(arguments: argparse.Namespace, *, rest: Sequence[str] = ()) -> AnnotationConfig:
    """Validate the arguments of `hlmat filter`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    keep_at = Values(arguments, FILTER, check).build(FilterOptions).keep_at
    config = _annotation_config(arguments, check, rest=rest, groups=FILTER)
    run = config.rollouts.run
    run = replace(run, limits=replace(run.limits, max_clicks=0))
    return replace(config, rollouts=replace(config.rollouts, run=run), keep_at=keep_at)


def refinement_config(
    arguments: argparse.Namespace, *, rest: Sequence[str] = ()
) -> AnnotationConfig:
    """Validate the arguments of `hlmat refine`.

    Raises:
        ConfigError: with every problem found.
    """
    return _annotation_config(arguments, Check(), rest=rest, groups=REFINE)


def _annotation_config(
    arguments: argparse.Namespace, check: Check, *, rest: Sequence[str], groups: Sequence[Group]
) -> AnnotationConfig:
    values = Values(arguments, groups, check)
    if values.get("policy") in BASELINES:
        check.note(
            f"--policy {values.get('policy')!r}: masks are scored by a model; choose from "
            f"{', '.join(MODEL_POLICIES)}"
        )
    if values.is_given("recipe") and not values.get("score"):
        check.note(
            f"--recipe {values.get('recipe')}: its model was not taught to score masks "
            "(export.yaml has neither `score: true` nor the task prm); name a recipe whose model "
            "was, or pass --score if it was after all"
        )
    first_mask = values.build(FirstMask)
    asked = argparse.Namespace(
        **{**vars(arguments), "score": True, "expressions": "first", "step": "best-scored"}
    )
    rollouts = evaluation_config(asked, rest=rest, groups=groups, check=check)
    run = replace(rollouts.run, first_mask=first_mask)
    is_corrupted = first_mask.corrupted_to is not None
    return AnnotationConfig(replace(rollouts, run=run), is_corrupted=is_corrupted)
