"""The rows of a data set in the ShareGPT form of LLaMA-Factory, from samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hlmat.export.llama_factory.images import image_name
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, Sample, answer_message
from hlmat.export.llama_factory.tasks.registry import TrainingTask
from hlmat.transforms.core.records import Target
from hlmat.transforms.prompting.templates import IMAGE_MARK

TOOLS = "tools"
"""LLaMA-Factory's column of the functions that a model may call, a JSON list as text."""

SYSTEM = "system"
"""Its column of the system message."""

USER, FUNCTION_CALL, OBSERVATION = "user", "function_call", "observation"


def rows_of(
    task: TrainingTask, case: Case, options: LlamaFactoryOptions
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a target; their images are named, not written."""
    target = case.trajectory.target
    for sample in task.samples(case, options):
        names = [image_name(target, t.shown, suffix=options.image_format) for t in sample.turns]
        yield from sample_rows(sample, target, names, options)


def sample_rows(
    sample: Sample, target: Target, images: Sequence[str], options: LlamaFactoryOptions
) -> Iterator[dict[str, Any]]:
    """Yield a row for each expression of a target.

    Args:
        sample: its turns.
        target: whose expressions are asked about.
        images: a name for each turn.
        options: the dialogue, and whether each expression has a row.
    """
    expressions = target.ref.expressions
    for expression in expressions[:1] if options.expressions == "first" else expressions:
        messages = _messages(sample, expression, options)
        yield {
            "messages": messages,
            "images": list(images),
            "target_id": target.ref.target_id,
            **_of_dialogue(sample, messages, options),
            **sample.columns,
        }


def dialogue_columns(options: LlamaFactoryOptions) -> dict[str, str]:
    """Return LLaMA-Factory's columns that the dialogue needs, with the rows' names."""
    asked = options.turn_format
    columns = {TOOLS: asked.functions, SYSTEM: asked.system}
    return {name: name for name, text in columns.items() if text}


def dialogue_tags(options: LlamaFactoryOptions) -> dict[str, str]:
    """Return LLaMA-Factory's tags that the dialogue needs."""
    if not options.turn_format.functions:
        return {}
    return {"function_tag": FUNCTION_CALL, "observation_tag": OBSERVATION}


def _of_dialogue(
    sample: Sample, messages: Sequence[dict[str, str]], options: LlamaFactoryOptions
) -> dict[str, str]:
    columns = dialogue_columns(options)
    asked = sample.turns[0].turn_format or options.turn_format
    # An answer that is no call, such as a score alone, comes without functions.
    calls = len(messages) == 1 or messages[1]["role"] == FUNCTION_CALL
    texts = {TOOLS: asked.functions if calls else "", SYSTEM: asked.system}
    return {name: texts[name] for name in columns}


def _messages(
    sample: Sample, expression: str, options: LlamaFactoryOptions
) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for turn in sample.turns:
        question = turn.turn_format.question(expression) if turn.turn_format else IMAGE_MARK
        follows_call = bool(messages) and messages[-1]["role"] == FUNCTION_CALL
        role = OBSERVATION if follows_call else USER
        messages.append({"role": role, "content": question})
        if turn.answer is not None:
            messages.append(answer_message(turn.answer, options.turn_format))
    return messages
