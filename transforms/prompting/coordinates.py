"""Pixels as the numbers a model writes, and back: one registry of codecs with exact inverses.

Everything is integer arithmetic. For every codec, encoding a decoded pair gives the same pair
again; where the codec is at least as fine as the image, decoding an encoded pixel gives the same
pixel again. A decoded pixel is always inside the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.prompting.resizes import Resize, same_size
from hlmat.transforms.prompting.scales import (
    Bins,
    DecimalBins,
    DecimalEdges,
    Edges,
    Inclusive,
    Scale,
)

Order = Literal["xy", "row_column"]

_PAIR = re.compile(r"\(([^(),]+), ?([^(),]+)\)")


@dataclass(frozen=True)
class CoordinateCodec:
    """Pixels of an image as pairs of numbers. Built by `build_codec`.

    Attributes:
        name: a key of `CODECS`.
        order: whether x or the row is written first.
        resize: what the model's processor does to the image; it matters to `pixels` alone.
    """

    name: str
    order: Order
    resize: Resize
    _scale: Scale

    def identity(self) -> str:
        """Return what determines how pixels are written, apart from the resize."""
        # The underscore belongs to the identities that runs and exports have recorded.
        return f"{self.name} {self.order} _{self._scale!r}"

    @property
    def description(self) -> str:
        """What a pair means, in words for a prompt."""
        pair = "(x, y)" if self.order == "xy" else "(row, column)"
        return f"{pair} {self._scale.description}"

    def render(self, x: int, y: int, *, size_hw: tuple[int, int]) -> str:
        """Write a pixel as a pair in round brackets.

        Raises:
            ValueError: the pixel is outside the image.

        >>> build_codec("decimal").render(320, 0, size_hw=(480, 640))
        '(0.500, 0.001)'
        """
        first, second = self.numbers(x, y, size_hw=size_hw)
        return f"({first}, {second})"

    def numbers(self, x: int, y: int, *, size_hw: tuple[int, int]) -> tuple[str, str]:
        """Write a pixel as two numbers, in the codec's order.

        Raises:
            ValueError: the pixel is outside the image.
        """
        height, width = size_hw
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"({x}, {y}) is outside the image of {width} x {height} pixels")
        resized_hw = self.resize(size_hw)
        column = self._scale.render(self._scale.encode(x, length=width, resized=resized_hw[1]))
        row = self._scale.render(self._scale.encode(y, length=height, resized=resized_hw[0]))
        return (column, row) if self.order == "xy" else (row, column)

    def parse(self, text: str, *, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Read a pair and return the pixel (x, y), always inside the image.

        Raises:
            ValueError: not a pair of numbers of this codec, or out of its range.

        >>> build_codec("decimal").parse("(0.500, 0.001)", size_hw=(480, 640))
        (320, 0)
        """
        match = _PAIR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a pair of numbers in round brackets")
        return self.pixel(match[1], match[2], size_hw=size_hw)

    def pixel(self, first: str, second: str, *, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Read two numbers in the codec's order; return the pixel (x, y), always in the image.

        Raises:
            ValueError: not numbers of this codec, or out of its range.

        >>> build_codec("zero_to_1000").pixel("1000", "0", size_hw=(480, 640))
        (639, 0)
        """
        names = ("x", "y") if self.order == "xy" else ("column", "row")
        texts = (first, second) if self.order == "xy" else (second, first)
        lengths, resized_wh = size_hw[::-1], self.resize(size_hw)[::-1]
        pixels = []
        for name, number, length, resized in zip(names, texts, lengths, resized_wh, strict=True):
            value = self._scale.parse(number)
            end = self._scale.end(resized=resized)
            if not 0 <= value < end:
                raise ValueError(
                    f"{name} is {number}, expected {self._scale.render(0)} to "
                    f"{self._scale.render(end - 1)}"
                )
            pixels.append(self._scale.decode(value, length=length, resized=resized))
        return pixels[0], pixels[1]


@dataclass(frozen=True)
class CodecEntry:
    """A codec in the registry.

    Attributes:
        summary: one line for the help.
        build: makes the scale from the number of decimals.
    """

    summary: str
    build: Callable[[int], Scale]


def _decimal(digits: int) -> Scale:
    return DecimalBins(10**digits, "as fractions of the image's width and height", digits)


def _thousandths(digits: int) -> Scale:
    return Bins(1000, "as whole thousandths of the image's width and height")


def _thousandths_inclusive(digits: int) -> Scale:
    return Inclusive(999, "from 0 to 999 across the image's width and height")


def _thousand_inclusive(digits: int) -> Scale:
    return Edges(1000, "from 0 to 1000 across the image's width and height")


def _decimal_inclusive(digits: int) -> Scale:
    return DecimalEdges(10**digits, "from 0 to 1 across the image's width and height", digits)


def _pixels(digits: int) -> Scale:
    return Bins(None, "in pixels")


CODECS: Mapping[str, CodecEntry] = {
    "decimal": CodecEntry("fractions in [0, 1), three decimals by default", _decimal),
    "thousandths": CodecEntry("whole numbers in [0, 1000), each a thousandth", _thousandths),
    "thousandths_inclusive": CodecEntry(
        "whole numbers from 0 (first pixel) to 999 (last pixel)", _thousandths_inclusive
    ),
    "zero_to_1000": CodecEntry(
        "whole numbers from 0 (near edge) to 1000 (far edge), as Qwen3-VL writes them",
        _thousand_inclusive,
    ),
    "decimal_inclusive": CodecEntry(
        "fractions from 0 (near edge) to 1 (far edge), three decimals by default",
        _decimal_inclusive,
    ),
    "pixels": CodecEntry("pixels of the image as the model's processor resizes it", _pixels),
}


def build_codec(
    name: str, *, order: Order = "xy", digits: int = 3, resize: Resize = same_size
) -> CoordinateCodec:
    """Build a codec.

    Args:
        name: a key of `CODECS`.
        order: "xy" or "row_column".
        digits: decimals of the codecs `decimal` and `decimal_inclusive`, 1 to 9.
        resize: the processor's resize, for the codec `pixels`; see `SmartResize`.

    Raises:
        ConfigError: unknown name or order, or digits out of range.
    """
    problems = []
    if name not in CODECS:
        problems.append(
            f"coordinate codec {name!r} is unknown; {did_you_mean(name, CODECS)}"
            f"choose from {', '.join(CODECS)}"
        )
    if order not in ("xy", "row_column"):
        problems.append(f"coordinate order {order!r} is unknown; choose from xy, row_column")
    if not 1 <= digits <= 9:
        problems.append(f"coordinates need 1 to 9 decimals, got {digits}")
    if problems:
        raise ConfigError(problems)
    return CoordinateCodec(name, order, resize, CODECS[name].build(digits))
