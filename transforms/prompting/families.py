"""Families of models: the coordinates, the images and the template that each was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

AUTO = "auto"


@dataclass(frozen=True)
class ModelFamily:
    """What a family's published models expect, where no flag says otherwise.

    Attributes:
        summary: one line for the help.
        model_types: the `model_type` in the configurations of its models.
        codec: the coordinates that they write; a key of `CODECS`.
        processor: the resize of their processor; a key of `RESIZES`, for the codec `pixels`.
        max_pixels: the area to which larger images are reduced before they are shown; None for
            no bound but the processor's own.
        template: LLaMA-Factory's, for `template` of a recipe's train.yaml.
        shows_whole_image: whether the processor shows the whole image; one that crops it to a
            square hides what is outside.
    """

    summary: str
    model_types: tuple[str, ...]
    codec: str
    template: str
    processor: str = "none"
    max_pixels: int | None = None
    shows_whole_image: bool = True


FAMILIES: Mapping[str, ModelFamily] = {
    "qwen2_5_vl": ModelFamily(
        "Qwen2.5-VL: pixels of the resized image",
        ("qwen2_5_vl",),
        codec="pixels",
        processor="qwen2-vl",
        template="qwen2_vl",
    ),
    "qwen3_vl": ModelFamily(
        "Qwen3-VL: 0 to 1000",
        ("qwen3_vl", "qwen3_vl_moe"),
        codec="zero_to_1000",
        processor="qwen3-vl",
        template="qwen3_vl_nothink",
    ),
    "qwen3_5": ModelFamily(
        "Qwen3.5: 0 to 1000",
        ("qwen3_5", "qwen3_5_moe"),
        codec="zero_to_1000",
        processor="qwen3-vl",
        template="qwen3_5_nothink",
    ),
    "internvl3": ModelFamily(
        "InternVL3 and 3.5: 0 to 1000, at most 12 tiles of 448 x 448",
        ("internvl",),
        codec="zero_to_1000",
        max_pixels=12 * 448 * 448,
        template="intern_vl",
    ),
    "glm4_5v": ModelFamily(
        "GLM-4.5V: 0 to 1000",
        ("glm4v", "glm4v_moe", "glm46v"),
        codec="zero_to_1000",
        template="glm4_5v",
    ),
    "llava": ModelFamily(
        "LLaVA-1.5: fractions of the side; its processor crops to a square",
        ("llava",),
        codec="decimal",
        template="llava",
        shows_whole_image=False,
    ),
}
"""The families by name."""


def family_of(model_type: str) -> str | None:
    """Return the family whose models have a `model_type`; None for an unknown one.

    >>> family_of("qwen3_vl_moe"), family_of("bert")
    ('qwen3_vl', None)
    """
    return next((n for n, family in FAMILIES.items() if model_type in family.model_types), None)
