"""The graph-cut segmenter honours every click, keeps targets apart and finds plain objects."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import HasIdentity, Image, Mask, MaskPromptSegmenter, Segmenter
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter


def scene(
    size_hw: tuple[int, int] = (120, 160), *, colour: tuple[int, int, int] = (200, 60, 40)
) -> tuple[Image, Mask]:
    """Draw an ellipse on a noisy slope; return the image and the ellipse."""
    height, width = size_hw
    rng = np.random.default_rng(3)
    slope = np.linspace(60, 120, width)[None, :, None] + np.zeros((height, 1, 3))
    canvas = np.zeros(size_hw, np.uint8)
    cv2.ellipse(canvas, (width // 2, height // 2), (width // 5, height // 4), 20, 0, 360, 1, -1)
    truth = canvas.astype(np.bool_)
    slope[truth] = colour
    noisy = slope + rng.normal(0, 6, slope.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), truth


def ready(image: Image) -> GraphCutSegmenter:
    segmenter = GraphCutSegmenter()
    segmenter.set_image(image)
    return segmenter


def answers(segmenter: Segmenter, clicks: list[Click], *, box: Box | None = None) -> list[Mask]:
    """Click one after another; return every mask."""
    feedback, masks = None, []
    for k in range(1, len(clicks) + 1):
        prediction = segmenter.predict(clicks=clicks[:k], box=box, feedback=feedback)
        feedback = prediction.feedback
        masks.append(prediction.mask)
    return masks


def assert_honoured(mask: Mask, clicks: list[Click]) -> None:
    """Assert that each clicked pixel has the label of its last click."""
    for (x, y), is_positive in {(c.x, c.y): c.is_positive for c in clicks}.items():
        assert mask[y, x] == is_positive, f"({x}, {y})"


def test_it_fits_the_protocols() -> None:
    segmenter = GraphCutSegmenter()
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, HasIdentity)
    assert segmenter.identity() == {"segmenter": "graphcut", "version": 2}


def test_one_click_finds_a_plain_object() -> None:
    image, truth = scene()
    mask = ready(image).predict(clicks=[Click(80, 60, True)]).mask
    assert mask.dtype == np.bool_
    assert mask.shape == truth.shape
    assert mask_iou(mask, truth) > 0.95


def test_a_negative_click_takes_away_what_it_points_at() -> None:
    image, truth = scene()
    image[40:80, 70:90] = (40, 60, 200)
    ring = truth.copy()
    ring[40:80, 70:90] = False
    clicks = [Click(60, 60, True), Click(80, 60, False), Click(100, 60, True)]
    assert mask_iou(answers(ready(image), clicks)[-1], ring) > 0.9


_IMAGES = {
    "photograph": scene()[0],
    "grey": np.repeat(scene()[0][..., :1], 3, axis=2),
    "one colour": np.full((40, 30, 3), 128, np.uint8),
    "one pixel": np.full((1, 1, 3), 9, np.uint8),
    "one row": scene((1, 300))[0],
    "one column": scene((300, 1))[0],
    "long strip": scene((3, 900))[0],
    "noise": np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8),
}


@settings(max_examples=12, deadline=None)
@given(scene_image=st.sampled_from(sorted(_IMAGES)), data=st.data())
def test_every_click_is_honoured(scene_image: str, data: st.DataObject) -> None:
    image = _IMAGES[scene_image]
    height, width = image.shape[:2]
    click = st.builds(
        Click,
        st.integers(0, width - 1) | st.sampled_from([0, width - 1]),
        st.integers(0, height - 1) | st.sampled_from([0, height - 1]),
        st.booleans(),
    )
    clicks = data.draw(st.lists(click, min_size=1, max_size=7))
    for k, mask in enumerate(answers(ready(image), clicks), start=1):
        assert mask.shape == (height, width)
        assert_honoured(mask, clicks[:k])


@pytest.mark.parametrize("scene_image", sorted(_IMAGES))
def test_clicks_that_contradict_their_neighbours_are_honoured(scene_image: str) -> None:
    image = _IMAGES[scene_image]
    height, width = image.shape[:2]
    corner = [
        Click(x, y, (x + y) % 2 == 0) for y in range(min(3, height)) for x in range(min(3, width))
    ]
    clicks = [*corner, Click(0, 0, False), Click(width - 1, height - 1, True), Click(0, 0, True)]
    assert_honoured(answers(ready(image), clicks)[-1], clicks)


def test_an_object_all_taken_back_leaves_nothing() -> None:
    image, _ = scene()
    clicks = [Click(80, 60, True), Click(80, 60, False)]
    assert not answers(ready(image), clicks)[-1].any()


def test_only_negative_clicks_give_an_empty_mask_and_a_positive_one_starts_the_object() -> None:
    image, truth = scene()
    clicks = [Click(5, 5, False), Click(150, 110, False), Click(80, 60, True)]
    masks = answers(ready(image), clicks)
    assert not masks[0].any()
    assert not masks[1].any()
    assert mask_iou(masks[2], truth) > 0.9


_CLICKS = [
    Click(80, 60, True),
    Click(20, 20, True),
    Click(60, 60, False),
    Click(100, 70, True),
    Click(10, 100, False),
]


def test_the_answer_is_the_same_with_and_without_feedback() -> None:
    image, _ = scene()
    stepwise = answers(ready(image), _CLICKS)[-1]
    at_once = ready(image).predict(clicks=_CLICKS).mask
    assert np.array_equal(stepwise, at_once)
    segmenter = ready(image)
    two = segmenter.predict(clicks=_CLICKS[:2])
    assert np.array_equal(segmenter.predict(clicks=_CLICKS, feedback=two.feedback).mask, stepwise)


def test_feedback_holds_past_masks_as_they_were() -> None:
    image, _ = scene((150, 400))
    segmenter = ready(image)
    clicks = [Click(200, 75, True), Click(150, 60, True), Click(270, 100, False)]
    clicks += [Click(210, 20, True), Click(20, 20, False), Click(230, 90, False)]
    feedback, known = None, 0
    for k in range(1, len(clicks) + 1):
        prediction = segmenter.predict(clicks=clicks[:k], feedback=feedback)
        if feedback is not None:
            known += sum(one.cells is not None for one in feedback.past)
            past = tuple(replace(one, cells=None) for one in feedback.past)
            bare = replace(feedback, past=past)
            again = segmenter.predict(clicks=clicks[:k], feedback=bare)
            assert np.array_equal(again.mask, prediction.mask)
        feedback = prediction.feedback
    assert known > 0


def test_feedback_of_other_clicks_is_not_used() -> None:
    image, _ = scene()
    segmenter = ready(image)
    other = segmenter.predict(clicks=[Click(5, 5, True)], feedback=None).feedback
    assert np.array_equal(
        segmenter.predict(clicks=_CLICKS[:2], feedback=other).mask,
        answers(segmenter, _CLICKS[:2])[-1],
    )


def test_asking_again_gives_the_same_answer() -> None:
    image, _ = scene()
    segmenter = ready(image)
    first = segmenter.predict(clicks=_CLICKS[:3])
    again = segmenter.predict(clicks=_CLICKS[:3], feedback=first.feedback)
    assert np.array_equal(first.mask, again.mask)


def test_targets_and_images_may_alternate() -> None:
    image, _ = scene()
    other_image, _ = scene(colour=(30, 180, 90))
    apart = answers(ready(image), _CLICKS)
    others = [Click(c.x - 10, c.y, not c.is_positive) for c in _CLICKS]
    other_apart = answers(ready(image), others)
    segmenter = ready(other_image)
    segmenter.predict(clicks=_CLICKS)
    segmenter.set_image(image)
    feedback, other_feedback = None, None
    for k in range(1, len(_CLICKS) + 1):
        one = segmenter.predict(clicks=_CLICKS[:k], feedback=feedback)
        two = segmenter.predict(clicks=others[:k], feedback=other_feedback)
        # Feedback travels between processes.
        feedback = pickle.loads(pickle.dumps(one.feedback))
        other_feedback = two.feedback
        assert np.array_equal(one.mask, apart[k - 1])
        assert np.array_equal(two.mask, other_apart[k - 1])


def test_an_answer_does_not_change_when_the_caller_draws_in_it() -> None:
    image, _ = scene()
    segmenter = ready(image)
    first = segmenter.predict(clicks=_CLICKS[:1])
    expected = answers(ready(image), _CLICKS[:2])[-1]
    first.mask[:] = True
    second = segmenter.predict(clicks=_CLICKS[:2], feedback=first.feedback)
    assert np.array_equal(second.mask, expected)


def test_the_number_of_threads_changes_nothing() -> None:
    image, _ = scene((200, 240))
    clicks = [Click(c.x * 3 // 2, c.y * 3 // 2, c.is_positive) for c in _CLICKS]
    before = cv2.getNumThreads()
    try:
        masks = []
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            masks.append(answers(ready(image), clicks))
    finally:
        cv2.setNumThreads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*masks, strict=True))


def test_a_box_finds_the_object_in_it() -> None:
    image, truth = scene()
    rows, columns = np.nonzero(truth)
    box = Box(
        int(columns.min()) - 4, int(rows.min()) - 4, int(columns.max()) + 5, int(rows.max()) + 5
    )
    segmenter = ready(image)
    prediction = segmenter.predict(clicks=(), box=box)
    assert mask_iou(prediction.mask, truth) > 0.9
    inside = np.zeros_like(truth)
    inside[box.y0 : box.y1, box.x0 : box.x1] = True
    assert not (prediction.mask & ~inside).any()
    # A click that agrees leaves the object standing, with the box or without naming it again.
    click = Click(int(columns.min()) - 2, int(rows.min()) - 2, False)
    for named in (box, None):
        after = segmenter.predict(clicks=[click], box=named, feedback=prediction.feedback)
        assert mask_iou(after.mask, truth) > 0.9
        assert_honoured(after.mask, [click])
    at_once = segmenter.predict(clicks=[click], box=box)
    assert np.array_equal(at_once.mask, after.mask)


@pytest.mark.parametrize("scene_image", sorted(_IMAGES))
def test_any_box_gives_a_mask_inside_it(scene_image: str) -> None:
    image = _IMAGES[scene_image]
    height, width = image.shape[:2]
    boxes = [
        Box(0, 0, width, height),
        Box(0, 0, 1, 1),
        Box(width - 1, height - 1, width + 50, height + 50),
        Box(width // 3, height // 3, width // 3 + max(1, width // 2), height),
    ]
    for box in boxes:
        mask = ready(image).predict(clicks=(), box=box).mask
        inside = np.zeros((height, width), np.bool_)
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
        assert mask.any()
        assert not (mask & ~inside).any()


def test_a_new_box_restarts_the_target() -> None:
    image, _ = scene()
    segmenter = ready(image)
    first = segmenter.predict(clicks=(), box=Box(10, 10, 60, 60))
    box = Box(40, 20, 120, 100)
    moved = segmenter.predict(clicks=(), box=box, feedback=first.feedback)
    assert np.array_equal(moved.mask, segmenter.predict(clicks=(), box=box).mask)


def test_an_image_of_four_megapixels_is_answered() -> None:
    image, truth = scene((240, 320))
    large = np.repeat(np.repeat(image, 7, axis=0), 7, axis=1)
    large_truth = np.repeat(np.repeat(truth, 7, axis=0), 7, axis=1)
    masks = answers(ready(large), [Click(1120, 840, True), Click(100, 100, False)])
    assert mask_iou(masks[-1], large_truth) > 0.95


def test_photographs_are_answered_well_by_a_few_clicks(shared_data: Path) -> None:
    folder = shared_data / "iseg" / "GrabCut"
    scene_image = cv2.imread(str(next((folder / "data_GT").glob("124080.*"))))
    labels = cv2.imread(str(folder / "boundary_GT" / "124080.bmp"), cv2.IMREAD_GRAYSCALE)
    assert scene_image is not None
    assert labels is not None
    truth, ignore = labels == 255, labels == 128
    rows, columns = np.nonzero(cv2.erode(truth.astype(np.uint8), np.ones((25, 25), np.uint8)))
    middle = rows.size // 2
    click = Click(int(columns[middle]), int(rows[middle]), True)
    image = np.asarray(cv2.cvtColor(scene_image, cv2.COLOR_BGR2RGB), np.uint8)
    assert mask_iou(ready(image).predict(clicks=[click]).mask, truth, ignore=ignore) > 0.5


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"is uint8 \(4, 5\): expected uint8 RGB of shape \(H, W, 3\)"),
        (np.zeros((4, 5, 3), np.float32), r"is float32 \(4, 5, 3\): expected uint8 RGB"),
        (np.zeros((0, 5, 3), np.uint8), r"is uint8 \(0, 5, 3\)"),
    ],
)
def test_an_image_of_another_kind_is_refused(image: Image, message: str) -> None:
    with pytest.raises(SegmenterError, match=message):
        GraphCutSegmenter().set_image(image)


def test_prompts_that_cannot_be_answered_are_refused() -> None:
    image, _ = scene()
    segmenter = GraphCutSegmenter()
    with pytest.raises(SegmenterError, match="no image is set: call set_image"):
        segmenter.predict(clicks=[Click(0, 0, True)])
    segmenter.set_image(image)
    with pytest.raises(SegmenterError, match="give a click or a box"):
        segmenter.predict(clicks=())
    with pytest.raises(SegmenterError, match=r"x=160.*outside the image of 160 x 120 pixels"):
        segmenter.predict(clicks=[Click(160, 0, True)])
    with pytest.raises(SegmenterError, match=r"Box\(.*outside the image of 160 x 120 pixels"):
        segmenter.predict(clicks=(), box=Box(200, 0, 210, 10))
    with pytest.raises(SegmenterError, match=r"feedback is dict: expected the feedback of"):
        segmenter.predict(clicks=[Click(0, 0, True)], feedback={})
    feedback = segmenter.predict(clicks=[Click(0, 0, True)]).feedback
    segmenter.set_image(image[:50])
    with pytest.raises(SegmenterError, match=r"\(120, 160\) .* current one has \(50,"):
        segmenter.predict(clicks=[Click(0, 0, True)], feedback=feedback)


def halves() -> tuple[Image, Mask, Mask]:
    """Return the image of `scene`, its ellipse, and the ellipse without its right half."""
    image, truth = scene()
    left = truth.copy()
    left[:, 80:] = False
    return image, truth, left


def test_a_given_mask_is_corrected_by_the_first_click() -> None:
    image, truth, left = halves()
    segmenter = ready(image)
    assert isinstance(segmenter, MaskPromptSegmenter)
    missing = segmenter.predict(clicks=[Click(95, 60, True)], feedback=segmenter.feedback_of(left))
    assert mask_iou(missing.mask, truth) > 0.9
    assert (missing.mask & left).sum() > 0.97 * left.sum()
    # What is taken away is the part that is clicked, not the mask.
    grown = truth.copy()
    grown[5:25, 5:35] = True
    feedback = segmenter.feedback_of(grown)
    refined = segmenter.predict(clicks=[Click(20, 15, False)], feedback=feedback)
    assert mask_iou(refined.mask, truth) > 0.95
    assert (refined.mask & truth).sum() > 0.97 * truth.sum()


def test_a_given_mask_stays_without_clicks_and_when_clicks_are_answered_again() -> None:
    image, _, left = halves()
    segmenter = ready(image)
    given_mask = segmenter.feedback_of(left)
    assert np.array_equal(segmenter.predict(clicks=[], feedback=given_mask).mask, left)
    clicks = [Click(95, 60, True), Click(20, 15, False)]
    first = segmenter.predict(clicks=clicks[:1], feedback=given_mask)
    second = segmenter.predict(clicks=clicks, feedback=first.feedback)
    at_once = segmenter.predict(clicks=clicks, feedback=given_mask)
    assert np.array_equal(second.mask, at_once.mask)
    # Feedback of other clicks: these are answered again, from the same mask.
    again = segmenter.predict(clicks=clicks[1:], feedback=first.feedback)
    alone = segmenter.predict(clicks=clicks[1:], feedback=given_mask)
    assert np.array_equal(again.mask, alone.mask)
    assert (again.mask & left).sum() > 0.9 * left.sum()
