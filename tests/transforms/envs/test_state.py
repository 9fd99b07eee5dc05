"""Loaded targets and the states that clicks lead to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.core.errors import SegmenterError, TargetError
from hlmat.transforms.core.protocols import Image, Prediction, Request, TruthMasks
from hlmat.transforms.core.records import Box, Click, RejectReason, TargetRef
from hlmat.transforms.envs.state import (
    TargetSource,
    click_all,
    first_state,
    list_targets,
    load_target,
)
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SIZE_HW, SceneReader


class ManyDiscs(DiscSegmenter):
    """Disc segmenter for many images at once; records the number of clicks of each call."""

    leaves_cpu_free = False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []
        self.encoded = 0

    def predict_batch(self, requests: Sequence[Request]) -> list[Prediction]:
        raise AssertionError("many images are asked about by predict_many")

    def encode_images(self, images: Sequence[Image]) -> list[Any]:
        self.encoded += len(images)
        return [image.shape[:2] for image in images]

    def predict_many(self, pairs: Sequence[tuple[Any, Request]]) -> list[Prediction]:
        self.calls.append([len(request.clicks) for _, request in pairs])
        answers = []
        for shape, request in pairs:
            self._shape = shape
            answers.append(self.predict(clicks=request.clicks, feedback=request.feedback))
        return answers


@dataclass(frozen=True)
class IgnoringReader(SceneReader):
    """Scenes whose rows from 10 on are ignored."""

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        truth = super().load_truth(ref).truth.copy()
        ignore = np.zeros_like(truth)
        ignore[10:] = True
        truth[10:] = False
        return TruthMasks(truth, ignore)


def test_listing_keeps_targets_and_rejects_apart():
    targets, rejects = list_targets(SceneReader(2, listed_rejects=frozenset({"000#1"})))
    assert [t.ref.target_id for t in targets] == ["000#0", "000#2", "001#0", "001#1", "001#2"]
    assert [r.reason for r in rejects] == [RejectReason.MISSING_MASK]


def test_a_limit_counts_usable_targets():
    reader = SceneReader(2, listed_rejects=frozenset({"000#0"}))
    targets, rejects = list_targets(reader, limit=2)
    assert [t.ref.target_id for t in targets] == ["000#1", "000#2"]
    assert len(rejects) == 1


def test_the_first_state_has_an_empty_mask():
    targets, _ = list_targets(SceneReader(1))
    state = first_state(load_target(targets[0], DiscSegmenter()))
    assert state.mask.shape == SIZE_HW == state.target.size_hw
    assert not state.mask.any()
    assert (state.clicks, state.feedback, state.iou) == ((), None, 0.0)


def test_a_target_that_cannot_be_read_says_so():
    targets, _ = list_targets(SceneReader(1, bad_masks=frozenset({"000#1"})))
    with pytest.raises(TargetError, match="000#1: the mask is empty"):
        load_target(targets[1], DiscSegmenter())


def test_ignored_pixels_are_left_out_of_the_iou():
    targets, _ = list_targets(IgnoringReader(1))
    state = first_state(load_target(targets[0], DiscSegmenter()))
    # The disc covers rows 4 to 20, columns 6 to 22; of these only rows 4 to 9 count.
    after = click_all([(state, Click(14, 12, True))], segmenter=DiscSegmenter())[0]
    counted = after.mask[:10]
    truth = state.target.truth[:10]
    assert after.mask[10:].any()
    assert after.iou == (counted & truth).sum() / (counted | truth).sum()
    assert 0 < after.iou < 1


def test_answers_come_in_order_whatever_the_number_of_clicks():
    targets, _ = list_targets(SceneReader(2))
    segmenter = DiscSegmenter()
    a, b = (first_state(load_target(t, segmenter)) for t in (targets[0], targets[4]))
    a1 = click_all([(a, Click(10, 10, True))], segmenter=segmenter)[0]
    assert a1.feedback == 1
    after = click_all(
        [(a1, Click(12, 12, False)), (b, Click(20, 20, True)), (a, Click(30, 30, True))],
        segmenter=segmenter,
    )
    assert [len(state.clicks) for state in after] == [2, 1, 1]
    assert [state.target for state in after] == [a.target, b.target, a.target]
    alone = click_all([(b, Click(20, 20, True))], segmenter=segmenter)[0]
    assert np.array_equal(after[1].mask, alone.mask)
    assert a1.clicks == (Click(10, 10, True),)


def test_a_tool_for_many_images_encodes_once_and_gets_requests_of_one_length():
    targets, _ = list_targets(SceneReader(2))
    segmenter = ManyDiscs()
    a, b = (first_state(load_target(t, segmenter)) for t in (targets[0], targets[4]))
    a1 = click_all([(a, Click(10, 10, True))], segmenter=segmenter)[0]
    after = click_all(
        [(a1, Click(1, 1, True)), (b, Click(20, 20, True)), (a, Click(3, 3, True))],
        segmenter=segmenter,
    )
    assert segmenter.encoded == 2
    assert segmenter.calls == [[1], [1, 1], [2]]
    plain = click_all([(first_state(a.target), Click(3, 3, True))], segmenter=DiscSegmenter())[0]
    assert np.array_equal(after[2].mask, plain.mask)


def test_what_a_segmenter_fed_back_returns_to_it_with_the_targets_next_click():
    class Remembering(DiscSegmenter):
        def predict(
            self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
        ) -> Prediction:
            heard.append(feedback)
            return Prediction(super().predict(clicks=clicks).mask, feedback=clicks[-1])

    heard: list[Any] = []
    targets, _ = list_targets(SceneReader(1))
    states = [first_state(load_target(target, DiscSegmenter())) for target in targets[:2]]
    for x in (5, 6):
        clicks = [(state, Click(x, y, True)) for y, state in enumerate(states)]
        states = click_all(clicks, segmenter=Remembering())
    assert heard == [None, None, Click(5, 0, True), Click(5, 1, True)]


def test_no_clicks_ask_nothing():
    assert click_all([], segmenter=ManyDiscs()) == []


def test_a_failing_segmenter_is_named():
    class Broken(DiscSegmenter):
        def predict(
            self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
        ) -> Prediction:
            raise RuntimeError("no weights")

    targets, _ = list_targets(SceneReader(1))
    state = first_state(load_target(targets[0], Broken()))
    with pytest.raises(SegmenterError, match="Broken failed at click 1: RuntimeError: no weights"):
        click_all([(state, Click(1, 1, True))], segmenter=Broken())


def test_an_image_that_cannot_be_encoded_is_an_error():
    class Blind(ManyDiscs):
        def encode_images(self, images: Sequence[Image]) -> list[Any]:
            raise ValueError("too large")

    targets, _ = list_targets(SceneReader(1))
    with pytest.raises(SegmenterError, match="ValueError: too large"):
        load_target(TargetSource(targets[0].reader, targets[0].ref), Blind())
