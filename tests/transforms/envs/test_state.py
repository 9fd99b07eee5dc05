"""Loaded targets and the states that clicks lead to."""

from __future__ import annotations

import numpy as np
import pytest

from builders import FailingDiscs, ManyDiscs, RecordingDiscs
from hlmat.transforms.core.errors import SegmenterError, TargetError
from hlmat.transforms.core.records import Click, RejectReason
from hlmat.transforms.envs.state import (
    click_all,
    first_state,
    list_targets,
    load_target,
)
from hlmat.transforms.segmenters.disc import DiscSegmenter
from scene_reader import SIZE_HW, SceneReader


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


def test_an_unreadable_target_is_an_error():
    targets, _ = list_targets(SceneReader(1, bad_masks=frozenset({"000#1"})))
    with pytest.raises(TargetError, match="000#1: the mask is empty"):
        load_target(targets[1], DiscSegmenter())


def test_ignored_pixels_are_left_out_of_the_iou():
    targets, _ = list_targets(SceneReader(1, ignored_from=10))
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
    assert segmenter.called("encode") == [[90], [90]]
    assert segmenter.called("answer") == [[1], [1, 1], [2]]
    plain = click_all([(first_state(a.target), Click(3, 3, True))], segmenter=DiscSegmenter())[0]
    assert np.array_equal(after[2].mask, plain.mask)


def test_what_a_segmenter_fed_back_returns_to_it_with_the_targets_next_click():
    segmenter = RecordingDiscs()
    targets, _ = list_targets(SceneReader(1))
    states = [first_state(load_target(target, DiscSegmenter())) for target in targets[:2]]
    for x in (5, 6):
        clicks = [(state, Click(x, y, True)) for y, state in enumerate(states)]
        states = click_all(clicks, segmenter=segmenter)
    fed_back = [request.feedback for request in segmenter.asked]
    assert fed_back == [None, None, Click(5, 0, True), Click(5, 1, True)]


def test_no_clicks_ask_nothing():
    assert click_all([], segmenter=ManyDiscs()) == []


def test_a_failing_segmenter_is_named():
    segmenter = FailingDiscs(on_click=RuntimeError("no weights"))
    targets, _ = list_targets(SceneReader(1))
    state = first_state(load_target(targets[0], segmenter))
    with pytest.raises(SegmenterError) as caught:
        click_all([(state, Click(1, 1, True))], segmenter=segmenter)
    assert str(caught.value).startswith(
        "FailingDiscs failed at click 1: RuntimeError: no weights (builders.py, line "
    )


def test_an_image_that_cannot_be_encoded_is_an_error():
    targets, _ = list_targets(SceneReader(1))
    with pytest.raises(SegmenterError) as caught:
        load_target(targets[0], ManyDiscs(bad_images=[90]))
    assert str(caught.value).startswith(
        "ManyDiscs.encode_images: MemoryError: too large (builders.py, line "
    )
