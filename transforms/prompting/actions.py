"""How a turn is written: the question that a model is asked, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from hlmat.transforms.core.records import Action, Answer, InvalidAction
from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.dialogues.segagent import SegAgent
from hlmat.transforms.prompting.options import DEFAULT_COLOUR
from hlmat.transforms.prompting.templates import PromptTemplate, next_click_prompt


@dataclass(frozen=True)
class TurnFormat:
    """How a turn is written: the question that a model is asked, and its answer.

    Attributes:
        codec: how coordinates are written.
        prompt: the template of the question.
        colour: the colour of the mask in the images, as the prompt names it.
        with_score: the answer begins with the IoU of the mask shown.
        with_finish: `Finish` is among the actions.
        with_no_object: so is `NoObject`.
        with_undo: so is `Undo`.
        with_box: so is a box beside the clicks.
        asks_box: the question is for a box.
        dialogue: the form of questions and answers.
    """

    codec: CoordinateCodec
    prompt: PromptTemplate = field(default_factory=next_click_prompt)
    colour: str = DEFAULT_COLOUR
    with_score: bool = False
    with_finish: bool = False
    with_no_object: bool = False
    with_undo: bool = False
    with_box: bool = False
    asks_box: bool = False
    dialogue: Dialogue = field(default_factory=SegAgent)

    @property
    def offer(self) -> Offer:
        """What an answer may say."""
        return Offer(
            finish=self.with_finish,
            no_object=self.with_no_object,
            box=self.asks_box,
            undo=self.with_undo,
            add_box=self.with_box,
        )

    @property
    def system(self) -> str:
        """The system message; "" for none."""
        return self.dialogue.system(self.offer)

    @property
    def functions(self) -> str:
        """The functions that the model may call, as a JSON list; "" for none."""
        return self.dialogue.functions(self.offer)

    def question(self, expression: str) -> str:
        """Return what the model is asked about an expression."""
        return self.prompt.render(
            expression=expression, colour=self.colour, coordinates=self.codec.description
        )

    def answer(self, action: Action, *, size_hw: tuple[int, int], iou: float | None = None) -> str:
        """Return the text that the model should write.

        Args:
            action: what to do.
            size_hw: (height, width) of the image.
            iou: IoU of the mask shown, in [0, 1]; written only where answers carry a score.

        Raises:
            ValueError: the action is not among those offered, the IoU is missing, or the dialogue
                has no form for them.
        """
        if (problem := self.offer.problem_of(action)) is not None:
            raise ValueError(problem)
        if self.with_score and iou is None:
            raise ValueError("this conversation scores the mask shown, so its answers need the IoU")
        return self.dialogue.write(
            action, size_hw=size_hw, codec=self.codec, iou=iou if self.with_score else None
        )

    def read(self, text: str, *, size_hw: tuple[int, int]) -> Answer:
        """Parse an answer; never raises. An action that is not offered is invalid."""
        parsed = self.dialogue.read(text, size_hw=size_hw, codec=self.codec)
        if isinstance(parsed.action, InvalidAction):
            return parsed
        problem = self.offer.problem_of(parsed.action)
        if problem is None:
            return parsed
        return Answer(text, InvalidAction(text, problem), parsed.predicted_iou)
