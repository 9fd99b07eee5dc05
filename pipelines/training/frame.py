"""Whether LLaMA-Factory shows a model the images at the size that its coordinates count in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hlmat.transforms.prompting.options import TRAINER_PIXELS

if TYPE_CHECKING:
    from hlmat.export.llama_factory.options import LlamaFactoryOptions
    from hlmat.pipelines.recipes.recipe import Recipe


def frame_problem(
    options: LlamaFactoryOptions, settings: Mapping[str, Any], *, recipe: Recipe
) -> str | None:
    """Return why written pixels would not be those that the model sees, None if they are.

    LLaMA-Factory reduces an image whose area exceeds `image_max_pixels` before the model's
    processor resizes it (`mm_plugin._preprocess_image`), which moves every coordinate of the codec
    `pixels`. The other codecs are relative to the image and survive any resize.

    Args:
        options: how the data set is written.
        settings: LLaMA-Factory's.
        recipe: for the message.
    """
    if options.turn_format.codec.name != "pixels":
        return None
    limit = settings.get("image_max_pixels", TRAINER_PIXELS)
    written = options.view.largest_area
    if not isinstance(limit, int) or (written is not None and written <= limit):
        return None
    size = "any size" if written is None else f"up to {_square(written)} ({written} pixels)"
    return (
        f"{recipe.folder}: codec pixels writes coordinates of images of {size}, but with "
        f"image_max_pixels {limit} LLaMA-Factory reduces them to {_square(limit)}, and the model "
        f"would learn displaced points; set max-pixels: {limit} in export.yaml, or raise "
        "image_max_pixels"
    )


def _square(area: int) -> str:
    side = math.isqrt(area)
    return f"{side} x {side}"
