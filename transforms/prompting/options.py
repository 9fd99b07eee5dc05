"""Options of a conversation: coordinates, prompts, and the colour of the mask in the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from hlmat.transforms.core.options import options, setting
from hlmat.transforms.prompting.coordinates import CODECS, Order
from hlmat.transforms.prompting.dialogues.registry import DEFAULT_DIALOGUE, DIALOGUES
from hlmat.transforms.prompting.families import AUTO, FAMILIES
from hlmat.transforms.prompting.resizes import RESIZES

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {"green": (0, 255, 0), "red": (255, 0, 0), "blue": (0, 0, 255)}
)
"""RGB by name: the colours that a mask may be shown in."""

DEFAULT_COLOUR = "green"
DEFAULT_OPACITY = 0.5
TRAINER_PIXELS = 768 * 768
"""The area to which LLaMA-Factory 0.9.5 reduces images unless `image_max_pixels` is set."""


@options
class StateStyle:
    """How states are drawn for a model, both for training and for asking it.

    Attributes:
        max_side: longer images are reduced to this many pixels; None keeps every size.
        max_pixels: images of a larger area are reduced to at most this many pixels; None keeps
            every size.
    """

    colour: str = setting(
        default=DEFAULT_COLOUR,
        metavar="C",
        choices=lambda: tuple(COLOURS),
        help="colour of the mask in the image",
    )
    opacity: float = setting(default=DEFAULT_OPACITY, ge=0, le=1, help="opacity of the mask")
    max_side: int | None = setting(
        default=None, ge=1, metavar="PX", help="reduce larger images to this side"
    )
    max_pixels: int | None = setting(
        default=None,
        ge=1,
        metavar="N",
        help=(
            "reduce larger images to this area in pixels; codec pixels: "
            f"{TRAINER_PIXELS} unless a size is given"
        ),
    )

    @property
    def largest_area(self) -> int | None:
        """The largest area of an image that is drawn, in pixels; None without a bound."""
        areas = [self.max_pixels, None if self.max_side is None else self.max_side**2]
        return min((area for area in areas if area is not None), default=None)


def square(area: int | None) -> str:
    """Return the largest area of images as the side of a square, for messages."""
    if area is None:
        return "any size"
    side = math.isqrt(area)
    return f"up to {side} x {side} ({area} pixels)"


@options
class ConversationOptions:
    """What training data and questions must have in common, besides the `StateStyle`.

    Attributes:
        prompt: a template file; None for the built-in one.
        box_prompt: the template file of the question for a box.
    """

    dialogue: str = setting(
        default=DEFAULT_DIALOGUE,
        metavar="D",
        help=f"form of the answers: {', '.join(DIALOGUES)}, or FILE.py:Class for your own",
    )
    model_family: str | None = setting(
        default=None,
        metavar="F",
        choices=lambda: (*FAMILIES, AUTO),
        help="coordinates and image limits as the family's models expect them; auto: of --model",
    )
    codec: str = setting(
        default="decimal",
        metavar="C",
        choices=lambda: tuple(CODECS),
        help="how coordinates are written; by default the family's or the dialogue's",
    )
    order: Order = setting(default="xy", metavar="O", help="order of coordinates")
    digits: int = setting(
        default=3,
        ge=1,
        le=9,
        help="decimal codecs: digits after the decimal point",
    )
    processor: str = setting(
        default="none",
        metavar="P",
        choices=lambda: tuple(RESIZES),
        help="codec pixels: the resize of the model's processor",
    )
    prompt: str | None = setting(
        default=None, metavar="FILE", help="a template of your own, see docs/formats.md"
    )
    box_prompt: str | None = setting(
        default=None, metavar="FILE", help="the same for the question for a box"
    )
    finish: bool = setting(default=False, help="Finish is among the actions")
    no_object: bool = setting(
        default=False, help="that the image has no such object is among the answers"
    )
    undo: bool = setting(default=False, help="dialogue tools: taking the last action back is too")
    add_box: bool = setting(
        default=False, help="dialogues of functions: so is a box beside the clicks"
    )
    score: bool = setting(default=False, help="answers begin with the IoU of the mask shown")
