"""What the generated data set holds: its options, splits and license."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

from hlmat.transforms.core.options import options, setting

SPLITS = ("train", "val", "test")
LICENSE = "CC0-1.0 (generated)"

Difficulty = Literal["simple", "thin", "mixed"]
DIFFICULTIES: tuple[str, ...] = get_args(Difficulty)


@options
class ShapesOptions:
    """What to generate.

    Attributes:
        objects_min: a crowded image may hold fewer.
        difficulty: "simple" has solid shapes alone, "thin" thin ones and ones with holes,
            "mixed" all.

    Raises:
        OptionsError: values out of range; all of them at once.
    """

    count: int = setting(default=32, ge=1, le=10_000_000, help="number of images of a split")
    height: int = setting(default=240, ge=64, le=8192, help="height of an image in pixels")
    width: int = setting(default=320, ge=64, le=8192, help="width of an image in pixels")
    seed: int = setting(default=0, ge=0, help="another seed gives other images")
    objects_min: int = setting(default=2, ge=1, le=12, help="fewest objects of an image")
    objects_max: int = setting(default=5, ge=1, le=12, help="most objects of an image")
    difficulty: Difficulty = setting(
        default="mixed", help="solid shapes, thin ones and ones with holes, or all"
    )

    def conflicts(self) -> Iterator[str]:
        """Yield what is wrong with several values together."""
        if self.objects_min > self.objects_max:
            yield "{objects_min} is above {objects_max}; swap them"
