"""What a click log says: its clicks, and the rows that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RowReason(StrEnum):
    """Why a row of a click log was rejected."""

    MALFORMED_ROW = "malformed_row"
    UNKNOWN_TARGET = "unknown_target"
    AMBIGUOUS_TARGET = "ambiguous_target"
    UNUSABLE_MASK = "unusable_mask"
    NO_PREVIOUS_MASK = "no_previous_mask"
    OUTSIDE_IMAGE = "outside_image"
    OUTSIDE_ERROR = "outside_error"
    WRONG_LABEL = "wrong_label"


@dataclass(frozen=True)
class LoggedClick:
    """A click as logged.

    Attributes:
        line: of the file, from 1; the header is line 1.
        x, y: in pixels from the left and upper edge, not rounded.
        is_positive: whether the person said "this belongs to the object".
        click: its number on the target, from 1.
        target: a target id of the data set, or a mask's path; see `is_mask`.
        is_mask: whether `target` is the path of the object's mask.
        image: a label of the image; "" to take that of the target.
        previous_mask: the path of the mask that the person saw; "" for an empty one.
        size_wh: width and height of the image that the coordinates refer to; None for that of the
            mask.
    """

    line: int
    x: float
    y: float
    is_positive: bool
    click: int
    target: str
    is_mask: bool = False
    image: str = ""
    previous_mask: str = ""
    size_wh: tuple[float, float] | None = None


@dataclass(frozen=True)
class RejectedRow:
    """A row of a click log that cannot be used.

    Attributes:
        line: of the file, from 1.
        reason: the kind of problem.
        message: what is wrong with which value.
    """

    line: int
    reason: RowReason
    message: str

    def as_dict(self) -> dict[str, str | int]:
        """Return plain JSON values."""
        return {"line": self.line, "reason": str(self.reason), "message": self.message}


@dataclass(frozen=True)
class ClickLog:
    """The content of a click log, in its order.

    Attributes:
        clicks: those that can be used as far as the file alone tells.
        rejects: the other rows.
        skipped: rows about other data sets.
    """

    clicks: tuple[LoggedClick, ...]
    rejects: tuple[RejectedRow, ...]
    skipped: int = 0
