"""The command line of `hlmat rl` to a validated configuration."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from hlmat.pipelines.settings.evaluation_options import EvaluationOptions
from hlmat.pipelines.settings.flags import Flag, Group, flags_in
from hlmat.pipelines.settings.prompt_options import CONVERSATION, read_conversation
from hlmat.pipelines.settings.run_flags import DATA, SEED, SEGMENTER, SelectionOptions
from hlmat.pipelines.settings.run_options import check_data, segmenter_options, shapes_options
from hlmat.pipelines.settings.training_options import TrainOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values, fingerprint_of_flags
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.policies.backends.options import CheckpointOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.reinforcement.options import GrpoOptions, RewardOptions
from hlmat.transforms.rollout.options import Limits
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import check_segmenter_name

if TYPE_CHECKING:
    from hlmat.transforms.policies.model_policy import Conversation


@options
class RlOptions:
    """The settings of `hlmat rl` that no other command has."""

    out: str | None = setting(
        default=None,
        metavar="DIR",
        in_fingerprint=False,
        help="output folder, local (out/RECIPE)",
    )
    model: str | None = setting(
        default=None,
        metavar="DIR",
        in_fingerprint=False,
        help="the model to start from, a folder: one that was fine-tuned on clicks",
    )


_NO_PARTS = ("partition", "min-area", "max-area")
RL = (
    Group(
        "recipe and output",
        (
            Flag("recipe", EvaluationOptions),
            Flag("out", RlOptions),
            Flag("overwrite", TrainOptions, help="remove an earlier training in DIR first"),
        ),
    ),
    DATA.without(*_NO_PARTS),
    SEGMENTER,
    CONVERSATION,
    Group(
        "model",
        (
            Flag("model", RlOptions),
            Flag("model-device", CheckpointOptions, "device", help="auto, cpu or cuda"),
            Flag("dtype", GrpoOptions),
            Flag("lora-rank", GrpoOptions),
        ),
    ),
    Group(
        "rollouts",
        (
            Flag("rounds", GrpoOptions),
            Flag("targets", GrpoOptions),
            Flag("group", GrpoOptions),
            Flag("temperature", GrpoOptions),
            Flag("max-clicks", Limits, default=3, at_least=1),
            Flag("max-new-tokens", CheckpointOptions),
            Flag("batch-size", CheckpointOptions, default=64),
            Flag("expressions", EvaluationOptions, help="each or first of a target's expressions"),
            SEED,
        ),
    ),
    Group(
        "reward",
        (
            Flag("iou-weight", RewardOptions),
            Flag("click-price", RewardOptions),
            Flag("overshoot-price", RewardOptions),
            Flag("invalid-price", RewardOptions),
        ),
    ),
    Group(
        "training",
        (
            Flag("updates", GrpoOptions),
            Flag("parts", GrpoOptions),
            Flag("learning-rate", GrpoOptions),
            Flag("warmup", GrpoOptions),
            Flag("kl", GrpoOptions),
            Flag("clip", GrpoOptions),
            Flag("max-grad-norm", GrpoOptions),
            Flag("scale", GrpoOptions),
            Flag("save-every", GrpoOptions),
            Flag("strips", GrpoOptions),
        ),
    ),
)
_PLACES = frozenset({"recipe", "batch-size", "model-device", "dialogue"})


@dataclass(frozen=True)
class RlConfig:
    """Everything that a training by rollouts needs to know.

    Attributes:
        out: the output folder.
        start: the folder of the model to start from.
        expressions: which of a target's expressions are rolled out.
        limit: number of targets of the data set; None for all.
    """

    dataset: str
    reader: ReaderOptions
    segmenter: SegmenterOptions
    conversation: Conversation
    answers: CheckpointOptions
    limits: Limits
    grpo: GrpoOptions
    rewards: RewardOptions
    out: str
    start: str
    expressions: ExpressionChoice
    limit: int | None
    seed: int
    overwrite: bool

    def shapes_settings(self) -> dict[str, Any] | None:
        """Return the settings of the generated data set, or None for other data sets."""
        return asdict(self.reader.shapes) if self.dataset == "shapes" else None


def rl_config(arguments: argparse.Namespace) -> RlConfig:
    """Validate the arguments of `hlmat rl`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, RL, check)
    values.read_given()
    own = values.build(RlOptions)
    out = own.out
    if out is None and values.is_given("recipe"):
        out = os.path.join("out", os.path.basename(str(values.get("recipe")).rstrip("/")))
    if out is None:
        check.note("--out is missing: name the output folder, or a recipe with --recipe")
    elif "://" in out:
        check.note(f"--out {out}: training writes to the local disk; give a local path")
    if own.model is None:
        check.note("--model is missing: name the folder of a model that was fine-tuned on clicks")
    selection = values.build(SelectionOptions)
    reader = values.build(
        ReaderOptions,
        storage=storage_for(values.get("data-root"), is_data=True),
        shapes=shapes_options(values, check, dataset=selection.dataset),
    )
    check_data(selection.dataset, reader, check)
    segmenter = segmenter_options(values)
    check.maybe(check_segmenter_name(segmenter.name))
    grpo, rewards = values.build(GrpoOptions), values.build(RewardOptions)
    limits = values.build(Limits, target_iou=None, stop_on_no_gain=False)
    answers = values.build(
        CheckpointOptions,
        model=own.model or "model",
        temperature=grpo.temperature,
        seed=selection.seed,
        dtype=grpo.dtype,
    )
    evaluation = values.build(EvaluationOptions)
    if evaluation.expressions is ExpressionChoice.SHUFFLED:
        check.note("--expressions shuffled is a control of evaluations; give each or first")
    # Last, because the drawing code takes a second to import.
    conversation = read_conversation(values, check, model=answers)
    check.done()
    return RlConfig(
        dataset=selection.dataset,
        reader=reader,
        segmenter=segmenter,
        conversation=conversation,
        answers=answers,
        limits=limits,
        grpo=grpo,
        rewards=rewards,
        out=os.path.abspath(out or ""),
        start=own.model or "",
        expressions=evaluation.expressions,
        limit=selection.limit,
        seed=selection.seed,
        overwrite=bool(values.get("overwrite")),
    )


def rl_fingerprint(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all flags of `hlmat rl` that can change the result, with their values as plain JSON.

    Raises:
        ConfigError: with every wrong value.
    """
    groups = [Group(group.title, tuple(_kept(group))) for group in RL]
    return fingerprint_of_flags(arguments, groups)


def given_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values that were given to flags of `hlmat rl`, as texts, by attribute."""
    known = {flag.dest for flag in flags_in(RL).values()}
    return {name: v for name, v in vars(arguments).items() if name in known and v is not None}


def _kept(group: Group) -> list[Flag]:
    return [
        replace(flag, default=flag.default_value)
        for flag in group.flags
        if flag.name not in _PLACES and flag.name != "overwrite"
    ]
