"""The command line of `hlmat evaluate` to a validated configuration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hlmat.pipelines.settings.prompt_options import add_conversation_arguments, read_conversation
from hlmat.pipelines.settings.run_options import (
    RunConfig,
    add_data_arguments,
    add_output_arguments,
    add_running_arguments,
    add_segmenter_arguments,
    run_config,
)
from hlmat.pipelines.settings.validation import Check, read_step_choice
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.metrics.target_results import StepChoice
from hlmat.transforms.policies.backends.options import (
    AnswererOptions,
    CheckpointOptions,
    ReplayOptions,
    ServerOptions,
)
from hlmat.transforms.policies.mllm import (
    MODEL_POLICIES,
    ModelPolicyOptions,
)
from hlmat.transforms.policies.registry import BASELINES, PolicyOptions, check_policy_name
from hlmat.transforms.rollout.options import InitialAction, SearchOptions

POLICY_NAMES = (*MODEL_POLICIES, *BASELINES)
TARGETS_PER_UNIT = 64


@dataclass(frozen=True)
class EvaluationConfig:
    """Everything that `hlmat evaluate` needs to know.

    Attributes:
        run: the rollouts.
        step: which mask of a rollout is its prediction.
        model: folder of the model, where one is asked in this process.
        trained_on: folders that say what the model was trained on, beside the model's own record.
        allow_leak: warn where training and evaluation share images instead of refusing.
    """

    run: RunConfig
    step: StepChoice
    model: str | None = None
    trained_on: tuple[str, ...] = ()
    allow_leak: bool = False


def add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `hlmat evaluate`; values are checked together afterwards."""
    parser.add_argument(
        "--recipe", metavar="R", help="take flags from train_recipes/R; flags given here win"
    )
    add_data_arguments(parser)
    add_segmenter_arguments(parser)
    add_policy_arguments(parser)
    add_conversation_arguments(parser)
    rollout = parser.add_argument_group("rollout")
    rollout.add_argument(
        "--expressions",
        metavar="E",
        default="each",
        help=f"{', '.join(ExpressionChoice)}: each is a target of its own (each)",
    )
    rollout.add_argument(
        "--initial-action",
        metavar="A",
        default="none",
        help=f"before the first click: {', '.join(InitialAction)} (none)",
    )
    rollout.add_argument(
        "--step",
        metavar="S",
        default="last",
        help="the prediction: last, best-scored by the model, or the mask after click K (last)",
    )
    add_click_arguments(rollout)
    add_seed_argument(rollout)
    add_guard_arguments(parser)
    add_output_arguments(parser, unit_size=TARGETS_PER_UNIT)
    add_running_arguments(parser)


def add_click_arguments(rollout: argparse._ArgumentGroup) -> None:
    """Declare the flags on how far and how wide a model clicks."""
    rollout.add_argument("--max-clicks", metavar="N", default="7", help="stop after N clicks (7)")
    rollout.add_argument(
        "--stop-score",
        metavar="S",
        help="with --score: stop once the model scores its mask as high, in (0, 1]",
    )
    rollout.add_argument(
        "--search",
        metavar="K",
        default="1",
        help="with --score: try K clicks in each state, go on from the best-scored masks (1)",
    )
    rollout.add_argument(
        "--beam", metavar="B", default="1", help="masks that a search goes on from (1)"
    )
    rollout.add_argument(
        "--search-temperature", metavar="T", default="1", help="of a search's draws (1)"
    )


def add_seed_argument(group: argparse._ArgumentGroup) -> None:
    """Declare the seed."""
    group.add_argument("--seed", metavar="K", default="0", help="of everything random (0)")


def add_guard_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the leak guard."""
    guard = parser.add_argument_group("leak guard")
    guard.add_argument(
        "--trained-on",
        metavar="PATH",
        action="append",
        default=[],
        help="a run or export that the model was trained on; repeatable",
    )
    guard.add_argument(
        "--allow-leak", action="store_true", help="warn of shared images, do not refuse"
    )


def add_policy_arguments(
    parser: argparse.ArgumentParser, *, names: Sequence[str] = POLICY_NAMES
) -> None:
    """Declare the flags that choose who clicks.

    Args:
        names: of the policies to choose from.
    """
    policy = parser.add_argument_group("policy")
    policy.add_argument(
        "--policy", metavar="P", default="mllm", help=f"one of: {', '.join(names)} (mllm)"
    )
    policy.add_argument("--model", metavar="DIR", help="mllm: a checkpoint, full or LoRA")
    policy.add_argument("--adapter", metavar="DIR", help="mllm: a LoRA adapter for --model")
    policy.add_argument(
        "--model-device", metavar="DEV", default="auto", help="mllm: cpu, cuda, cuda:N (auto)"
    )
    policy.add_argument(
        "--dtype", metavar="T", default="auto", help="mllm: float32, bfloat16, float16 (auto)"
    )
    policy.add_argument(
        "--batch-size", metavar="N", default="16", help="questions asked at once (16)"
    )
    policy.add_argument(
        "--max-new-tokens", metavar="N", default="32", help="longest answer in tokens (32)"
    )
    policy.add_argument("--temperature", metavar="T", default="0", help="0 is greedy (0)")
    policy.add_argument("--server", metavar="URL", help="openai: such as http://localhost:8000/v1")
    policy.add_argument("--served-model", metavar="NAME", help="openai: the model's name there")
    policy.add_argument("--timeout", metavar="S", default="60", help="openai: of a request (60)")
    policy.add_argument(
        "--retries", metavar="N", default="3", help="openai: of a failed request (3)"
    )
    policy.add_argument(
        "--sent-as", metavar="F", default="png", help="openai: images as png or jpeg (png)"
    )
    policy.add_argument(
        "--api-key-variable", metavar="VAR", help="openai: environment variable with the key"
    )
    policy.add_argument(
        "--answers", metavar="FILE", help="replay: predictions.json, or JSON lines of answers"
    )


def evaluation_config(
    arguments: argparse.Namespace, *, rest: Sequence[str], own_flags: Sequence[str]
) -> EvaluationConfig:
    """Validate the arguments of `hlmat evaluate`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    seed = check.integer("--seed", arguments.seed, at_least=0) or 0
    batch_size = check.integer("--batch-size", arguments.batch_size, at_least=1) or 1
    is_model = arguments.policy in MODEL_POLICIES
    check.choice("--expressions", arguments.expressions, list(ExpressionChoice))
    draws_boxes = arguments.initial_action == InitialAction.POLICY_BOX
    if draws_boxes and not is_model:
        check.note(f"--initial-action policy-box: the policy {arguments.policy} draws no boxes")
    policy: PolicyOptions | ModelPolicyOptions = PolicyOptions("oracle", seed, is_baseline=True)
    problem = check_policy_name(arguments.policy, among=POLICY_NAMES)
    check.maybe(problem)
    if is_model:
        conversation = read_conversation(arguments, check)
        answerer = _answerer_options(arguments, check, seed=seed, batch_size=batch_size)
        if answerer is not None:
            policy = ModelPolicyOptions(arguments.policy, conversation, answerer, draws_boxes)
    elif problem is None:
        policy = PolicyOptions(arguments.policy, seed, is_baseline=True)
    # Every process would load the model.
    arguments.workers = arguments.workers or ("1" if is_model else None)
    # A rollout with a model ends when the model says so, not when the truth would.
    arguments.target_iou, arguments.stop_on_no_gain = "none", False
    run = run_config(
        arguments,
        check,
        policy=policy,
        rest=rest,
        own_flags=own_flags,
        expressions=ExpressionChoice(arguments.expressions)
        if arguments.expressions in list(ExpressionChoice)
        else ExpressionChoice.EACH,
        images_at_once=batch_size if is_model else 1,
    )
    step = read_step_choice(arguments.step, check)
    scores = is_model and arguments.score
    text = arguments.stop_score
    stop_score = None if text is None else check.fraction("--stop-score", text)
    if stop_score is not None and not scores:
        check.note("--stop-score needs a model that scores its masks; add --score")
    if stop_score == 0:
        check.note("--stop-score 0: must be above 0; leave it out to never stop for it")
    search = _search_options(arguments, check, scores=scores)
    check.done()
    limits = replace(run.limits, stop_at_score=stop_score, score_last=scores)
    return EvaluationConfig(
        run=replace(run, limits=limits, search=search),
        step=step,
        model=arguments.model if arguments.policy == "mllm" else None,
        trained_on=tuple(arguments.trained_on),
        allow_leak=arguments.allow_leak,
    )


def _search_options(
    arguments: argparse.Namespace, check: Check, *, scores: bool
) -> SearchOptions | None:
    candidates = check.integer("--search", arguments.search, at_least=1) or 1
    beam = check.integer("--beam", arguments.beam, at_least=1) or 1
    temperature = check.number("--search-temperature", arguments.search_temperature, at_least=0)
    if candidates == 1:
        if beam > 1:
            check.note(f"--beam {beam} needs several candidates; add --search K with K above 1")
        return None
    if not scores:
        check.note("--search needs a model that scores its masks; add --score")
    if arguments.policy == "replay":
        check.note("--search: recorded answers hold one answer to a question; evaluate the model")
    return check.built(
        lambda: SearchOptions(
            candidates=candidates,
            beam=beam,
            temperature=1.0 if temperature is None else temperature,
        )
    )


def _answerer_options(
    arguments: argparse.Namespace, check: Check, *, seed: int, batch_size: int
) -> AnswererOptions | None:
    max_new_tokens = check.integer("--max-new-tokens", arguments.max_new_tokens, at_least=1) or 1
    temperature = check.number("--temperature", arguments.temperature, at_least=0) or 0.0
    match arguments.policy:
        case "mllm":
            if not arguments.model:
                check.note("--model is missing: name the folder of a checkpoint")
                return None
            return check.built(
                lambda: CheckpointOptions(
                    model=arguments.model,
                    adapter=arguments.adapter,
                    device=arguments.model_device,
                    dtype=arguments.dtype,
                    batch_size=batch_size,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    seed=seed,
                )
            )
        case "openai":
            if not arguments.server:
                check.note("--server is missing: give its URL, such as http://localhost:8000/v1")
                return None
            timeout_s = check.number("--timeout", arguments.timeout, at_least=0.001)
            retries = check.integer("--retries", arguments.retries, at_least=0)
            return check.built(
                lambda: ServerOptions(
                    base_url=arguments.server,
                    model=arguments.served_model,
                    concurrency=batch_size,
                    timeout_s=timeout_s or 60.0,
                    retries=3 if retries is None else retries,
                    temperature=temperature,
                    max_new_tokens=max_new_tokens,
                    seed=seed,
                    api_key_variable=arguments.api_key_variable,
                    image_format=arguments.sent_as,
                )
            )
        case _:
            if not arguments.answers:
                check.note("--answers is missing: name the file of recorded answers")
                return None
            return ReplayOptions(arguments.answers)
