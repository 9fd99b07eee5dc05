"""Pixels as the numbers a model writes, and back: one registry of codecs with exact inverses.

Everything is integer arithmetic. For every codec, encoding a decoded pair gives the same pair
again; where the codec is at least as fine as the image, decoding an encoded pixel gives the same
pixel again. A decoded pixel is always inside the image.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

Order = Literal["xy", "row_column"]
Resize = Callable[[tuple[int, int]], tuple[int, int]]
"""Returns the (height, width) to which a processor resizes an image of (height, width)."""

_PAIR = re.compile(r"\(([^(),]+), ?([^(),]+)\)")
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_DECIMAL = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,18}))?")


@dataclass(frozen=True)
class SmartResize:
    """The resize of the Qwen2-VL family's processors; call it with (height, width).

    Both sides become multiples of `factor` and the area stays within bounds, with the aspect kept
    as nearly as that allows. Qwen2-VL and Qwen2.5-VL have a factor of 28, Qwen3-VL of 32.

    Attributes:
        factor: what both sides are multiples of.
        min_pixels: images with a smaller area are enlarged.
        max_pixels: images with a larger area are reduced.

    >>> SmartResize()((480, 640))
    (476, 644)
    """

    factor: int = 28
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280

    def __call__(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the resized (height, width). Raises ValueError beyond an aspect of 200."""
        height, width = size_hw
        aspect = max(size_hw) / min(size_hw)
        if aspect > 200:
            raise ValueError(
                f"an image of {width} x {height} pixels has an aspect ratio of {aspect:.0f}; the "
                "processor takes 200 at most, so leave it out or crop it"
            )
        # Python rounds halves to even here, as the processor does.
        near = [round(side / self.factor) * self.factor for side in size_hw]
        if near[0] * near[1] > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            near = [
                max(self.factor, math.floor(side / shrink / self.factor) * self.factor)
                for side in size_hw
            ]
        elif near[0] * near[1] < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            near = [math.ceil(side * grow / self.factor) * self.factor for side in size_hw]
        return near[0], near[1]


def same_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size unchanged: the model sees the image's own pixels."""
    return size_hw


RESIZES: Mapping[str, Resize] = {
    "none": same_size,
    "qwen2-vl": SmartResize(factor=28),
    "qwen3-vl": SmartResize(factor=32),
}
"""What the processor of a model family does to an image, for the codec "pixels"."""


class _Scale(ABC):
    """How one axis is numbered. Sizes and pixels are in pixels, `value` is what is written."""

    description: str

    @abstractmethod
    def encode(self, pixel: int, *, length: int, resized: int) -> int:
        """Return the value of a pixel."""

    @abstractmethod
    def decode(self, value: int, *, length: int, resized: int) -> int:
        """Return a pixel of the value."""

    @abstractmethod
    def end(self, *, resized: int) -> int:
        """Return the first value that is too great."""

    def render(self, value: int) -> str:
        return str(value)

    def parse(self, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"{text!r} is not a whole number")
        # "-0" must not count as zero.
        return min(int(text), -1) if text[0] == "-" else int(text)


@dataclass(frozen=True)
class _Bins(_Scale):
    """Divides an axis into equal bins: a pixel maps to the bin of its centre, a bin to the pixel of
    its centre.

    Attributes:
        count: number of bins; None takes one for each pixel of the resized image.
    """

    count: int | None
    description: str

    def encode(self, pixel: int, *, length: int, resized: int) -> int:
        return (2 * pixel + 1) * self.end(resized=resized) // (2 * length)

    def decode(self, value: int, *, length: int, resized: int) -> int:
        return (2 * value + 1) * length // (2 * self.end(resized=resized))

    def end(self, *, resized: int) -> int:
        return resized if self.count is None else self.count


@dataclass(frozen=True)
class _DecimalBins(_Bins):
    """Bins written as decimal fractions of the axis.

    Attributes:
        digits: decimals written; there are 10 ** digits bins.
    """

    digits: int

    def render(self, value: int) -> str:
        return f"0.{value:0{self.digits}d}"

    def parse(self, text: str) -> int:
        return _decimal_value(text, self.digits)


@dataclass(frozen=True)
class _Inclusive(_Scale):
    """Numbers an axis from 0 at its first pixel to `last` at its last one.

    Attributes:
        last: the number of the last pixel.
    """

    last: int
    description: str

    def encode(self, pixel: int, *, length: int, resized: int) -> int:
        gaps = max(length - 1, 1)
        return (2 * pixel * self.last + gaps) // (2 * gaps)

    def decode(self, value: int, *, length: int, resized: int) -> int:
        return (2 * value * (length - 1) + self.last) // (2 * self.last)

    def end(self, *, resized: int) -> int:
        return self.last + 1


@dataclass(frozen=True)
class _Edges(_Scale):
    """Numbers an axis from 0 at its near edge to `last` at its far edge.

    A pixel is written as the number nearest to its centre, the smaller one of two; a number on the
    border of two pixels is the pixel after it, and the far edge the last pixel.

    Attributes:
        last: the number of the far edge.
    """

    last: int
    description: str

    def encode(self, pixel: int, *, length: int, resized: int) -> int:
        return -((length - (2 * pixel + 1) * self.last) // (2 * length))

    def decode(self, value: int, *, length: int, resized: int) -> int:
        return min(value * length // self.last, length - 1)

    def end(self, *, resized: int) -> int:
        return self.last + 1


@dataclass(frozen=True)
class _DecimalEdges(_Edges):
    """The same with decimal fractions, 1 at the far edge.

    Attributes:
        digits: decimals written; `last` is 10 ** digits.
    """

    digits: int

    def render(self, value: int) -> str:
        whole, fraction = divmod(value, self.last)
        return f"{whole}.{fraction:0{self.digits}d}"

    def parse(self, text: str) -> int:
        value = _decimal_value(text, self.digits)
        # "1.0009" must not count as the far edge.
        beyond = value == self.last and text.partition(".")[2].strip("0") != ""
        return value + beyond


def _decimal_value(text: str, digits: int) -> int:
    """Read a decimal number in units of its last digit; further digits are cut off."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a decimal number")
    sign, whole, fraction = match[1], match[2], match[3] or ""
    value = int(whole + (fraction + "0" * digits)[:digits])
    # "-0.0004" must not count as zero.
    return -max(value, 1) if sign else value


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
    _scale: _Scale

    def identity(self) -> str:
        """Return what determines how pixels are written, apart from the resize."""
        return f"{self.name} {self.order} {self._scale!r}"

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
    build: Callable[[int], _Scale]


def _decimal(digits: int) -> _Scale:
    return _DecimalBins(10**digits, "as fractions of the image's width and height", digits)


def _thousandths(digits: int) -> _Scale:
    return _Bins(1000, "as whole thousandths of the image's width and height")


def _thousandths_inclusive(digits: int) -> _Scale:
    return _Inclusive(999, "from 0 to 999 across the image's width and height")


def _thousand_inclusive(digits: int) -> _Scale:
    return _Edges(1000, "from 0 to 1000 across the image's width and height")


def _decimal_inclusive(digits: int) -> _Scale:
    return _DecimalEdges(10**digits, "from 0 to 1 across the image's width and height", digits)


def _pixels(digits: int) -> _Scale:
    return _Bins(None, "in pixels")


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
