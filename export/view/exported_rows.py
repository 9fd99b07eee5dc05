"""The rows of an export as its page shows them: texts, and images by their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hlmat.transforms.core.protocols import Image

_SHORT = 300


@dataclass(frozen=True)
class RowSummary:
    """What the grid shows of a row.

    Attributes:
        target_id: "" if the row names none.
        question: the first question, shortened.
        answer: the last answer, shortened; "" if the row has none.
        images: how many the row has.
    """

    target_id: str
    question: str
    answer: str
    images: int


class ExportedRows(Protocol):
    """The rows of an export, by number from 0."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def row(self, number: int) -> Mapping[str, Any]:
        """Return a row as JSON values: `messages`, the number of `images`, further columns.

        Raises:
            DataError: it cannot be read.
        """
        ...

    def summaries(self, first: int, count: int) -> Sequence[RowSummary]:
        """Return what the grid shows of some rows; fewer at the end. Raises DataError."""
        ...

    def image(self, number: int, place: int) -> Image | None:
        """Return an image of a row; None if there is no such image.

        Raises:
            TargetError: it cannot be read.
            DataError: the row cannot be read.
        """
        ...


def summary(
    target_id: str, messages: Sequence[Mapping[str, str]], *, answer: str = "", images: int
) -> RowSummary:
    """Return the summary of a row.

    Args:
        messages: with `role` and `content`.
        answer: that is not one of the messages.
    """
    contents = [message["content"] for message in messages]
    asked = next((m["content"] for m in messages if m["role"] == "user"), (contents or [""])[0])
    last = contents[-1] if len(contents) > 1 and messages[-1]["role"] != "user" else ""
    question = " ".join(asked.replace("<image>", "").split())
    return RowSummary(target_id, question[:_SHORT], (answer or last)[:_SHORT], images)
