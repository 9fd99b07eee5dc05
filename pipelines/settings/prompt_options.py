"""The flags on how a model is asked, shared by export and evaluation."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.records import Box, Finish, NoObject, Undo
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.dialogues.registry import load_dialogue, prompt_of
from hlmat.transforms.prompting.dialogues.segagent import SegAgent
from hlmat.transforms.prompting.families import AUTO, FAMILIES, ModelFamily, family_of
from hlmat.transforms.prompting.options import (
    TRAINER_PIXELS,
    ConversationOptions,
    StateStyle,
    square,
)
from hlmat.transforms.prompting.templates import (
    PromptTemplate,
    first_box_prompt,
    load_prompt,
)

if TYPE_CHECKING:
    from hlmat.transforms.policies.backends.options import CheckpointOptions
    from hlmat.transforms.policies.model_policy import Conversation

CONVERSATION = Group(
    "conversation",
    (
        Flag("dialogue", ConversationOptions),
        Flag("model-family", ConversationOptions),
        Flag("codec", ConversationOptions),
        Flag("order", ConversationOptions),
        Flag("digits", ConversationOptions),
        Flag("processor", ConversationOptions),
        Flag("mask-colour", StateStyle, "colour"),
        Flag("opacity", StateStyle),
        Flag("max-side", StateStyle),
        Flag("max-pixels", StateStyle),
        Flag("prompt", ConversationOptions),
        Flag("box-prompt", ConversationOptions),
        Flag("finish", ConversationOptions),
        Flag("no-object", ConversationOptions),
        Flag("undo", ConversationOptions),
        Flag("add-box", ConversationOptions),
        Flag("score", ConversationOptions),
    ),
)


def read_conversation(
    values: Values,
    check: Check,
    *,
    served_pixels: int | None = None,
    model: CheckpointOptions | None = None,
) -> Conversation:
    """Return the requested conversation.

    Args:
        values: of the command line.
        check: collects problems.
        served_pixels: the area up to which a server passes images on; None without a server.
        model: the checkpoint whose family `--model-family auto` means; None without one.

    Raises:
        ConfigError: with all problems so far, before drawing code is imported.
    """
    asked = values.build(ConversationOptions)
    style = values.build(StateStyle)
    dialogue = check.built(lambda: load_dialogue(asked.dialogue)) or SegAgent()
    offer = Offer(
        finish=asked.finish, no_object=asked.no_object, undo=asked.undo, add_box=asked.add_box
    )
    check.note_all(_not_said(dialogue, asked))
    family = read_family(asked.model_family, check, model=model)
    codec, processor = dialogue.codec, asked.processor
    if family is not None:
        codec = codec if dialogue.has_own_codec else family.codec
        processor = processor if values.is_given("processor") else family.processor
        if style.max_side is None and style.max_pixels is None and codec != "pixels":
            style = replace(style, max_pixels=family.max_pixels)
    codec = asked.codec if values.is_given("codec") else codec
    digits = asked.digits if values.is_given("digits") else dialogue.digits
    if codec == "pixels":
        if style.max_side is None and style.max_pixels is None:
            style = replace(style, max_pixels=served_pixels or TRAINER_PIXELS)
        sent = style.largest_area
        if served_pixels is not None and (sent is None or sent > served_pixels):
            check.note(
                f"codec pixels: images of {square(sent)} would be sent, but the server passes on "
                f"images of {square(served_pixels)} and may reduce larger ones, so that answers "
                f"would be displaced; give --max-pixels {served_pixels}, or the server's own limit "
                "with --served-pixels"
            )
    prompt = read_prompt("--prompt", asked.prompt, check)
    box_prompt = read_prompt("--box-prompt", asked.box_prompt, check)
    check.done()
    from hlmat.transforms.policies.model_policy import Conversation
    from hlmat.transforms.prompting.actions import TurnFormat
    from hlmat.transforms.prompting.coordinates import build_codec
    from hlmat.transforms.prompting.rendering import StateView
    from hlmat.transforms.prompting.resizes import RESIZES

    turn_format = TurnFormat(
        build_codec(codec, order=asked.order, digits=digits, resize=RESIZES[processor]),
        prompt=prompt or prompt_of(dialogue, offer),
        colour=style.colour,
        with_score=asked.score,
        with_finish=asked.finish,
        with_no_object=asked.no_object,
        with_undo=asked.undo,
        with_box=asked.add_box,
        dialogue=dialogue,
    )
    if box_prompt is None and Box in dialogue.says:
        box_prompt = prompt_of(dialogue, replace(offer, box=True))
    return Conversation(turn_format, StateView(**asdict(style)), box_prompt or first_box_prompt())


def _not_said(dialogue: Dialogue, asked: ConversationOptions) -> list[str]:
    """Return which flags ask for answers that a dialogue has no form for."""
    name = f"the dialogue {dialogue.name}"
    problems = []
    if asked.finish and Finish not in dialogue.says:
        problems.append(f"--finish: {name} has no form for the end; leave it out")
    if asked.no_object and NoObject not in dialogue.says:
        problems.append(f"--no-object: {name} has no form for a missing object; leave it out")
    if asked.undo and Undo not in dialogue.edits:
        problems.append(f"--undo: {name} cannot take an action back; use --dialogue tools")
    if asked.add_box and Box not in dialogue.edits:
        problems.append(
            f"--add-box: {name} asks for clicks alone; use --dialogue tools, or a box at the start "
            "with --initial-action policy-box"
        )
    if asked.score and not dialogue.has_score:
        problems.append(f"--score: {name} has no form for scores; use segagent or think")
    return problems


def read_family(
    name: str | None, check: Check, *, model: CheckpointOptions | None
) -> ModelFamily | None:
    """Return the family that is named, or the one of a checkpoint; None without either.

    Args:
        name: a key of `FAMILIES`, or `auto`.
        check: collects problems.
        model: the checkpoint that `auto` means.
    """
    if name != AUTO:
        return None if name is None else FAMILIES[name]
    if model is None:
        check.note(
            "--model-family auto needs a checkpoint in this process (--policy mllm --model DIR); "
            f"name the family: {', '.join(FAMILIES)}"
        )
        return None
    from hlmat.transforms.policies.backends.checkpoint.files import find_checkpoint

    files = check.built(lambda: find_checkpoint(model.model, adapter=model.adapter))
    if files is None:
        return None
    found = family_of(files.model_type)
    if found is None:
        check.note(
            f"--model-family auto: the model_type {files.model_type!r} of {model.model} belongs to "
            f"no known family; name one ({', '.join(FAMILIES)}) or give --codec"
        )
        return None
    return FAMILIES[found]


def read_prompt(flag: str, path: str | None, check: Check) -> PromptTemplate | None:
    """Return the template in a flag's file, or None without a file."""
    if not path:
        return None
    return check.built(lambda: load_prompt(path, source=f"{flag} {path!r}"))
