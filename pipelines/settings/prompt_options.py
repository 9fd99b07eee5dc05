"""The flags on how a model is talked with: shared by exporting its data and asking it."""

from __future__ import annotations

import argparse
from typing import cast

from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.policies.dialogue_policy import Conversation
from hlmat.transforms.prompting.actions import Dialogue
from hlmat.transforms.prompting.coordinates import CODECS, Order, SmartResize, make_codec, same_size
from hlmat.transforms.prompting.overlay import COLOURS
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.templates import first_box_prompt, load_prompt, next_click_prompt

PROCESSORS = {
    "none": same_size,
    "qwen2-vl": SmartResize(factor=28),
    "qwen3-vl": SmartResize(factor=32),
}
"""What the model's processor does to an image, for the codec "pixels"."""


def add_conversation_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that training data and questions must have in common."""
    talk = parser.add_argument_group("conversation")
    talk.add_argument(
        "--codec", metavar="C", default="decimal", help=f"{', '.join(CODECS)} (decimal)"
    )
    talk.add_argument("--order", metavar="O", default="xy", help="xy or row_column (xy)")
    talk.add_argument(
        "--digits", metavar="N", default="3", help="codec decimal: digits after the point (3)"
    )
    talk.add_argument(
        "--processor",
        metavar="P",
        default="none",
        help=f"codec pixels: the resize of the model's processor: {', '.join(PROCESSORS)} (none)",
    )
    talk.add_argument(
        "--mask-colour", metavar="C", default="green", help=f"{', '.join(COLOURS)} (green)"
    )
    talk.add_argument("--opacity", metavar="X", default="0.5", help="of the mask (0.5)")
    talk.add_argument("--max-side", metavar="PX", help="reduce larger images to this side")
    talk.add_argument(
        "--prompt", metavar="FILE", help="a template of your own, see docs/formats.md"
    )
    talk.add_argument("--box-prompt", metavar="FILE", help="the same for the question for a box")
    talk.add_argument("--finish", action="store_true", help="Finish is among the actions")
    talk.add_argument(
        "--score", action="store_true", help="answers begin with the IoU of the mask shown"
    )


def read_conversation(arguments: argparse.Namespace, check: Check) -> Conversation:
    """Return the conversation that was asked for; problems go to `check`."""
    check.choice("--processor", arguments.processor, list(PROCESSORS))
    digits = check.integer("--digits", arguments.digits, at_least=1)
    codec = check.built(
        lambda: make_codec(
            arguments.codec,
            order=cast("Order", arguments.order),
            digits=digits or 3,
            resize=PROCESSORS.get(arguments.processor, same_size),
        )
    )
    prompt = check.built(
        lambda: load_prompt(arguments.prompt) if arguments.prompt else next_click_prompt()
    )
    box_prompt = check.built(
        lambda: load_prompt(arguments.box_prompt) if arguments.box_prompt else first_box_prompt()
    )
    opacity = check.fraction("--opacity", arguments.opacity)
    max_side = check.integer("--max-side", arguments.max_side, at_least=1)
    view = check.built(
        lambda: StateView(
            colour=arguments.mask_colour,
            opacity=0.5 if opacity is None else opacity,
            max_side=max_side,
        )
    )
    dialogue = Dialogue(
        codec or make_codec("decimal"),
        prompt=prompt or next_click_prompt(),
        colour=arguments.mask_colour,
        with_score=arguments.score,
        with_finish=arguments.finish,
    )
    return Conversation(dialogue, view or StateView(), box_prompt or first_box_prompt())
