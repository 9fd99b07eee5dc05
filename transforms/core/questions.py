"""What a model is asked, and who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from hlmat.transforms.core.protocols import Image


@dataclass(frozen=True)
class Question:
    """What a model is asked about one state.

    Attributes:
        target_id: of the target.
        turn: how many questions the target has had before this one.
        image: what the model is shown: the image under the current mask. uint8 RGB, (H, W, 3).
        text: the question, with one ``<image>`` where the image belongs.
        draw: 0 for the answer that the answerer's own settings give; 1, 2, ... for further draws.
        temperature: of a further draw.
        system: the system message; "" for none.
        functions: what the model may call, a JSON list as in `tools` of a chat completion; "" for
            nothing.
        keeps_reasoning: whether what a server sets apart as reasoning belongs to the answer.
    """

    target_id: str
    turn: int
    image: Image
    text: str
    draw: int = 0
    temperature: float = 0.0
    system: str = ""
    functions: str = ""
    keeps_reasoning: bool = False


class Answerer(Protocol):
    """Writes answers: a local model, a server, or a replay of recorded answers."""

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return one text per question, in order; an `AnswerText` for one with a flaw.

        Raises:
            AnswerError: the model cannot answer; nothing was recorded, so the same questions can
                be asked again.
        """
        ...

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what determines the answers, for the run's fingerprint."""
        ...


@runtime_checkable
class SeesSize(Protocol):
    """An `Answerer` that knows at which size its model sees an image."""

    def seen_size(self, size_hw: tuple[int, int]) -> tuple[int, int] | None:
        """Return the (height, width) at which an image of (height, width) is seen.

        None where it is not known.
        """
        ...


class AnswerText(str):
    """A model's text, and what kept it from being a complete answer if that is known.

    Attributes:
        flaw: such as a cut-off; None for a complete text. Reported as the cause if no action can be
            read.

    >>> text = AnswerText("Positive po", flaw="cut off after 4 tokens")
    >>> text, text.flaw
    ('Positive po', 'cut off after 4 tokens')
    """

    __slots__ = ("flaw",)

    flaw: str | None

    def __new__(cls, text: str, *, flaw: str | None = None) -> AnswerText:
        made = super().__new__(cls, text)
        made.flaw = flaw
        return made
