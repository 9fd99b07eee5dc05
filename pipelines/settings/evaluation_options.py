"""The command line of `hlmat evaluate` to a validated configuration."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import AfterValidator

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.human_clicks import EVALUATED_CLICKS, read_human_clicks
from hlmat.pipelines.settings.noc_options import (
    FIXED_LIMITS,
    NOC,
    NocOptions,
    Protocol,
    refuse_fixed_flags,
)
from hlmat.pipelines.settings.prompt_options import CONVERSATION, read_conversation
from hlmat.pipelines.settings.recipe_models import scoring_recipe, untrained_model
from hlmat.pipelines.settings.run_flags import DATA, RUNNING, SEED, SEGMENTER, output_group
from hlmat.pipelines.settings.run_options import RunConfig, run_config
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.records import Box
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.policies.backends.options import (
    AnswererOptions,
    CheckpointOptions,
    ReplayOptions,
    SamplingOptions,
    ServerOptions,
)
from hlmat.transforms.policies.human_options import ALL_DECILES
from hlmat.transforms.policies.mllm import MODEL_POLICIES, ModelPolicyOptions
from hlmat.transforms.policies.registry import BASELINES, PolicyOptions, check_policy_name
from hlmat.transforms.rollout.options import Beginning, InitialAction, Limits, SearchOptions

if TYPE_CHECKING:
    from hlmat.transforms.metrics.target_results import StepChoice

POLICY_NAMES = (*MODEL_POLICIES, *BASELINES)
TARGETS_PER_UNIT = 64


def _checked_step(text: str) -> str:
    if text not in ("last", "best-scored") and not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise ValueError("expected last, best-scored, or the number of a click from 1 on")
    return text


@options
class StepOptions:
    """Which mask of a rollout counts as its prediction."""

    step: Annotated[str, AfterValidator(_checked_step)] = setting(
        default="last",
        metavar="S",
        help="the prediction: last, best-scored by the model, or the mask after click K",
    )

    @property
    def choice(self) -> StepChoice:
        """The choice, with a click as a number."""
        return int(self.step) if self.step.isdecimal() else cast("StepChoice", self.step)


@options
class EvaluationOptions:
    """The settings of an evaluation other than those of its rollouts."""

    recipe: str | None = setting(
        default=None,
        metavar="R",
        in_fingerprint=False,
        help="take flags from train_recipes/R; flags given here win",
    )
    expressions: ExpressionChoice = setting(
        default=ExpressionChoice.EACH,
        metavar="E",
        help="each: a target for each; first: one of them; shuffled: a control",
    )
    trained_on: tuple[str, ...] = setting(
        default=(),
        metavar="PATH",
        in_fingerprint=False,
        help="a run or export that the model was trained on; repeatable",
    )
    allow_leak: bool = setting(
        default=False, in_fingerprint=False, help="only warn about shared images"
    )


@options
class ScoreOptions:
    """What `hlmat score` reads."""

    predictions: str = setting(metavar="FILE", help="a prediction file, JSON")


@dataclass(frozen=True)
class EvaluationConfig:
    """Everything that `hlmat evaluate` needs to know.

    Attributes:
        run: the rollouts.
        step: which mask of a rollout is its prediction.
        model: folder of the model that runs in this process, if any.
        trained_on: further folders that record what the model was trained on.
        allow_leak: only warn if training and evaluation share images.
        clicks: the protocol, and the IoUs of NoC and NoF.
        all_deciles: evaluate each decile of people's clicks, each in a folder of its own.
    """

    run: RunConfig
    step: StepChoice
    model: str | None = None
    trained_on: tuple[str, ...] = ()
    allow_leak: bool = False
    clicks: NocOptions = field(default_factory=NocOptions)
    all_deciles: bool = False


def policy_group(names: Sequence[str] = POLICY_NAMES) -> Group:
    """Return the flags that choose the policy.

    Args:
        names: of the policies to choose from.
    """
    return Group(
        "policy",
        (
            Flag(
                "policy",
                PolicyOptions,
                "name",
                default="mllm",
                names=tuple(names),
            ),
            Flag("model", CheckpointOptions, help="mllm: a checkpoint, full or LoRA"),
            Flag("adapter", CheckpointOptions, help="mllm: a LoRA adapter for --model"),
            Flag(
                "model-device", CheckpointOptions, "device", help="mllm: cpu, cuda, cuda:N or mps"
            ),
            Flag("dtype", CheckpointOptions),
            Flag("batch-size", CheckpointOptions),
            Flag("max-new-tokens", SamplingOptions),
            Flag("temperature", SamplingOptions),
            Flag("score-reading", CheckpointOptions),
            Flag("always-click", CheckpointOptions),
            Flag(
                "server", ServerOptions, "base_url", help="openai: such as http://localhost:8000/v1"
            ),
            Flag("served-model", ServerOptions, "model", help="openai: the model's name there"),
            Flag("timeout", ServerOptions, "timeout_s", help="openai: seconds for a request"),
            Flag("retries", ServerOptions, help="openai: repetitions of a failed request"),
            Flag(
                "tool-interface",
                ServerOptions,
                help="openai, dialogues of functions: calls as text, or through the server",
            ),
            Flag("sent-as", ServerOptions, "image_format", help="openai: images as png or jpeg"),
            Flag(
                "served-pixels",
                ServerOptions,
                "max_pixels",
                help="openai, codec pixels: the area that the server leaves unchanged",
            ),
            Flag(
                "api-key-variable",
                ServerOptions,
                help="openai: environment variable that holds the key",
            ),
            Flag(
                "answers",
                ReplayOptions,
                "path",
                help="replay: predictions.json, or JSON lines of answers",
            ),
        ),
    )


CLICKS = (
    Flag("max-clicks", Limits, default=7, at_least=1),
    Flag("stop-score", Limits, "stop_at_score"),
    Flag("search", SearchOptions, "candidates"),
    Flag("beam", SearchOptions),
    Flag("search-temperature", SearchOptions, "temperature"),
)
GUARD = Group(
    "leak guard",
    (Flag("trained-on", EvaluationOptions), Flag("allow-leak", EvaluationOptions)),
)
SCORE = (
    Group(
        "predictions",
        (
            Flag("FILE", ScoreOptions, "predictions", dest="predictions", is_positional=True),
            Flag("step", StepOptions),
        ),
    ),
)
EVALUATE = (
    Group("recipe", (Flag("recipe", EvaluationOptions),)),
    DATA,
    SEGMENTER,
    policy_group(),
    EVALUATED_CLICKS,
    CONVERSATION,
    Group(
        "rollout",
        (
            Flag("expressions", EvaluationOptions),
            Flag("initial-action", Beginning),
            Flag("step", StepOptions),
            *CLICKS,
            SEED,
        ),
    ),
    NOC,
    GUARD,
    output_group(TARGETS_PER_UNIT),
    RUNNING,
)


def evaluation_config(
    arguments: argparse.Namespace,
    *,
    rest: Sequence[str] = (),
    groups: Sequence[Group] = EVALUATE,
    check: Check | None = None,
) -> EvaluationConfig:
    """Validate the arguments of `hlmat evaluate`.

    Args:
        arguments: parsed with flags of `EVALUATE`; missing ones have their defaults.
        rest: arguments unknown to the parser.
        groups: the command's own flags, for suggestions.
        check: with the problems found so far.

    Raises:
        ConfigError: with every problem found.
    """
    check = check or Check()
    values = Values(arguments, EVALUATE, check)
    values.read_given()
    clicks = values.build(NocOptions)
    is_noc = clicks.protocol is Protocol.NOC20
    if is_noc:
        refuse_fixed_flags(values, check)
    name = "oracle" if is_noc and not values.is_given("policy") else values.get("policy")
    is_model = name in MODEL_POLICIES
    seed = values.get("seed")
    draws_boxes = values.get("initial-action") == InitialAction.POLICY_BOX
    if draws_boxes and not is_model:
        check.note(f"--initial-action policy-box: the policy {name} draws no boxes")
    problem = check_policy_name(name, among=POLICY_NAMES)
    check.maybe(problem)
    human = read_human_clicks(values, check, policy=name, allows_all=True)
    answerer = None
    policy = PolicyOptions("oracle", seed, is_baseline=True)
    if is_model:
        answerer = _answerer_options(values, check, name=name, seed=seed)
    elif problem is None:
        policy = PolicyOptions(name, seed, is_baseline=True, human=human)
    scores = is_model and values.get("score")
    if values.has("stop-score") and not scores:
        check.note("--stop-score needs a model that scores its masks; add --score")
    evaluation = values.build(EvaluationOptions)
    run = run_config(
        values,
        check,
        policy=policy,
        rest=rest,
        groups=groups,
        # The model ends its rollouts, not the ground truth.
        limits={
            "target_iou": None,
            "stop_on_no_gain": False,
            "score_last": scores,
            **(FIXED_LIMITS if is_noc else {}),
        },
        # Every process loads the model.
        workers=1 if is_model else None,
        expressions=evaluation.expressions,
        images_at_once=values.get("batch-size") if is_model else 1,
        search=_search_options(values, check, policy=name, scores=scores),
    )
    step = values.build(StepOptions).choice
    if step == "best-scored" and not scores:
        check.note("--step best-scored needs a model that scores its masks; add --score")
    if name == "openai":
        check.note_all(_not_of_a_server(values))
    if is_model:
        # Last, because the drawing code takes a second to import.
        served = values.get("served-pixels") if name == "openai" else None
        checkpoint = answerer if isinstance(answerer, CheckpointOptions) else None
        conversation = read_conversation(values, check, served_pixels=served, model=checkpoint)
        dialogue = conversation.turn_format.dialogue
        if draws_boxes and Box not in dialogue.says:
            check.note(
                f"--initial-action policy-box: the dialogue {dialogue.name} has no form for a box"
            )
        if answerer is not None:
            model = ModelPolicyOptions(name, conversation, answerer, draws_boxes)
            run = replace(run, policy=model)
    check.done()
    return EvaluationConfig(
        run=run,
        step=step,
        model=values.get("model") if name == "mllm" else None,
        trained_on=evaluation.trained_on,
        allow_leak=evaluation.allow_leak,
        clicks=clicks,
        all_deciles=human is not None and values.get("click-decile") == ALL_DECILES,
    )


def _not_of_a_server(values: Values) -> list[str]:
    """Return which settings need the probabilities of tokens, which a server need not give."""
    problems = []
    if values.get("score-reading") == "expected":
        problems.append(
            "--score-reading expected: a server is not asked for the probabilities of digits; use "
            "--policy mllm, or --score-reading written"
        )
    if values.get("always-click"):
        problems.append("--always-click: a server cannot be kept from Finish; use --policy mllm")
    return problems


def _search_options(
    values: Values, check: Check, *, policy: str, scores: bool
) -> SearchOptions | None:
    search = values.build(SearchOptions)
    if search.candidates == 1:
        if search.beam > 1:
            check.note(
                f"--beam {search.beam} needs several candidates; add --search K with K above 1"
            )
        return None
    if not scores:
        check.note("--search needs a model that scores its masks; add --score")
    if policy == "replay":
        check.note("--search: recorded answers hold one answer to a question; evaluate the model")
    return search


def _answerer_options(
    values: Values, check: Check, *, name: str, seed: int
) -> AnswererOptions | None:
    match name:
        case "mllm":
            if not values.is_given("model"):
                check.note(
                    "--model is missing: name the folder of a checkpoint, or --recipe R for the "
                    f"model of `hlmat train --recipe R`{scoring_recipe(values)}"
                )
                return None
            if (problem := untrained_model(values)) is not None:
                check.note(problem)
                return None
            return values.build(CheckpointOptions, seed=seed)
        case "openai":
            if not values.is_given("server"):
                check.note("--server is missing: give its URL, such as http://localhost:8000/v1")
            if not values.has("server"):
                return None
            return values.build(ServerOptions, seed=seed, concurrency=values.get("batch-size"))
        case _:
            if not values.is_given("answers"):
                check.note("--answers is missing: name the file of recorded answers")
                return None
            return values.build(ReplayOptions)
