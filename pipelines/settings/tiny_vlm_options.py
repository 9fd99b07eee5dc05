"""The command line of `hlmat mini-base` to validated options."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.run_flags import SHAPES_DIFFICULTY, SHAPES_IMAGES, SHAPES_OBJECTS
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture


@options
class TinyVlmOutput:
    """The output folder of the small model, and its device."""

    out: str = setting(
        default="", metavar="DIR", in_fingerprint=False, help="local folder of the model"
    )
    overwrite: bool = setting(
        default=False, in_fingerprint=False, help="remove an existing model first"
    )
    device: str = setting(
        default="auto", metavar="DEV", in_fingerprint=False, help="cpu, cuda, cuda:N"
    )


MINI_BASE = (
    Group(
        "output",
        (
            Flag("out", TinyVlmOutput),
            Flag("overwrite", TinyVlmOutput),
            Flag("seed", PretrainingOptions),
            Flag("device", TinyVlmOutput),
        ),
    ),
    Group(
        "size",
        (
            Flag("image-size", TinyVlmArchitecture, "image"),
            Flag("patch", TinyVlmArchitecture),
            Flag("vision-width", TinyVlmArchitecture),
            Flag("vision-depth", TinyVlmArchitecture),
            Flag("width", TinyVlmArchitecture),
            Flag("depth", TinyVlmArchitecture),
            Flag("heads", TinyVlmArchitecture),
        ),
    ),
    Group(
        "pre-training",
        (
            Flag("steps", PretrainingOptions),
            Flag("tower-steps", PretrainingOptions),
            Flag("batch", PretrainingOptions),
            Flag("texts", PretrainingOptions),
            Flag("mask-share", PretrainingOptions),
            Flag("text-mask-share", PretrainingOptions),
            Flag("scores", PretrainingOptions),
            Flag("learning-rate", PretrainingOptions),
            Flag("matrix-rate", PretrainingOptions),
            SHAPES_IMAGES,
            SHAPES_OBJECTS,
            SHAPES_DIFFICULTY,
        ),
    ),
)


@dataclass(frozen=True)
class TinyVlmConfig:
    """The configuration of `hlmat mini-base`."""

    output: TinyVlmOutput
    architecture: TinyVlmArchitecture
    pretraining: PretrainingOptions
    images: ShapesOptions

    def settings(self) -> dict[str, Any]:
        """Return what determines the model, as plain JSON."""
        return {
            "architecture": asdict(self.architecture),
            "pretraining": asdict(self.pretraining),
            "images": asdict(self.images),
        }


def tiny_vlm_config(arguments: argparse.Namespace) -> TinyVlmConfig:
    """Validate the arguments of `hlmat mini-base`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, MINI_BASE, check)
    values.read_given()
    output = values.build(TinyVlmOutput)
    if not output.out or "://" in output.out:
        check.note("--out is missing or a URL: name a folder on the local disk")
    architecture = values.build(TinyVlmArchitecture)
    pretraining = values.build(PretrainingOptions)
    side = architecture.image
    images = values.build(ShapesOptions, seed=pretraining.seed, height=side, width=side)
    check.done()
    return TinyVlmConfig(output, architecture, pretraining, images)
