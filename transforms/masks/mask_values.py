"""What the levels of mask images mean: the values of `--mask-values`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

FORM = (
    "object=15, several levels as object=15,16 or object=128-255, colours as object=#C00000, a "
    "void level as object=15,void=255; or classes, or instances, for one target per level"
)
"""The values that `--mask-values` takes, for messages."""

_GREY = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")


class TargetsOf(StrEnum):
    """Which targets a mask image holds."""

    OBJECT = "object"
    CLASSES = "classes"
    INSTANCES = "instances"


@dataclass(frozen=True)
class LevelRange:
    """Levels from `low` to `high`, both included; or one colour, 0xRRGGBB."""

    low: int
    high: int
    is_colour: bool = False

    def __str__(self) -> str:
        if self.is_colour:
            return f"#{self.low:06X}"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class MaskValues:
    """What the levels of a mask image mean.

    Attributes:
        targets: one object of the levels `objects`, or a target per level.
        objects: empty for the only level that is neither background nor `void`.
        void: ignored levels, never part of an error.
        background: levels that are not targets; None for black, grey 0 or index 0.
    """

    targets: TargetsOf = TargetsOf.OBJECT
    objects: tuple[LevelRange, ...] = ()
    void: tuple[LevelRange, ...] = ()
    background: tuple[LevelRange, ...] | None = None

    def __str__(self) -> str:
        parts = [] if self.targets is TargetsOf.OBJECT else [str(self.targets)]
        for key, ranges in (("object", self.objects), ("void", self.void)):
            if ranges:
                parts.append(f"{key}={','.join(map(str, ranges))}")
        if self.background is not None:
            parts.append(f"background={','.join(map(str, self.background)) or 'none'}")
        return ",".join(parts)

    @classmethod
    def parse(cls, text: str) -> MaskValues:
        """Parse a `--mask-values` text; the inverse of `str`.

        Raises:
            ValueError: any other text; the message says what was expected.

        >>> str(MaskValues.parse("void=255, object=#c00000,7"))
        'object=#C00000,7,void=255'
        """
        targets = TargetsOf.OBJECT
        found: dict[str, list[LevelRange]] = {}
        key = ""
        for part in (part.strip() for part in text.split(",")):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if part in (TargetsOf.CLASSES, TargetsOf.INSTANCES) and not found and not key:
                targets = key = TargetsOf(part)
                continue
            if equals:
                key = name
            else:
                value = part
            if key not in ("object", "void", "background"):
                raise ValueError(f"expected {FORM}")
            ranges = found.setdefault(key, [])
            if not (key == "background" and value == "none"):
                ranges.append(_parse_range(value))
        objects, void = (tuple(found.get(name, ())) for name in ("object", "void"))
        if targets is not TargetsOf.OBJECT and objects:
            raise ValueError(f"{targets} makes a target of each level; leave object= out")
        if targets is TargetsOf.OBJECT and "background" in found:
            raise ValueError("background= goes with classes or instances; leave it out")
        if targets is TargetsOf.OBJECT and not found:
            raise ValueError(f"expected {FORM}")
        for first in objects:
            for second in void:
                if first.is_colour == second.is_colour and (
                    first.low <= second.high and second.low <= first.high
                ):
                    raise ValueError(f"{first} is object and void {second} too; take one out")
        background = found.get("background")
        return cls(targets, objects, void, None if background is None else tuple(background))

    def of_level(self, label: str) -> MaskValues:
        """Return the meaning of a single level as a target.

        Args:
            label: of the level, from `list_levels`.
        """
        return MaskValues(objects=(_parse_range(label),), void=self.void)


def checked_mask_values(text: str | None) -> str | None:
    """Return `--mask-values` in its shortest form. Raises ValueError."""
    return None if text is None else str(MaskValues.parse(text))


def _parse_range(text: str) -> LevelRange:
    if colour := _COLOUR.fullmatch(text):
        return LevelRange(int(colour[1], 16), int(colour[1], 16), is_colour=True)
    grey = _GREY.fullmatch(text)
    if grey is None:
        raise ValueError(f"{text!r} is not a level; expected {FORM}")
    low = int(grey[1])
    high = low if grey[2] is None else int(grey[2])
    if low > high:
        raise ValueError(f"{text} ends before it begins; write {high}-{low}")
    return LevelRange(low, high)
