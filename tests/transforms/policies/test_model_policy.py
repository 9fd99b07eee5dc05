"""A model as policy: its questions, the images it is shown, and how its answers are parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

import builders
from hlmat.transforms.core.errors import AnswerError, ConfigError
from hlmat.transforms.core.protocols import SamplingPolicy, State
from hlmat.transforms.core.questions import Question
from hlmat.transforms.core.records import Answer, Box, Click, Finish, InvalidAction
from hlmat.transforms.policies.model_policy import Conversation, ModelPolicy, check_frame
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.resizes import SmartResize
from hlmat.transforms.prompting.templates import PromptTemplate

SIZE_HW = (100, 200)


class ScriptedAnswerer:
    """Gives texts in order and keeps the questions."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.questions: list[Question] = []

    def answer(self, questions: Sequence[Question]) -> list[str]:
        self.questions += questions
        return self.texts

    def identity(self) -> Mapping[str, str]:
        return {}


def make_state(target_id: str, *, clicks: tuple[Click, ...] = ()) -> State:
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[:50] = bool(clicks)
    truth = np.ones(SIZE_HW, np.bool_)
    image = np.full((*SIZE_HW, 3), 100, np.uint8)
    return builders.state(
        truth, target_id, f"the {target_id}", image=image, mask=mask, clicks=clicks
    )


def build_policy(
    answerer: ScriptedAnswerer, *, draws_boxes: bool = False, max_side: int | None = None
) -> ModelPolicy:
    conversation = Conversation(
        TurnFormat(
            build_codec("pixels"), prompt=PromptTemplate("<image>{expression}?"), with_finish=True
        ),
        StateView(max_side=max_side),
        PromptTemplate("<image>box of {expression}?"),
    )
    return ModelPolicy(
        name="mllm", conversation=conversation, answerer=answerer, draws_boxes=draws_boxes
    )


def test_each_state_is_a_question_and_each_text_an_action() -> None:
    click = Click(3, 4, True)
    answerer = ScriptedAnswerer(["Positive point: (150, 20)", "Finish", "Positive point: (200, 0)"])
    states = [make_state("cup"), make_state("pot", clicks=(click,)), make_state("lid")]
    actions = build_policy(answerer).next_actions(states)
    assert actions[:2] == [
        Answer("Positive point: (150, 20)", Click(150, 20, True)),
        Answer("Finish", Finish()),
    ]
    invalid = actions[2]
    assert isinstance(invalid, Answer)
    assert isinstance(invalid.action, InvalidAction)
    first, second, _ = answerer.questions
    assert (first.target_id, first.turn, first.text) == ("cup", 0, "<image>the cup?")
    assert (second.target_id, second.turn) == ("pot", 1)
    assert (first.image == 100).all()
    # Half green over the mask: 50 % of (0, 255, 0).
    assert second.image[0, 0].tolist() == [50, 178, 50]
    assert second.image[99, 0].tolist() == [100, 100, 100]


def test_points_are_read_in_the_reduced_image_that_was_shown() -> None:
    answerer = ScriptedAnswerer(["Positive point: (99, 0)"])
    (answer,) = build_policy(answerer, max_side=100).next_actions([make_state("cup")])
    assert answerer.questions[0].image.shape == (50, 100, 3)
    assert isinstance(answer, Answer)
    assert answer.action == Click(199, 1, True)


def test_the_box_is_the_first_question_where_boxes_are_drawn() -> None:
    answerer = ScriptedAnswerer(["Box: (10, 20), (59, 39)"])
    policy = build_policy(answerer, draws_boxes=True)
    assert [a.action for a in policy.initial_boxes([make_state("cup")])] == [Box(10, 20, 60, 40)]
    policy.next_actions([make_state("cup")])
    assert [(q.turn, q.text) for q in answerer.questions] == [
        (0, "<image>box of the cup?"),
        (1, "<image>the cup?"),
    ]


def test_an_answer_too_few_is_reported() -> None:
    with pytest.raises(AnswerError, match="ScriptedAnswerer gave 1 answers to 2 questions"):
        build_policy(ScriptedAnswerer(["Finish"])).next_actions([make_state("a"), make_state("b")])


def test_a_search_gets_several_draws_of_each_state() -> None:
    texts = [f"Positive point: ({x}, 0)" for x in range(4)]
    answerer = ScriptedAnswerer(texts)
    states = [make_state("cup"), make_state("pot", clicks=(Click(3, 4, True),))]
    policy = build_policy(answerer)
    assert isinstance(policy, SamplingPolicy)
    drawn = policy.sample_actions(states, count=2, temperature=0.7)
    assert [[a.action for a in actions if isinstance(a, Answer)] for actions in drawn] == [
        [Click(0, 0, True), Click(1, 0, True)],
        [Click(2, 0, True), Click(3, 0, True)],
    ]
    assert [(q.target_id, q.turn, q.draw, q.temperature) for q in answerer.questions] == [
        ("cup", 0, 1, 0.7),
        ("cup", 0, 2, 0.7),
        ("pot", 1, 1, 0.7),
        ("pot", 1, 2, 0.7),
    ]


class ShrinkingAnswerer(ScriptedAnswerer):
    """Sees images through a processor that keeps them below an area."""

    def seen_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        return SmartResize(max_pixels=512 * 28 * 28)(size_hw)


def conversation_in(codec: str, *, max_pixels: int | None = None) -> Conversation:
    return Conversation(
        TurnFormat(build_codec(codec, resize=SmartResize())), StateView(max_pixels=max_pixels)
    )


def test_pixels_of_another_size_than_the_model_s_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        check_frame(conversation_in("pixels"), ShrinkingAnswerer([]))
    assert caught.value.problems == (
        "the model's processor sees an image of 2000 x 1500 at 728 x 532, but codec pixels counts "
        "in 1148 x 840; give --processor of the model's family and --max-pixels within its "
        "processor's limits, or a relative codec such as decimal",
    )


class SilentAnswerer(ScriptedAnswerer):
    """Loads a processor that tells no size."""

    def seen_size(self, size_hw: tuple[int, int]) -> None:
        return None


def test_pixels_of_an_unknown_size_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"does not tell at which size .* 644 x 476 for one of"):
        check_frame(conversation_in("pixels"), SilentAnswerer([]))
    check_frame(conversation_in("decimal"), SilentAnswerer([]))


def test_images_within_the_model_s_limits_and_relative_codecs_are_accepted() -> None:
    check_frame(conversation_in("pixels", max_pixels=500 * 28 * 28), ShrinkingAnswerer([]))
    check_frame(conversation_in("decimal"), ShrinkingAnswerer([]))
    check_frame(conversation_in("pixels"), ScriptedAnswerer([]))
