"""What a dialogue is: how a question is put, how an action is written, how an answer is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from hlmat.transforms.core.records import Action, Answer, Box, Click, Finish, NoObject, Undo
from hlmat.transforms.prompting.coordinates import CoordinateCodec


@dataclass(frozen=True)
class Offer:
    """What an answer may say.

    Attributes:
        finish: that nothing is left to do.
        no_object: that the image has no such object.
        box: the answer is a box, not a click.
        undo: the last action is taken back.
        add_box: a box beside the clicks, in answer to the question for a click.
    """

    finish: bool = False
    no_object: bool = False
    box: bool = False
    undo: bool = False
    add_box: bool = False

    @property
    def edits(self) -> frozenset[type]:
        """What is offered beside clicks and ends, as `EditingPolicy.edits`."""
        return frozenset([Undo] * self.undo + [Box] * self.add_box)

    def problem_of(self, action: Action) -> str | None:
        """Return why an action is none of these; None if it is one.

        Where a click is asked for, a box is left to the rollout, which refuses it.
        """
        if isinstance(action, Finish) and not self.finish:
            return "Finish is not among the actions of this conversation"
        if isinstance(action, NoObject) and not self.no_object:
            return "no object is not among the answers of this conversation"
        if isinstance(action, Undo) and not self.undo:
            return "undo is not among the actions of this conversation"
        return None


@dataclass(frozen=True)
class Message:
    """An answer as a row of a training set holds it.

    Attributes:
        role: LLaMA-Factory's name of who says it: `assistant`, or `function_call`.
        content: the text.
    """

    role: str
    content: str


class Dialogue(Protocol):
    """How a model is asked and answers. Inherit from it to write one, and define `prompt`, `write`
    and `read`.

    An instance has no state: it is made without arguments, once for each process.

    Attributes:
        name: on the command line and in records.
        codec: name of the coordinates that its models were trained with.
        digits: decimals of these.
        has_own_codec: whether these hold for a model of any family.
        says: the kinds of actions that it has a form for.
        edits: which of `Undo` and `Box` its question for a click can offer.
        has_score: whether an answer can begin with the IoU of the mask shown.
        keeps_reasoning: whether what a server sets apart as reasoning belongs to the answer.
    """

    name: ClassVar[str]
    codec: ClassVar[str] = "decimal"
    digits: ClassVar[int] = 3
    has_own_codec: ClassVar[bool] = False
    says: ClassVar[frozenset[type]] = frozenset({Click, Finish})
    edits: ClassVar[frozenset[type]] = frozenset()
    has_score: ClassVar[bool] = False
    keeps_reasoning: ClassVar[bool] = False

    def prompt(self, offer: Offer) -> str:
        """Return the template of the question; see `PromptTemplate` for its placeholders."""
        ...

    def write(
        self,
        action: Action,
        *,
        size_hw: tuple[int, int],
        codec: CoordinateCodec,
        iou: float | None = None,
    ) -> str:
        """Write an action; `read` is the inverse.

        Args:
            action: of a kind that the dialogue says.
            size_hw: (height, width) of the image.
            codec: how coordinates are written.
            iou: of the mask shown, in [0, 1]; None without a score.

        Raises:
            ValueError: a kind that the dialogue has no form for, or a point outside the image.
        """
        ...

    def read(self, text: str, *, size_hw: tuple[int, int], codec: CoordinateCodec) -> Answer:
        """Parse an answer, strictly; never raises.

        What is not exactly one action becomes an `InvalidAction` that keeps the text and says why.
        """
        ...

    def system(self, offer: Offer) -> str:
        """Return the system message; "" for none."""
        return ""

    def functions(self, offer: Offer) -> str:
        """Return the functions that a model may call, as a JSON list; "" for none.

        The entries are those of the field `tools` of OpenAI-compatible servers.
        """
        return ""

    def message(self, answer: str) -> Message:
        """Return a written answer as a row of a training set holds it."""
        return Message("assistant", answer)

    def identity(self) -> str:
        """Return what determines texts and actions."""
        return self.name
