"""Reading undoes writing; whatever is not exactly an action is invalid, never a finish."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hlmat.transforms.core.records import (
    Action,
    Answer,
    Box,
    Click,
    Finish,
    InvalidAction,
    NoObject,
    StopReason,
)
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import CODECS, CoordinateCodec, build_codec
from hlmat.transforms.prompting.dialogues.segagent import parse_action, render_action
from hlmat.transforms.prompting.resizes import SmartResize
from hlmat.transforms.prompting.templates import PromptTemplate

CODEC = build_codec("thousandths")
SIZE = (480, 640)

any_codec = st.sampled_from(
    [build_codec(n, order=o, resize=SmartResize()) for n in CODECS for o in ("xy", "row_column")]
)


@st.composite
def actions(draw: st.DrawFn, size_hw: tuple[int, int]) -> Action:
    height, width = size_hw
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    kind = draw(st.sampled_from(["click", "box", "finish", "no object"]))
    if kind == "finish":
        return Finish()
    if kind == "no object":
        return NoObject()
    if kind == "click":
        return Click(x, y, draw(st.booleans()))
    return Box(x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height)))


@given(
    st.sampled_from([name for name in CODECS if name != "pixels"]),
    actions(SIZE),
    st.none() | st.floats(0, 1),
)
def test_reading_undoes_writing(name: str, action: Action, iou: float | None) -> None:
    codec = build_codec(name)
    text = render_action(action, size_hw=SIZE, codec=codec, iou=iou)
    parsed = parse_action(text, size_hw=SIZE, codec=codec)
    assert parsed.action == action
    if iou is None:
        assert parsed.predicted_iou is None
    else:
        assert parsed.predicted_iou == pytest.approx(iou, abs=0.00051)


@given(any_codec, actions((2100, 3000)))
def test_writing_undoes_reading_where_the_image_is_finer(
    codec: CoordinateCodec, action: Action
) -> None:
    size_hw = (2100, 3000)
    text = render_action(action, size_hw=size_hw, codec=codec)
    parsed = parse_action(text, size_hw=size_hw, codec=codec)
    assert not isinstance(parsed.action, InvalidAction)
    assert render_action(parsed.action, size_hw=size_hw, codec=codec) == text


words = ["Positive point: ", "Negative point: ", "Box: ", "Finish", "Current IOU: ", "85.2", ", "]
numbers = ["(1, 2)", "(500, 1000)", "(", ")", "0.5", "-1", " ", "\n", "nan", "1e9", "٣"]
fragments = st.lists(st.sampled_from(words) | st.sampled_from(numbers)).map("".join)


@given(st.text() | fragments, any_codec)
@example("(" * 5000, CODEC)
@example("Positive point: (" + "9" * 5000 + ", 1)", CODEC)
def test_no_text_makes_reading_fail(text: str, codec: CoordinateCodec) -> None:
    parsed = parse_action(text, size_hw=SIZE, codec=codec)
    if isinstance(parsed.action, InvalidAction):
        assert parsed.action.text == text
        assert parsed.action.problem
    elif isinstance(parsed.action, Click):
        assert 0 <= parsed.action.x < 640
        assert 0 <= parsed.action.y < 480
    elif isinstance(parsed.action, Finish):
        assert text.strip().endswith("Finish")


@pytest.mark.parametrize(
    ("action", "iou", "text"),
    [
        (Click(320, 120, True), None, "Positive point: (500, 251)"),
        (Click(0, 479, False), None, "Negative point: (0, 998)"),
        (Click(0, 0, False), 0.852, "Current IOU: 85.2, Negative point: (0, 1)"),
        (Box(0, 0, 640, 480), None, "Box: (0, 1), (999, 998)"),
        (Finish(StopReason.NO_ERROR_LEFT), None, "Finish"),
        (Finish(), 1.0, "Current IOU: 100.0, Finish"),
        (NoObject(), None, "No object"),
    ],
)
def test_actions_have_the_texts_of_the_task(action: Action, iou: float | None, text: str) -> None:
    assert render_action(action, size_hw=SIZE, codec=CODEC, iou=iou) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not an action: expected a point, a box or Finish"),
        ("finish", "not an action"),
        ("Finish!", "not an action"),
        ("The answer: **Finish**", "not an action"),
        ("<think>Finish", "reasoning without an end: expected </think> and the answer"),
        ("<think>Finish</think>", "not an action"),
        ("```\nFinish", "not an action"),
        ("Finish Finish", "not an action"),
        ("I would Finish", "not an action"),
        ("Positive point: (1, 2) because", "not an action"),
        ("Positive point: (1, 2), Negative point: (3, 4)", "not an action"),
        ("Positive point: (1, 2)\nPositive point: (1, 2)", "not an action"),
        ("positive point: (1, 2)", "not an action"),
        ("Positive point: 1, 2", "not an action"),
        ("Positive point: (1000, 2)", "x is 1000, expected 0 to 999"),
        ("Positive point: (a, 2)", "'a' is not a whole number"),
        ("Positive point: (1,  2)", "' 2' is not a whole number"),
        ("Box: (5, 5), (1, 9)", "a box needs x0 < x1"),
        ("Current IOU: 85.2", "not an action"),
        ("Current IOU: high, Finish", "not an action"),
        ("Current IOU: 100.1, Finish", "the IoU is 100.1, expected 0 to 100 percent"),
        ("Current IOU: 1, Current IOU: 1, Finish", "not an action"),
    ],
)
def test_anything_else_is_invalid_and_kept(text: str, problem: str) -> None:
    action = parse_action(text, size_hw=SIZE, codec=CODEC).action
    assert isinstance(action, InvalidAction)
    assert action.text == text
    assert action.problem.startswith(problem)


def test_a_score_survives_an_invalid_action() -> None:
    parsed = parse_action("Current IOU: 50.0, hm", size_hw=SIZE, codec=CODEC)
    assert isinstance(parsed.action, InvalidAction)
    assert parsed.predicted_iou == 0.5


def test_white_space_around_an_answer_is_allowed() -> None:
    assert parse_action(" Finish\n", size_hw=SIZE, codec=CODEC) == Answer(" Finish\n", Finish())


def test_an_iou_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an IoU must be in \[0, 1\], got 85.2"):
        render_action(Finish(), size_hw=SIZE, codec=CODEC, iou=85.2)


def test_a_turn_format_asks_writes_and_reads() -> None:
    turn_format = TurnFormat(
        CODEC, PromptTemplate("<image>{expression}, {colour}, {coordinates}"), colour="red"
    )
    assert turn_format.question("a cat") == (
        "<image>a cat, red, (x, y) as whole thousandths of the image's width and height"
    )
    click = Click(320, 120, True)
    text = turn_format.answer(click, size_hw=SIZE, iou=0.5)
    assert text == "Positive point: (500, 251)"
    assert turn_format.read(text, size_hw=SIZE) == Answer(text, click)


def test_a_turn_format_with_scores_needs_them() -> None:
    turn_format = TurnFormat(CODEC, with_score=True)
    text = turn_format.answer(Click(0, 0, True), size_hw=SIZE, iou=0.5)
    assert text.startswith("Current IOU: 50.0, ")
    with pytest.raises(ValueError, match="answers need the IoU"):
        turn_format.answer(Click(0, 0, True), size_hw=SIZE)


def test_finish_counts_only_where_it_is_an_action() -> None:
    without = TurnFormat(CODEC)
    parsed = without.read("Current IOU: 98.0, Finish", size_hw=SIZE)
    problem = "Finish is not among the actions of this conversation"
    assert parsed == Answer(
        "Current IOU: 98.0, Finish", InvalidAction("Current IOU: 98.0, Finish", problem), 0.98
    )
    with pytest.raises(ValueError, match=problem):
        without.answer(Finish(), size_hw=SIZE)
    with_finish = TurnFormat(CODEC, with_finish=True)
    assert with_finish.answer(Finish(), size_hw=SIZE) == "Finish"
    assert with_finish.read("Finish", size_hw=SIZE).action == Finish()


def test_no_object_is_another_answer_than_finish() -> None:
    problem = "no object is not among the answers of this conversation"
    without = TurnFormat(CODEC, with_finish=True)
    assert without.read("No object", size_hw=SIZE).action == InvalidAction("No object", problem)
    with pytest.raises(ValueError, match=problem):
        without.answer(NoObject(), size_hw=SIZE)
    offered = TurnFormat(CODEC, with_no_object=True)
    assert offered.answer(NoObject(), size_hw=SIZE) == "No object"
    assert offered.read("No object.", size_hw=SIZE).action == NoObject()
    assert isinstance(offered.read("Finish", size_hw=SIZE).action, InvalidAction)
