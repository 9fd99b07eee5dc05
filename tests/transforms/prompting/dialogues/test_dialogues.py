"""Every dialogue: reading undoes writing, and no text makes reading fail."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import Action, Box, Click, Finish, InvalidAction, NoObject, Undo
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import CODECS, build_codec
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Message, Offer
from hlmat.transforms.prompting.dialogues.registry import DIALOGUES, load_dialogue, prompt_of
from hlmat.transforms.prompting.resizes import SmartResize
from hlmat.transforms.prompting.templates import PLACEHOLDERS

every_dialogue = pytest.mark.parametrize("name", DIALOGUES)
SIZE = (480, 640)


def own_codec(dialogue: Dialogue) -> Any:
    return build_codec(dialogue.codec, digits=dialogue.digits)


@st.composite
def cases(draw: st.DrawFn, says: frozenset[type], max_side: int) -> tuple[Action, tuple[int, int]]:
    """An action within an image, often in a corner."""
    height, width = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    x = draw(st.sampled_from([0, width - 1]) | st.integers(0, width - 1))
    y = draw(st.sampled_from([0, height - 1]) | st.integers(0, height - 1))
    made: dict[type, Action] = {
        Click: Click(x, y, draw(st.booleans())),
        Box: Box(x, y, draw(st.integers(x + 1, width)), draw(st.integers(y + 1, height))),
        Undo: Undo(),
        Finish: Finish(),
        NoObject: NoObject(),
    }
    return made[draw(st.sampled_from(sorted(says, key=str)))], (height, width)


@every_dialogue
@given(data=st.data(), codec_name=st.sampled_from([n for n in CODECS if n != "pixels"]))
def test_reading_undoes_writing_in_any_relative_coordinates(
    name: str, data: st.DataObject, codec_name: str
) -> None:
    dialogue = load_dialogue(name)
    codec = build_codec(codec_name, order=data.draw(st.sampled_from(["xy", "row_column"])))
    action, size_hw = data.draw(cases(dialogue.says, 1000))
    text = dialogue.write(action, size_hw=size_hw, codec=codec)
    assert dialogue.read(text, size_hw=size_hw, codec=codec).action == action


@every_dialogue
@given(data=st.data())
def test_reading_undoes_writing_in_pixels_of_a_larger_size(name: str, data: st.DataObject) -> None:
    dialogue = load_dialogue(name)
    codec = build_codec("pixels", resize=SmartResize(min_pixels=4000 * 4000, max_pixels=10**9))
    action, size_hw = data.draw(cases(dialogue.says, 600))
    if max(size_hw) > 150 * min(size_hw):
        return
    text = dialogue.write(action, size_hw=size_hw, codec=codec)
    assert dialogue.read(text, size_hw=size_hw, codec=codec).action == action


@every_dialogue
@given(data=st.data())
def test_writing_undoes_reading_where_the_image_is_finer(name: str, data: st.DataObject) -> None:
    dialogue = load_dialogue(name)
    codec = build_codec("zero_to_1000")
    action, (height, width) = data.draw(cases(dialogue.says, 1500))
    size_hw = (height + 1000, width + 1000)
    text = dialogue.write(action, size_hw=size_hw, codec=codec)
    read = dialogue.read(text, size_hw=size_hw, codec=codec).action
    assert not isinstance(read, InvalidAction)
    assert dialogue.write(read, size_hw=size_hw, codec=codec) == text


FRAGMENTS = [
    *("<think>", "</think>", "<action>", "</action>", "<answer>", "</answer>", "\n", " ", "."),
    *("<tool_call>", "</tool_call>", "```json\n", "\n```", "[", "]", "{", "}", ",", ":"),
    *("<function=stop>", "</function>", "<parameter=label>", "</parameter>", "stop"),
    *("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "add_point"),
    *('"point_2d"', '"bbox_2d"', '"label"', '"name"', '"arguments"', '"add_point"', '"stop"'),
    *("positive", '"positive"', "Positive point: ", "Positive Point ", "(1, 2)", "1", "-0.5"),
    *("NaN", "1e9", "٣", "Finish", "No object", "Terminate", "null", "[[[[[["),
]


@every_dialogue
@given(text=st.text() | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_no_text_makes_reading_fail(name: str, text: str) -> None:
    dialogue = load_dialogue(name)
    read = dialogue.read(text, size_hw=SIZE, codec=own_codec(dialogue))
    assert read.text == text
    if isinstance(read.action, InvalidAction):
        assert read.action.text == text
        assert read.action.problem != ""
    elif isinstance(read.action, Click):
        assert 0 <= read.action.x < SIZE[1]
        assert 0 <= read.action.y < SIZE[0]


@every_dialogue
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "(" * 5000, "9" * 100_000])
def test_neither_does_a_deep_or_long_one(name: str, text: str) -> None:
    dialogue = load_dialogue(name)
    for wrapped in (text, f"<tool_call>{text}</tool_call>", f"<think></think>{text}"):
        read = dialogue.read(wrapped, size_hw=SIZE, codec=own_codec(dialogue))
        assert isinstance(read.action, InvalidAction)


ALMOST = [
    "<think>",
    "<think>x</think>\n<action>",
    "<think>x</think><action>a</action><answer>",
    "<tool_call>",
    "<tool_call><function=add_point><parameter=label>",
    "<tool_call>add_point<arg_key>label</arg_key><arg_value>",
    "```json\n",
    "Current IOU: 1.",
    "Positive point: (1, ",
]


@every_dialogue
@pytest.mark.parametrize("start", ALMOST)
def test_a_long_text_that_lacks_its_end_is_read_in_one_pass(name: str, start: str) -> None:
    """A search from each place to the end of these texts would not end within minutes."""
    dialogue = load_dialogue(name)
    texts = [start * (20_000 // len(start))]
    texts += [start + filler * 20_000 + end for filler in "\n <1" for end in ("", "x")]
    for text in texts:
        for wrapped in (text, f"{text}</tool_call>", f"{text}</function></tool_call>"):
            read = dialogue.read(wrapped, size_hw=SIZE, codec=own_codec(dialogue))
            assert isinstance(read.action, InvalidAction)


@every_dialogue
def test_a_nested_value_of_any_depth_is_shown_in_short(name: str) -> None:
    dialogue = load_dialogue(name)
    for depth in (900, 450):
        deep = "[" * depth + "]" * depth
        for text in (
            deep,
            f'[{{"point_2d": {deep}, "label": "positive"}}]',
            f'[{{"point_2d": [1, 2], "label": {deep}}}]',
            f'[{{"bbox_2d": {deep}, "label": "object"}}]',
            f'<tool_call>{{"name": {deep}, "arguments": {{}}}}</tool_call>',
            f'<tool_call>{{"name": "add_point", "arguments": {deep}}}</tool_call>',
            '<tool_call>{"name": "add_point", "arguments": '
            f'{{"point_2d": {deep}, "label": "positive"}}}}</tool_call>',
            '<tool_call>{"name": "add_point", "arguments": '
            f'{{"point_2d": [1, 2], "point_type": {deep}}}}}</tool_call>',
            deep.replace("[", '{"a":[').replace("]", "]}"),
        ):
            read = dialogue.read(text, size_hw=SIZE, codec=own_codec(dialogue))
            assert isinstance(read.action, InvalidAction)
            assert len(read.action.problem) < 200


@every_dialogue
def test_a_dialogue_has_a_question_for_all_that_it_can_say(name: str) -> None:
    dialogue = load_dialogue(name)
    offers = [Offer(), Offer(finish=True)]
    offers += [Offer(no_object=True)] if NoObject in dialogue.says else []
    offers += [Offer(box=True)] if Box in dialogue.says else []
    for offer in offers:
        question = prompt_of(dialogue, offer).render(
            expression="the EXPRESSION", colour="blue", coordinates="COORDINATES"
        )
        assert "the EXPRESSION" in question
        assert "COORDINATES" in question
        assert not any(f"{{{placeholder}}}" in question for placeholder in PLACEHOLDERS)
        functions = dialogue.functions(offer)
        names = [f["function"]["name"] for f in json.loads(functions)] if functions else []
        assert len(names) == len(set(names))


@every_dialogue
def test_a_dialogue_travels_and_equals_itself(name: str) -> None:
    dialogue = load_dialogue(name)
    assert pickle.loads(pickle.dumps(dialogue)) == dialogue == load_dialogue(name)
    assert (dialogue.name, dialogue.identity()) == (name, name)


@every_dialogue
def test_what_it_cannot_say_is_refused(name: str) -> None:
    dialogue = load_dialogue(name)
    codec = own_codec(dialogue)
    if NoObject not in dialogue.says:
        with pytest.raises(ValueError, match=f"{name} has no form for NoObject"):
            dialogue.write(NoObject(), size_hw=SIZE, codec=codec)
    if not dialogue.has_score:
        with pytest.raises(ValueError, match=name):
            dialogue.write(Finish(), size_hw=SIZE, codec=codec, iou=0.5)
    with pytest.raises(ValueError, match=r"\(640, 0\) is outside the image"):
        dialogue.write(Click(640, 0, True), size_hw=SIZE, codec=codec)


@pytest.mark.parametrize(
    ("name", "action", "text"),
    [
        ("segagent", Click(320, 120, True), "Positive point: (0.500, 0.251)"),
        (
            "json-point",
            Click(639, 479, False),
            '[{"point_2d": [999, 999], "label": "negative"}]',
        ),
        ("json-point", Box(0, 0, 640, 480), '[{"bbox_2d": [1, 1, 999, 999], "label": "object"}]'),
        ("json-point", Finish(), '[{"label": "finish"}]'),
        ("json-point", NoObject(), '[{"label": "no object"}]'),
        (
            "tools",
            Click(320, 240, True),
            '<tool_call>\n{"name": "add_point", "arguments": '
            '{"point_2d": [501, 501], "label": "positive"}}\n</tool_call>',
        ),
        ("tools", Finish(), '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'),
        (
            "medsam-agent",
            Click(0, 479, False),
            '<tool_call>\n{"name": "add_point", "arguments": '
            '{"point_2d": [0, 999], "point_type": "negative"}}\n</tool_call>',
        ),
        (
            "think",
            Finish(),
            "<think>\nThe mask covers the object and nothing else.\n</think>\n\nFinish",
        ),
        (
            "ibis",
            Click(320, 120, False),
            "<think>\nThe mask covers what is not the object, so the next click takes that away.\n"
            "</think>\n<action>\nNegative Point (0.5008, 0.2510)\n</action>",
        ),
    ],
)
def test_actions_have_the_texts_of_their_sources(name: str, action: Action, text: str) -> None:
    dialogue = load_dialogue(name)
    assert dialogue.write(action, size_hw=SIZE, codec=own_codec(dialogue)) == text


POINT = '{"point_2d": [500, 250], "label": "positive"}'
CALL = '{"name": "add_point", "arguments": {"point_2d": [500, 250], "label": "positive"}}'
MEDSAM = '{"name": "add_point", "arguments": {"point_2d": [999, 0], "point_type": "positive"}}'


@pytest.mark.parametrize(
    ("name", "text", "action"),
    [
        ("json-point", f"```json\n[\n  {POINT}\n]\n```", Click(320, 120, True)),
        ("json-point", f"<think>Hm.</think>\n[{POINT}]", Click(320, 120, True)),
        ("json-point", '[{"label": "negative", "point_2d": [1000, 1000]}]', Click(639, 479, False)),
        (
            "json-point",
            f"<think>Hm.</think><|begin_of_box|>```json\n[{POINT}]\n```<|end_of_box|>",
            Click(320, 120, True),
        ),
        ("segagent", "<|begin_of_box|>Finish<|end_of_box|>", Finish()),
        ("tools", f"<think>\n</think>\n<tool_call>{CALL}</tool_call>", Click(320, 120, True)),
        ("medsam-agent", f"<tool_call>\n{MEDSAM}\n</tool_call>", Click(639, 0, True)),
        ("think", "so it is.\n</think>\nNegative point: (0.5, 0.25)", Click(320, 120, False)),
        (
            "ibis",
            "<think>a</think> <action>Positive Point (1.0, 0)</action>",
            Click(639, 0, True),
        ),
        ("ibis", "<think>\na\n</think>\n<action>\nTermination\n</action>", Finish()),
        (
            "ibis",
            "<think>a</think><action>Terminate</action>\n<answer>A liver.</answer>",
            Finish(),
        ),
    ],
)
def test_forms_that_models_write_are_read(name: str, text: str, action: Action) -> None:
    dialogue = load_dialogue(name)
    assert dialogue.read(text, size_hw=SIZE, codec=own_codec(dialogue)).action == action


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("json-point", "Positive point: (0.5, 0.5)", "not JSON: Expecting value at character 1"),
        ("json-point", "[]", "a list of 0 entries, expected one"),
        ("json-point", f"[{POINT}, {POINT}]", "a list of 2 entries, expected one"),
        ("json-point", POINT, "got {"),
        ("json-point", f"Here: [{POINT}]", "not JSON"),
        ("json-point", '[{"point_2d": [5, 5], "label": "a dog"}]', 'the label "a dog", expected'),
        ("json-point", '[{"point_2d": [5, 5]}]', "the keys 'point_2d', expected 'point_2d', 'lab"),
        ("json-point", '[{"point_2d": [5.5, 5], "label": "positive"}]', "'5.5' is not a whole"),
        ("json-point", '[{"point_2d": ["5", 5], "label": "positive"}]', 'got ["5", 5], expected'),
        ("json-point", '[{"point_2d": [5, 1001], "label": "positive"}]', "y is 1001, expected 0 t"),
        ("json-point", '[{"point_2d": [5, NaN], "label": "positive"}]', "NaN is no number"),
        ("json-point", '[{"label": "finish", "label": "finish"}]', "the key 'label' occurs twice"),
        ("json-point", '[{"bbox_2d": [9, 9, 1, 1], "label": "object"}]', "a box needs x0 < x1"),
        (
            "json-point",
            '[{"bbox_2d": [1, 1, 9, 9], "label": "no object"}]',
            'a box with the label "no object", expected the object\'s name',
        ),
        ("json-point", '[{"bbox_2d": [1, 1, 9, 9], "label": "finish"}]', 'the label "finish", exp'),
        ("json-point", '[{"bbox_2d": [1, 1, 9, 9], "label": null}]', "the label null, expected"),
        ("json-point", '[{"bbox_2d": [1, 1, 9, 9], "label": 5}]', "the label 5, expected"),
        ("json-point", '[{"bbox_2d": [1, 1, 9, 9], "label": ["a"]}]', 'the label ["a"], expected'),
        ("tools", CALL, "no call of a function: expected <tool_call>"),
        ("tools", f"<tool_call>{CALL}</tool_call>" * 2, "2 calls of functions, expected one"),
        ("tools", f"Now: <tool_call>{CALL}</tool_call>", "text around the call of a function"),
        ("tools", f"<tool_call>{CALL}</tool_call>\nDone.</tool_call>", "text around the call"),
        ("tools", f"<tool_call>stop<tool_call>{CALL}</tool_call>", "2 calls of functions"),
        ("tools", f"</tool_call><tool_call>{CALL}", "text around the call of a function"),
        ("tools", '<tool_call>{"name": "undo"}</tool_call>', "the keys 'name', expected 'name', "),
        ("tools", '<tool_call>{"name": "zoom", "arguments": {}}</tool_call>', "the function"),
        ("tools", '<tool_call>{"name": "stop"}</tool_call>', "the keys 'name', expected 'name', "),
        (
            "tools",
            '<tool_call>{"name": "stop", "arguments": {"why": "done"}}</tool_call>',
            "an object with the keys 'why', expected none",
        ),
        ("medsam-agent", f"<tool_call>{CALL}</tool_call>", "an object with the keys 'point_2d', "),
        ("think", "Finish", "no reasoning: expected </think> before the action"),
        ("think", "<think>Finish", "reasoning without an end"),
        ("think", "<think>a</think>", "not an action"),
        ("ibis", "<action>Terminate</action>", "not an answer: expected <think>"),
        ("ibis", "<think>a</think><action>Stop</action>", "the action 'Stop', expected Positive"),
        ("ibis", "<think>a</think><action>Positive Point (1.1, 0)</action>", "x is 1.1, expected"),
        (
            "ibis",
            "<think>a</think><action>Positive Point (1, 0)</action>"
            "<action>Positive Point (1, 0)</action>",
            "not an answer",
        ),
        (
            "ibis",
            "<think>a</think><action>Positive Point (0.1, 0.2)</action>\n"
            "<think>b</think><action>Terminate</action>",
            "not an answer: expected <think>...</think> and one <action>...</action>",
        ),
        (
            "ibis",
            "<think>a</think><action>Positive Point (0.1, 0.2)</action><answer>x</answer>"
            "<action>Terminate</action><answer>y</answer>",
            "not an answer",
        ),
        ("ibis", "<think>a<think>b</think><action>Terminate</action>", "not an answer"),
    ],
)
def test_anything_else_is_invalid_with_the_reason(name: str, text: str, problem: str) -> None:
    dialogue = load_dialogue(name)
    action = dialogue.read(text, size_hw=SIZE, codec=own_codec(dialogue)).action
    assert isinstance(action, InvalidAction)
    assert problem in action.problem


def test_the_functions_are_those_that_are_offered() -> None:
    def names(name: str, offer: Offer) -> list[str]:
        return [f["function"]["name"] for f in json.loads(load_dialogue(name).functions(offer))]

    assert names("tools", Offer()) == ["add_point"]
    assert names("tools", Offer(finish=True, no_object=True)) == [
        "add_point",
        "stop",
        "report_no_object",
    ]
    assert names("tools", Offer(finish=True, no_object=True, box=True)) == [
        "add_box",
        "report_no_object",
    ]
    assert names("medsam-agent", Offer(finish=True)) == ["add_point", "stop_action"]
    assert names("medsam-agent", Offer(box=True)) == ["add_bbox"]


def test_a_call_is_a_message_of_its_own_in_training_rows() -> None:
    tools = load_dialogue("tools")
    text = tools.write(Finish(), size_hw=SIZE, codec=own_codec(tools))
    assert tools.message(text) == Message("function_call", '{"name": "stop", "arguments": {}}')
    assert tools.message("Current IOU: 85.2") == Message("assistant", "Current IOU: 85.2")
    assert load_dialogue("json-point").message("[]") == Message("assistant", "[]")


def test_an_unknown_dialogue_is_refused() -> None:
    with pytest.raises(ConfigError, match="--dialogue 'json-points' is unknown; did you mean 'js"):
        load_dialogue("json-points")


QWEN = (
    "<tool_call>\n<function=add_point>\n<parameter=point_2d>\n[500, 250]\n</parameter>\n"
    "<parameter=label>\npositive\n</parameter>\n</function>\n</tool_call>"
)
GLM = (
    "<tool_call>add_point\n<arg_key>point_2d</arg_key>\n<arg_value>[500, 250]</arg_value>\n"
    "<arg_key>label</arg_key>\n<arg_value>positive</arg_value>"
)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (QWEN, Click(320, 120, True)),
        ("<tool_call><function=stop>\n</function></tool_call>", Finish()),
        (GLM, Click(320, 120, True)),
        (GLM + "\n</tool_call>", Click(320, 120, True)),
        ("\n<tool_call>stop", Finish()),
        ("<tool_call>report_no_object\n</tool_call>", NoObject()),
    ],
)
def test_calls_are_read_as_the_templates_of_other_families_write_them(
    text: str, action: Action
) -> None:
    tools = load_dialogue("tools")
    assert tools.read(text, size_hw=SIZE, codec=own_codec(tools)).action == action


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (QWEN.replace("positive", "left"), 'the label "left", expected one of'),
        (QWEN.replace("[500, 250]", "500, 250"), "expected a list of 2 numbers"),
        (QWEN.replace("</function>", "so</function>"), "text around the arguments"),
        (QWEN.replace("=label", "=point_2d"), "the argument 'point_2d' occurs twice"),
        (GLM.replace(">label", ">point_2d"), "the argument 'point_2d' occurs twice"),
        (GLM + GLM, "2 calls of functions, expected one"),
        (GLM + "\n</tool_call>" + GLM, "2 calls of functions, expected one"),
        (QWEN.replace("</parameter>", ""), "text around the arguments"),
        (GLM + " So.", "no call of a function"),
        ("<tool_call>stop it", "no call of a function"),
    ],
)
def test_these_are_read_strictly_too(text: str, problem: str) -> None:
    tools = load_dialogue("tools")
    action = tools.read(text, size_hw=SIZE, codec=own_codec(tools)).action
    assert isinstance(action, InvalidAction)
    assert problem in action.problem


@pytest.mark.parametrize(
    ("offer", "names"),
    [
        (Offer(), ["add_point"]),
        (Offer(undo=True), ["add_point", "undo"]),
        (Offer(add_box=True, undo=True, finish=True), ["add_point", "add_box", "undo", "stop"]),
        (Offer(box=True, undo=True, add_box=True), ["add_box"]),
    ],
)
def test_tools_declare_the_edits_that_are_offered(offer: Offer, names: list[str]) -> None:
    declared = json.loads(load_dialogue("tools").functions(offer))
    assert [entry["function"]["name"] for entry in declared] == names


def test_an_undo_is_read_where_it_is_offered_and_invalid_elsewhere() -> None:
    tools = load_dialogue("tools")
    text = tools.write(Undo(), size_hw=SIZE, codec=own_codec(tools))
    offered = TurnFormat(own_codec(tools), with_undo=True, dialogue=tools)
    assert offered.read(text, size_hw=SIZE).action == Undo()
    problem = "undo is not among the actions of this conversation"
    refused = replace(offered, with_undo=False).read(text, size_hw=SIZE).action
    assert isinstance(refused, InvalidAction)
    assert refused.problem == problem
    with pytest.raises(ValueError, match=problem):
        replace(offered, with_undo=False).answer(Undo(), size_hw=SIZE)
