"""The flags on how a model is asked, shared by export and evaluation."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
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
    next_click_prompt,
)

if TYPE_CHECKING:
    from hlmat.transforms.policies.model_policy import Conversation

CONVERSATION = Group(
    "conversation",
    (
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
        Flag("score", ConversationOptions),
    ),
)


def read_conversation(
    values: Values, check: Check, *, served_pixels: int | None = None
) -> Conversation:
    """Return the requested conversation.

    Args:
        values: of the command line.
        check: collects problems.
        served_pixels: the area up to which a server passes images on; None without a server.

    Raises:
        ConfigError: with all problems so far, before drawing code is imported.
    """
    asked = values.build(ConversationOptions)
    style = values.build(StateStyle)
    if asked.codec == "pixels":
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
    prompt = read_prompt("--prompt", asked.prompt, check) or next_click_prompt()
    box_prompt = read_prompt("--box-prompt", asked.box_prompt, check) or first_box_prompt()
    check.done()
    from hlmat.transforms.policies.model_policy import Conversation
    from hlmat.transforms.prompting.actions import TurnFormat
    from hlmat.transforms.prompting.coordinates import RESIZES, build_codec
    from hlmat.transforms.prompting.rendering import StateView

    turn_format = TurnFormat(
        build_codec(
            asked.codec,
            order=asked.order,
            digits=asked.digits,
            resize=RESIZES[asked.processor],
        ),
        prompt=prompt,
        colour=style.colour,
        with_score=asked.score,
        with_finish=asked.finish,
    )
    return Conversation(turn_format, StateView(**asdict(style)), box_prompt)


def read_prompt(flag: str, path: str | None, check: Check) -> PromptTemplate | None:
    """Return the template in a flag's file, or None without a file."""
    if not path:
        return None
    return check.built(lambda: load_prompt(path, source=f"{flag} {path!r}"))
