"""A policy that shows a model each state, asks for a click and parses the answer strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.protocols import PolicyAction, State
from hlmat.transforms.core.questions import Answerer, AnswerText, Question, SeesSize
from hlmat.transforms.core.records import Answer, Click, InvalidAction
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.templates import PromptTemplate, first_box_prompt


@dataclass(frozen=True)
class Conversation:
    """How states become questions and texts become actions.

    Attributes:
        turn_format: question and answer for a click.
        view: how states are drawn; its colour is the one that `turn_format` names.
        box_prompt: the question for the box that a trajectory may begin with.
    """

    turn_format: TurnFormat
    view: StateView = field(default_factory=StateView)
    box_prompt: PromptTemplate = field(default_factory=first_box_prompt)


_PROBED_HW = ((480, 640), (64, 96), (1500, 2000), (333, 500))


def check_frame(conversation: Conversation, answerer: Answerer) -> None:
    """Refuse pixel coordinates for image sizes other than those that the model sees.

    Args:
        conversation: its codec `pixels` counts the processor's pixels; others are relative.
        answerer: gives the size if it knows it (`SeesSize`); a server does not.

    Raises:
        ConfigError: the sizes differ for one of a few probed images.
    """
    codec, view = conversation.turn_format.codec, conversation.view
    if codec.name != "pixels" or not isinstance(answerer, SeesSize):
        return
    for size_hw in _PROBED_HW:
        drawn = view.reduced(size_hw)
        expected, seen = codec.resize(drawn), answerer.seen_size(drawn)
        if seen is None:
            raise ConfigError(
                [
                    "the model's processor does not tell at which size the model sees an image, "
                    f"but codec pixels counts in {expected[1]} x {expected[0]} for one of "
                    f"{size_hw[1]} x {size_hw[0]}; give a relative codec such as decimal"
                ]
            )
        if seen != expected:
            raise ConfigError(
                [
                    f"the model's processor sees an image of {size_hw[1]} x {size_hw[0]} at "
                    f"{seen[1]} x {seen[0]}, but codec pixels counts in {expected[1]} x "
                    f"{expected[0]}; give --processor of the model's family and --max-pixels "
                    "within its processor's limits, or a relative codec such as decimal"
                ]
            )


class ModelPolicy:
    """Ask an `Answerer` about all states at once; an unreadable answer is an `InvalidAction`.

    Args:
        name: its name on the command line.
        conversation: asks questions and parses answers.
        answerer: writes the answers.
        draws_boxes: whether every trajectory begins with `initial_boxes`, a target's first
            question.
    """

    def __init__(
        self, *, name: str, conversation: Conversation, answerer: Answerer, draws_boxes: bool
    ) -> None:
        self.name = name
        self._view = conversation.view
        self._box_prompt = conversation.box_prompt
        self._answerer = answerer
        self._draws_boxes = draws_boxes
        codec = conversation.view.seen_through(conversation.turn_format.codec)
        self._turn_format = replace(conversation.turn_format, codec=codec)

    @property
    def edits(self) -> frozenset[type]:
        """What the conversation offers beside clicks and ends."""
        return self._turn_format.offer.edits

    def initial_clicks(self, state: State) -> tuple[Click, ...]:
        """Return no initial clicks."""
        return ()

    def initial_boxes(self, states: Sequence[State]) -> list[Answer]:
        """Ask for a box for each target; returns one answer per state, in order.

        Raises:
            AnswerError: the model cannot answer.
        """
        asking = replace(self._turn_format, prompt=self._box_prompt, asks_box=True)
        return self._answers(self._questions(states, asking), states)

    def next_actions(self, states: Sequence[State]) -> list[PolicyAction]:
        """Ask for the next click of each state; returns one action per state, in order.

        Raises:
            AnswerError: the model cannot answer.
        """
        questions = self._questions(states, self._turn_format, turns_before=int(self._draws_boxes))
        return [*self._answers(questions, states)]

    def sample_actions(
        self, states: Sequence[State], *, count: int, temperature: float
    ) -> list[list[PolicyAction]]:
        """Sample `count` answers for each state at a temperature.

        Raises:
            AnswerError: the model cannot answer.
        """
        questions = [
            replace(question, draw=draw, temperature=temperature)
            for question in self._questions(
                states, self._turn_format, turns_before=int(self._draws_boxes)
            )
            for draw in range(1, count + 1)
        ]
        repeated = [state for state in states for _ in range(count)]
        answers = self._answers(questions, repeated)
        return [[*answers[i : i + count]] for i in range(0, len(answers), count)]

    def _questions(
        self, states: Sequence[State], asking: TurnFormat, *, turns_before: int = 0
    ) -> list[Question]:
        return [
            Question(
                target_id=state.target.ref.target_id,
                turn=turns_before + state.turn,
                image=self._view.draw(state.image, state.mask),
                text=asking.question(state.target.ref.expressions[0]),
                system=asking.system,
                functions=asking.functions,
                keeps_reasoning=asking.dialogue.keeps_reasoning,
            )
            for state in states
        ]

    def _answers(self, questions: Sequence[Question], states: Sequence[State]) -> list[Answer]:
        """Ask, and parse each text for the image of its state."""
        texts = self._answerer.answer(questions)
        if len(texts) != len(states):
            raise AnswerError(
                f"{type(self._answerer).__name__} gave {len(texts)} answers to {len(states)} "
                "questions: expected one per question, in order"
            )
        return [
            _with_cause(self._turn_format.read(str(text), size_hw=state.target.size_hw), text)
            for text, state in zip(texts, states, strict=True)
        ]


def _with_cause(answer: Answer, text: str) -> Answer:
    """Use the known reason for a text's end as the cause of an invalid action."""
    flaw = text.flaw if isinstance(text, AnswerText) else None
    if flaw is None or not isinstance(answer.action, InvalidAction):
        return answer
    return replace(answer, action=replace(answer.action, problem=flaw))
