"""A segmenter at work on several images: batches, and failures in their place."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from builders import ManyDiscs
from hlmat.transforms.core.errors import SegmenterError, is_out_of_memory
from hlmat.transforms.core.protocols import Image, ManyImagesSegmenter, Prediction, Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.core.watchdog import Watchdog, stalls_reported_to
from hlmat.transforms.rollout.segmenter_batching import (
    SegmenterSession,
    encode_all,
)

IMAGES = [np.full((4, 5 + k, 3), k, dtype=np.uint8) for k in range(3)]
REQUEST = Request(clicks=(Click(1, 1, True),))


def shapes(answers: Sequence[Prediction | SegmenterError]) -> list[tuple[int, ...] | str]:
    return [a.mask.shape if isinstance(a, Prediction) else said_by(a) for a in answers]


def said_by(failure: SegmenterError) -> str:
    return str(failure).partition(" (builders.py, line ")[0]


def test_targets_of_many_images_are_asked_about_at_once():
    tool = ManyDiscs()
    assert isinstance(tool, ManyImagesSegmenter)
    session = SegmenterSession(tool, IMAGES)
    questions = [(2, REQUEST), (0, REQUEST), (2, REQUEST)]
    assert shapes(session.ask(questions)) == [(4, 7), (4, 5), (4, 7)]
    assert shapes(session.ask([(1, REQUEST)])) == [(4, 6)]
    assert tool.called("encode") == [[0, 1, 2]]
    assert tool.called("answer") == [[1, 1, 1], [1]]


class ReusedBuffer:
    """Marks the last click in a buffer of its own, which every answer returns."""

    def set_image(self, image: Image) -> None:
        self._buffer = np.zeros(image.shape[:2], dtype=np.bool_)

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        self._buffer[:] = False
        self._buffer[clicks[-1].y, clicks[-1].x] = True
        return Prediction(self._buffer)


def test_a_tool_that_reuses_its_buffer_does_not_change_earlier_masks():
    session = SegmenterSession(ReusedBuffer(), IMAGES)
    requests = [Request(clicks=(Click(x, 0, True),)) for x in range(3)]
    together = session.ask([(0, request) for request in requests[:2]])
    later = session.ask([(0, requests[2])])
    masks = [answer.mask for answer in (*together, *later) if isinstance(answer, Prediction)]
    assert [np.argwhere(mask).tolist() for mask in masks] == [[[0, 0]], [[0, 1]], [[0, 2]]]


class ReusedBufferInBatches(ReusedBuffer):
    """Answers several requests with one buffer."""

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        return [self.predict(clicks=request.clicks) for request in requests]


def test_a_tool_that_answers_a_batch_with_one_buffer_is_asked_one_by_one():
    session = SegmenterSession(ReusedBufferInBatches(), IMAGES)
    requests = [Request(clicks=(Click(x, 0, True),)) for x in range(3)]
    answers = session.ask([(0, request) for request in requests])
    masks = [answer.mask for answer in answers if isinstance(answer, Prediction)]
    assert [np.argwhere(mask).tolist() for mask in masks] == [[[0, 0]], [[0, 1]], [[0, 2]]]


def test_a_call_that_does_not_return_is_reported_with_its_targets():
    heard: list[str] = []
    is_over = threading.Event()

    def hear(sentence: str) -> None:
        heard.append(sentence)
        is_over.set()

    class Hanging(ReusedBuffer):
        def predict(self, **prompts: Any) -> Prediction:
            is_over.wait(30)
            return super().predict(**prompts)

    watchdog = Watchdog(0.05, "repair it")
    session = SegmenterSession(Hanging(), IMAGES, watchdog=watchdog)
    with stalls_reported_to(hear):
        (answer,) = session.ask([(0, REQUEST)], targets=["coco/7"])
    assert isinstance(answer, Prediction)
    assert len(heard) == 1
    assert re.fullmatch(
        r"segmenter Hanging: predict about 'coco/7' has not returned for 0\.05 s "
        r"\(it is in threading\.py, line \d+\); repair it",
        heard[0],
    )


def test_images_encoded_ahead_are_not_encoded_again():
    tool = ManyDiscs()
    encoded = encode_all(tool, IMAGES)
    tool.calls.clear()
    session = SegmenterSession(tool, IMAGES, encoded=encoded)
    assert shapes(session.ask([(1, REQUEST)])) == [(4, 6)]
    assert tool.calls == [("answer", [1])]


def test_an_image_that_cannot_be_encoded_costs_its_own_targets_alone():
    tool = ManyDiscs(bad_images=[1])
    answers = SegmenterSession(tool, IMAGES).ask([(0, REQUEST), (1, REQUEST), (2, REQUEST)])
    message = "ManyDiscs.encode_images: MemoryError: too large"
    assert shapes(answers) == [(4, 5), message, (4, 7)]
    failure = answers[1]
    assert isinstance(failure, SegmenterError)
    assert is_out_of_memory(failure.__cause__ or failure)


def test_no_image_at_all_can_be_encoded():
    tool = ManyDiscs(bad_images=[0, 1, 2])
    answers = SegmenterSession(tool, IMAGES).ask([(0, REQUEST), (1, REQUEST)])
    assert shapes(answers) == ["ManyDiscs.encode_images: MemoryError: too large"] * 2
    assert tool.calls == []


def test_a_bad_request_costs_itself_alone():
    bad = Request(clicks=(Click(3, 1, True),))
    answers = SegmenterSession(ManyDiscs(fails_at=3), IMAGES).ask(
        [(0, REQUEST), (0, bad), (1, REQUEST), (2, REQUEST)]
    )
    message = "ManyDiscs failed at click 1: ValueError: column 3"
    assert shapes(answers) == [(4, 5), message, (4, 6), (4, 7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ps: ps[:-1], "predict_many gave 0 answers to 1 requests"),
        (lambda ps: [Prediction(np.ones((4, 5)))], r"bool array of shape \(4, 5\), got float64"),  # type: ignore[arg-type]
        (lambda ps: [Prediction(np.ones((5, 4), dtype=np.bool_))], r"got bool \(5, 4\)"),
        (lambda ps: [None], r"got <class 'NoneType'>"),
        (lambda ps: [replace(ps[0], score=float("nan"))], "`score` is finite or None, got nan"),
    ],
)
def test_answers_are_held_to_the_protocol(
    change: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    tool = ManyDiscs()
    answer = tool.predict_many
    monkeypatch.setattr(tool, "predict_many", lambda pairs: change(answer(pairs)))
    failure = SegmenterSession(tool, IMAGES).ask([(0, REQUEST)])[0]
    assert isinstance(failure, SegmenterError)
    with pytest.raises(SegmenterError, match=message):
        raise failure


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool):
    assert is_out_of_memory(error) is expected
