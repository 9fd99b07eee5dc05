"""The numbers along one axis of an image: whole numbers or decimals, of bins, pixels or edges.

Everything is integer arithmetic. Methods take sizes and pixels in pixels; a value is what is
written, in units of its last digit.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

_INTEGER = re.compile(r"-?[0-9]{1,9}")
_DECIMAL = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]{1,18}))?")


class Scale(ABC):
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
        """Return the value as it is written."""
        return str(value)

    def parse(self, text: str) -> int:
        """Read a value, which may be out of range. Raises ValueError for anything else."""
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"{text!r} is not a whole number")
        # "-0" must not count as zero.
        return min(int(text), -1) if text[0] == "-" else int(text)


@dataclass(frozen=True)
class Bins(Scale):
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
class DecimalBins(Bins):
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
class Inclusive(Scale):
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
class Edges(Scale):
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
class DecimalEdges(Edges):
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
