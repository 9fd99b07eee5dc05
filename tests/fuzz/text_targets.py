"""Texts: answers of models and servers, paths, settings on the command line."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Sequence
from contextlib import suppress

from fuzz.mutation import near_bytes, near_json
from fuzz.running import Target
from hlmat.pipelines.settings.yaml_files import read_override
from hlmat.transforms.core.errors import ConfigError, TargetError
from hlmat.transforms.core.records import Box, Click, Finish, InvalidAction, NoObject
from hlmat.transforms.core.storage import join_under
from hlmat.transforms.policies.backends.chat_completions import (
    completion_text,
    model_names,
    retry_wait_s,
)
from hlmat.transforms.prompting.coordinates import CoordinateCodec, build_codec
from hlmat.transforms.prompting.dialogues.registry import DIALOGUES, load_dialogue
from hlmat.transforms.prompting.predicted_iou import (
    last_predicted_iou,
    parse_predicted_iou,
    split_predicted_iou,
)

_SIZE_HW = (480, 640)
_ANSWERS = (
    b"Positive point: (0.332, 0.444)",
    b"Negative point: (332, 444)",
    b"Box: (0.1, 0.2), (0.3, 0.4)",
    b"Current IOU: 85.2, Positive point: (12, 7)",
    b'[{"point_2d": [500, 250], "label": "positive"}]',
    b'<tool_call>{"name": "add_point", "arguments": {"point_2d": [1, 2]}}</tool_call>',
    b"<think>a</think><action>Positive Point (0.5, 0.25)</action>",
    b"<think>The box</think>\n```\n**Finish**.\n```",
)


def _codecs() -> Sequence[CoordinateCodec]:
    return [build_codec("decimal"), build_codec("thousandths"), build_codec("pixels")]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def parse_answer(data: bytes) -> None:
    readings = [(load_dialogue(name), build_codec("zero_to_1000")) for name in DIALOGUES]
    readings += [(load_dialogue("segagent"), codec) for codec in _codecs()]
    for dialogue, codec in readings:
        answer = dialogue.read(_text(data), size_hw=_SIZE_HW, codec=codec)
        assert answer.text == _text(data)
        match answer.action:
            case Click(x, y):
                assert 0 <= x < _SIZE_HW[1]
                assert 0 <= y < _SIZE_HW[0]
            case Box() | Finish() | NoObject() | InvalidAction():
                pass


def parse_iou(data: bytes) -> None:
    iou = last_predicted_iou(_text(data))
    assert iou is None or 0 <= iou <= 1
    iou, _ = split_predicted_iou(_text(data))
    assert iou is None or 0 <= iou <= 1
    assert 0 <= parse_predicted_iou(_text(data)) <= 1


def parse_one_of_the_coordinates(data: bytes) -> None:
    read = 0
    for codec in _codecs():
        with suppress(ValueError):
            x, y = codec.parse(_text(data), size_hw=_SIZE_HW)
            assert 0 <= x < _SIZE_HW[1]
            assert 0 <= y < _SIZE_HW[0]
            read += 1
    if not read:
        raise ValueError("no coordinates")


def join_paths(data: bytes) -> None:
    path = join_under("/data/root", _text(data))
    assert posixpath.normpath(path).startswith("/data/root")
    assert "\0" not in path


def read_response(data: bytes) -> None:
    text = completion_text(data, max_new_tokens=8)
    assert text is None or isinstance(text.flaw, str | None)
    names = model_names(data)
    assert names is None or all(isinstance(name, str) for name in names)
    headers = {"retry-after": _text(data[:40])}
    wait_s = retry_wait_s(headers, default_s=0.5, longest_s=30.0)
    assert 0 <= wait_s <= 30
    assert math.isfinite(wait_s)


_COMPLETION = {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Finish",
                "reasoning_content": "I think",
                "refusal": None,
                "tool_calls": [],
            },
            "finish_reason": "stop",
        }
    ],
    "data": [{"id": "tiny"}],
}
_PARTS = {"choices": [{"message": {"content": [{"type": "text", "text": "Finish"}]}}]}

TARGETS = (
    Target(
        "answers",
        parse_answer,
        _ANSWERS[0],
        near_bytes(_ANSWERS, [b"Finish", b"Box: ", b"0.5", b"e9"]),
    ),
    Target(
        "predicted IoU",
        parse_iou,
        b"Current IOU: 85.2",
        near_bytes([b"Current IOU: 85.2", b"Current IOU: 100.0, Finish"], [b"1e9", b".", b"101"]),
        expected=(ValueError,),
    ),
    Target(
        "coordinates",
        parse_one_of_the_coordinates,
        b"(0.332, 0.444)",
        near_bytes([b"(0.332, 0.444)", b"(332, 444)", b"(0, 639)"], [b".", b"-0", b"\xd9\xa3"]),
        expected=(ValueError,),
    ),
    Target(
        "paths",
        join_paths,
        b"a/b.jpg",
        near_bytes(
            [b"a/b.jpg", b"images\\train\\c.png", b"a/../b.png"],
            [b"..", b"/", b"\\", b"://", b"C:", b"%2e%2e", b"~"],
        ),
        expected=(TargetError,),
    ),
    Target(
        "chat completions",
        read_response,
        json.dumps(_COMPLETION).encode(),
        near_json([_COMPLETION, _PARTS]),
    ),
    Target(
        "settings",
        lambda data: read_override(_text(data)),
        b"learning_rate=1e-5",
        near_bytes(
            [b"learning_rate=1e-5", b"a=[1, {b: c}]", b"a=2001-01-01", b"x=&a [*a]"],
            [b"? [a]", b"!!binary ", b"!!python/object:x", b"{", b"[", b": ", b"- ", b"*a", b"&a "],
        ),
        expected=(ConfigError,),
    ),
)
