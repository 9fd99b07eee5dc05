"""Check that LLaMA-Factory shows a model the images at the size that its coordinates refer to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.prompting.options import TRAINER_PIXELS, square

if TYPE_CHECKING:
    from hlmat.export.llama_factory.options import LlamaFactoryOptions
    from hlmat.pipelines.recipes.recipe import Recipe

TRAINER_MIN_PIXELS = 32 * 32
"""The area to which LLaMA-Factory 0.9.5 enlarges images unless `image_min_pixels` is set."""

USUAL_SIZES_HW = ((480, 640), (1500, 2000), (333, 500))
"""Image sizes for the comparison before the real ones are known."""

_QWEN_SIDE = 28


def frame_problem(
    options: LlamaFactoryOptions, settings: Mapping[str, Any], *, recipe: Recipe
) -> str | None:
    """Return why pixel coordinates would not match what the model sees, None if they would.

    LLaMA-Factory reduces an image whose area exceeds `image_max_pixels` before the model's
    processor resizes it (`mm_plugin._preprocess_image`), which moves every coordinate of the codec
    `pixels`. The other codecs are relative to the image and survive any resize.

    Args:
        options: how the data set is written.
        settings: LLaMA-Factory's.
        recipe: for the message.
    """
    frame = options.frame
    if frame.codec != "pixels":
        return None
    limit = settings.get("image_max_pixels", TRAINER_PIXELS)
    written = frame.image_max_pixels
    if not isinstance(limit, int) or (written is not None and written <= limit):
        return None
    side = math.isqrt(limit)
    return (
        f"{recipe.folder}: codec pixels writes coordinates of images of {square(written)}, but "
        f"with image_max_pixels {limit} LLaMA-Factory reduces them to {side} x {side}, and the "
        f"model would learn displaced points; set max-pixels: {limit} in export.yaml, or raise "
        "image_max_pixels"
    )


def check_seen_sizes(
    options: LlamaFactoryOptions,
    settings: Mapping[str, Any],
    *,
    model: Path,
    sizes_hw: Collection[tuple[int, int]],
) -> None:
    """Compare the sizes that pixel coordinates refer to with those that the trained model sees.

    Args:
        options: how the data set is written.
        settings: LLaMA-Factory's.
        model: the folder of the model that is trained; its processor gives the sizes.
        sizes_hw: (height, width) of the images of the run.

    Raises:
        ConfigError: the sizes of an image differ, or the processor does not report its own.
    """
    codec, view = options.turn_format.codec, options.view
    if codec.name != "pixels":
        return
    from hlmat.transforms.policies.backends.checkpoint.processor import load_processor, resized_by

    processor = load_processor(model)
    for size_hw in sorted(sizes_hw):
        written = view.reduced(size_hw)
        expected = codec.resize(written)
        passed = trainer_size(written, settings)
        seen = resized_by(processor, passed)
        if seen == expected:
            continue
        shown = "an unknown size" if seen is None else f"{seen[1]} x {seen[0]}"
        raise ConfigError(
            [
                f"an image of {size_hw[1]} x {size_hw[0]} is written as {written[1]} x "
                f"{written[0]} with coordinates in {expected[1]} x {expected[0]} pixels (codec "
                f"pixels), but LLaMA-Factory and the processor in {model} show it to the model at "
                f"{shown}, so that it would learn displaced points; in export.yaml set processor: "
                "to the model's family and max-pixels: within its processor's limits, or take a "
                "relative codec such as decimal"
            ]
        )


def trainer_size(size_hw: tuple[int, int], settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (height, width) at which LLaMA-Factory passes an image to the model's processor.

    Like `mm_plugin._preprocess_image` of version 0.9.5: the area is brought within its bounds, and
    for the templates of Qwen-VL the sides are at least 28 pixels.

    Args:
        size_hw: of the image, (height, width), in pixels.
        settings: LLaMA-Factory's.
    """
    height, width = size_hw
    most = settings.get("image_max_pixels", TRAINER_PIXELS)
    least = settings.get("image_min_pixels", TRAINER_MIN_PIXELS)
    if height * width > most:
        factor = math.sqrt(most / (width * height))
        height, width = int(height * factor), int(width * factor)
    if height * width < least:
        factor = math.sqrt(least / (width * height))
        height, width = int(height * factor), int(width * factor)
    if str(settings.get("template", "")).startswith("qwen"):
        height, width = max(height, _QWEN_SIDE), max(width, _QWEN_SIDE)
    return height, width
