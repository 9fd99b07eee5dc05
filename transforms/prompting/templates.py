"""Prompt templates that a user can replace: text with an image mark and placeholders."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.core.suggestions import closest

IMAGE_MARK = "<image>"

PLACEHOLDERS = ("expression", "colour", "coordinates")
"""What a template may name: the target's text, the mask's colour, what a pair of numbers means."""

NEXT_CLICK_TEXT = """\
<image>
Segment this object: {expression}. The present mask is shown in half-transparent {colour}. \
Give the next click that improves it: a positive point on a part of the object that the mask \
misses, or a negative point on a part of the mask that is not the object. \
Points are {coordinates}."""

SCORE_TEXT = """\
<image>
A mask in half-transparent {colour} is meant to cover this object: {expression}. \
Give the intersection over union of the mask and the object in percent."""

FIRST_BOX_TEXT = """\
<image>
Give the box of this object: {expression}. \
Its corners, the top left and the bottom right one, are {coordinates}."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Training frameworks replace these with images, videos and audio anywhere in a text.
_MEDIA_MARK = re.compile(r"<(image|video|audio)>")
# These, and what tokenizers of the model families read as more than text: <|im_end|>, </s>, ...
_MARK = re.compile(r"<(image|video|audio|\|[^<>|]{1,40}\||/?s|pad|unk)>")


@dataclass(frozen=True)
class PromptTemplate:
    """What a model is asked, with placeholders such as ``{expression}``.

    Braces around anything but a name are plain text. There must be one ``<image>``.

    Attributes:
        text: the template.
        source: where it comes from, for messages.

    Raises:
        ConfigError: an unknown placeholder, no expression, or not exactly one image mark.
    """

    text: str
    source: str = "the prompt template"

    def __post_init__(self) -> None:
        known = ", ".join("{" + name + "}" for name in PLACEHOLDERS)
        names = list(dict.fromkeys(_PLACEHOLDER.findall(self.text)))
        problems = []
        for name in names:
            if name not in PLACEHOLDERS:
                meant = closest(name, PLACEHOLDERS)
                hint = "" if meant is None else f"did you mean {{{meant}}}? "
                problems.append(
                    f"{self.source}: unknown placeholder {{{name}}}; {hint}known are {known}"
                )
        if "expression" not in names:
            problems.append(
                f"{self.source}: {{expression}} is missing, so the model would not know the object"
            )
        marks = _MEDIA_MARK.findall(self.text)
        if marks != ["image"]:
            seen = ", ".join(f"<{mark}>" for mark in marks) or "none"
            problems.append(
                f"{self.source}: expected {IMAGE_MARK} once and no other mark, found {seen}"
            )
        if problems:
            raise ConfigError(problems)

    def render(self, *, expression: str, colour: str, coordinates: str) -> str:
        """Fill the placeholders; filled-in values are never read as placeholders or marks."""
        values = {"expression": expression, "colour": colour, "coordinates": coordinates}
        # Even parts are text, odd ones placeholder names.
        parts = _PLACEHOLDER.split(self.text)
        filled = [neutralise_marks(values[part]) if i % 2 else part for i, part in enumerate(parts)]
        text = "".join(filled)
        if len(_MEDIA_MARK.findall(text)) != 1:
            # Template and value together formed a mark; marks contain no spaces.
            text = "".join(f" {part} " if i % 2 else part for i, part in enumerate(filled))
        return text


def neutralise_marks(text: str) -> str:
    """Insert spaces into marks that a training framework or tokenizer would not read as text.

    >>> neutralise_marks("a sign that says <image> and <|im_end|>")
    'a sign that says < image > and < |im_end| >'
    """
    return _MARK.sub(r"< \1 >", text)


def next_click_prompt() -> PromptTemplate:
    """Return the built-in question for the next click."""
    return PromptTemplate(NEXT_CLICK_TEXT, source="the built-in prompt")


def first_box_prompt() -> PromptTemplate:
    """Return the built-in question for a first box."""
    return PromptTemplate(FIRST_BOX_TEXT, source="the built-in prompt for boxes")


def score_prompt() -> PromptTemplate:
    """Return the built-in question for the IoU of the mask shown."""
    return PromptTemplate(SCORE_TEXT, source="the built-in prompt for scores")


def load_prompt(
    path: str, *, storage: Storage | None = None, source: str | None = None
) -> PromptTemplate:
    """Read a template from a UTF-8 text file; a final line break is not part of it.

    Args:
        path: the file.
        storage: where it is; None for the local disk.
        source: what messages call the file.

    Raises:
        ConfigError: the file cannot be read or is not a valid template.
    """
    source = source or f"prompt file {path!r}"
    try:
        data = (storage or LocalStorage()).read_bytes(path)
    except FileNotFoundError as error:
        raise ConfigError([f"{source}: no such file; give the path of a text file"]) from error
    except OSError as error:
        raise ConfigError(
            [f"{source}: cannot be read ({type(error).__name__}: {error})"]
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{source}: not UTF-8 text ({error}); save it as UTF-8"]) from error
    text = text.replace("\r\n", "\n").removesuffix("\n")
    return PromptTemplate(text, source=source)
