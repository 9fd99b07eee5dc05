"""How a LLaMA-Factory data set is made: the conversation, the images, what a task asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.actions import Dialogue
from hlmat.transforms.prompting.coordinates import make_codec
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.templates import PromptTemplate, score_prompt

MAX_CANDIDATES = 10

FOREIGN_MASKS = ("box", "polygon", "shrunk", "grown", "cut", "shifted", "discs", "neighbour")
"""Kinds of masks from elsewhere: the object's box, its outline with few corners, the object eroded,
dilated, cut off along a line or moved, discs thrown at it, another object of the image."""


@dataclass(frozen=True)
class LlamaFactoryOptions:
    """How samples are made.

    Attributes:
        dialogue: question and answer: prompt, codec, mask colour, whether answers carry the score
            of the mask shown, whether `Finish` is among the actions. With `Finish`, a trajectory
            that ended because no click improved the mask gives a last sample that says so.
        view: how states are drawn. Where it reduces images, relative coordinates stay what they
            are; the codec `pixels` counts those of the reduced image.
        box_prompt: the question for a target's box, asked of the image alone; None teaches none.
        score_prompt: the question for the IoU of the mask shown and nothing else.
        candidates: masks to be scored per target, each of another tenth of the IoU range.
        foreign_masks: those of `FOREIGN_MASKS` to correct, one of each per target.
        min_margin: a preferred click must be better by so much IoU, 0 to 1, and by more than 0.
        expressions: "each" gives each expression of a target its own samples, "first" uses one.
        image_format: "jpg" or "png".
        jpeg_quality: 1 to 100.
        name: of the data set in dataset_info.json, and of its JSON file.

    Raises:
        ConfigError: with every problem at once.
    """

    dialogue: Dialogue = field(default_factory=lambda: Dialogue(make_codec("decimal")))
    view: StateView = field(default_factory=StateView)
    box_prompt: PromptTemplate | None = None
    score_prompt: PromptTemplate = field(default_factory=score_prompt)
    candidates: int = 5
    foreign_masks: tuple[str, ...] = FOREIGN_MASKS
    min_margin: float = 0.0
    expressions: Literal["each", "first"] = "each"
    image_format: Literal["jpg", "png"] = "jpg"
    jpeg_quality: int = 95
    name: str = "next_click"

    def __post_init__(self) -> None:
        problems = []
        if self.dialogue.colour != self.view.colour:
            problems.append(
                f"the question names a {self.dialogue.colour} mask, the images show a "
                f"{self.view.colour} one; give both the same colour"
            )
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            problems.append(
                f"the number of candidates must be from 1 to {MAX_CANDIDATES}, got "
                f"{self.candidates}"
            )
        problems += [
            f"foreign mask {name!r} is unknown; choose from {', '.join(FOREIGN_MASKS)}"
            for name in self.foreign_masks
            if name not in FOREIGN_MASKS
        ]
        if not self.foreign_masks or len(set(self.foreign_masks)) < len(self.foreign_masks):
            problems.append(
                f"foreign masks are {', '.join(self.foreign_masks) or 'none'}; name at least one, "
                "none twice"
            )
        if not 0 <= self.min_margin <= 1:
            problems.append(f"the minimum margin must be from 0 to 1, got {self.min_margin}")
        if self.expressions not in ("each", "first"):
            problems.append(f"expressions is {self.expressions!r}; choose from each, first")
        if self.image_format not in ("jpg", "png"):
            problems.append(f"image format {self.image_format!r} is unknown; choose jpg or png")
        if not 1 <= self.jpeg_quality <= 100:
            problems.append(f"JPEG quality must be from 1 to 100, got {self.jpeg_quality}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            problems.append(
                f"the data set's name {self.name!r} must be letters, digits, '_' and '-' only"
            )
        if problems:
            raise ConfigError(problems)

    @property
    def seen_dialogue(self) -> Dialogue:
        """The dialogue with the coordinates of the images that the model sees."""
        return replace(self.dialogue, codec=self.view.seen_through(self.dialogue.codec))
