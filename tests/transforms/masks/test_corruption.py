"""Corrupted masks are never empty, never the truth, and have the IoU asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.masks.corruption import (
    GRADED,
    box_mask,
    coarse_polygon,
    corrupted_to_iou,
    random_discs,
)
from hlmat.transforms.masks.rle import mask_iou

TENTHS = [(k / 10, (k + 1) / 10) for k in range(10)]


def ellipse(
    size_hw: tuple[int, int] = (120, 160), *, centre_xy: tuple[int, int] = (70, 60)
) -> Mask:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    return ((columns - centre_xy[0]) / 30) ** 2 + ((rows - centre_xy[1]) / 20) ** 2 <= 1


def masks() -> st.SearchStrategy[Mask]:
    """Any mask with a pixel: single pixels, whole images, specks and holes."""
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
    filled = shapes.map(lambda shape: np.ones(shape, np.bool_))
    return (arrays(np.bool_, shapes) | filled).filter(np.any)


Corrupt = Callable[[Mask, np.random.Generator], Mask | None]


def aimed(kind: str) -> Corrupt:
    def corrupt(truth: Mask, rng: np.random.Generator) -> Mask | None:
        found = corrupted_to_iou(truth, low=0.1, high=0.9, rng=rng, kinds=(kind,))
        return None if found is None else found.mask

    return corrupt


CORRUPTIONS: dict[str, Corrupt] = {
    "box": lambda truth, rng: box_mask(truth),
    "polygon": lambda truth, rng: coarse_polygon(truth, rng=rng),
    "discs": lambda truth, rng: random_discs(truth, rng=rng),
    **{kind: aimed(kind) for kind in GRADED},
}


@pytest.mark.parametrize("name", CORRUPTIONS)
@given(truth=masks(), seed=st.integers(0, 2**32))
def test_a_corruption_is_a_mask_of_the_image_and_not_the_truth(
    name: str, truth: Mask, seed: int
) -> None:
    before = truth.copy()
    made = CORRUPTIONS[name](truth, np.random.default_rng(seed))
    again = CORRUPTIONS[name](truth, np.random.default_rng(seed))
    assert np.array_equal(truth, before)
    if made is None:
        assert again is None
        return
    assert (made.dtype, made.shape) == (np.bool_, truth.shape)
    assert made.any()
    assert mask_iou(made, truth) < 1
    assert again is not None
    assert np.array_equal(made, again)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_ordinary_object_allows_every_corruption(name: str) -> None:
    for seed in range(10):
        made = CORRUPTIONS[name](ellipse(), np.random.default_rng(seed))
        assert made is not None
        assert made.any()
        assert mask_iou(made, ellipse()) < 1


@pytest.mark.parametrize("kind", GRADED)
@pytest.mark.parametrize(("low", "high"), TENTHS)
def test_every_tenth_of_the_range_is_reached_and_its_iou_returned(
    kind: str, low: float, high: float
) -> None:
    truth = ellipse()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = corrupted_to_iou(truth, low=low, high=high, rng=rng, kinds=(kind,))
        assert found is not None
        assert found.kind == kind
        assert low <= found.iou < high
        assert found.iou == mask_iou(found.mask, truth)


@given(truth=masks(), tenth=st.sampled_from(TENTHS), seed=st.integers(0, 2**32))
def test_what_comes_back_lies_in_the_range(
    truth: Mask, tenth: tuple[float, float], seed: int
) -> None:
    low, high = tenth
    found = corrupted_to_iou(truth, low=low, high=high, rng=np.random.default_rng(seed))
    if found is not None:
        assert low <= mask_iou(found.mask, truth) < high
        assert found.mask.any()


def test_the_drawn_iou_is_met_closely_by_an_object_of_some_size() -> None:
    ious = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = corrupted_to_iou(ellipse(), low=0.2, high=0.6, rng=rng)
        assert found is not None
        ious.append(found.iou)
    # uniform over [0.2, 0.6): the quartiles of 200 draws
    assert np.quantile(ious, [0.25, 0.5, 0.75]) == pytest.approx([0.3, 0.4, 0.5], abs=0.04)


def test_ignored_pixels_do_not_count() -> None:
    truth = ellipse()
    ignore = np.zeros_like(truth)
    ignore[:, :70] = True
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = corrupted_to_iou(truth, low=0.4, high=0.5, rng=rng, ignore=ignore)
        assert found is not None
        assert 0.4 <= mask_iou(found.mask, truth, ignore=ignore) < 0.5
        assert found.iou == mask_iou(found.mask, truth, ignore=ignore)


@pytest.mark.parametrize(
    ("kind", "is_such"),
    [
        ("shrunk", lambda made, truth: not (made & ~truth).any()),
        ("grown", lambda made, truth: not (truth & ~made).any()),
        ("cut", lambda made, truth: not (made & ~truth).any()),
        ("shifted", lambda made, truth: made.sum() == truth.sum()),  # room enough on one side
    ],
)
def test_kinds_are_what_they_are_called(kind: str, is_such: Callable[[Mask, Mask], bool]) -> None:
    for seed in range(10):
        made = aimed(kind)(ellipse(), np.random.default_rng(seed))
        assert made is not None
        assert is_such(made, ellipse())


def test_a_box_that_is_filled_is_no_corruption() -> None:
    truth = np.zeros((10, 10), np.bool_)
    truth[2:5, 3:9] = True
    assert box_mask(truth) is None
    truth[2, 3] = False
    boxed = box_mask(truth)
    assert boxed is not None
    assert boxed[2:5, 3:9].all()
    assert boxed.sum() == 18


def test_a_polygon_has_few_corners_and_no_holes() -> None:
    truth = ellipse()
    truth[55:65, 65:75] = False
    made = coarse_polygon(truth, rng=np.random.default_rng(0))
    assert made is not None
    assert made[55:65, 65:75].all()
    assert 0.6 < mask_iou(made, truth) < 0.95


def test_parts_that_lie_apart_are_all_redrawn() -> None:
    parts = ellipse(), ellipse(centre_xy=(130, 100))
    made = coarse_polygon(parts[0] | parts[1], rng=np.random.default_rng(0))
    assert made is not None
    for part in parts:
        assert 0.6 < mask_iou(made & part, part) < 1


def test_a_single_pixel_cannot_shrink_but_can_grow() -> None:
    truth = np.zeros((9, 9), np.bool_)
    truth[4, 4] = True
    assert aimed("shrunk")(truth, np.random.default_rng(0)) is None
    assert aimed("cut")(truth, np.random.default_rng(0)) is None
    grown = aimed("grown")(truth, np.random.default_rng(0))
    assert grown is not None
    assert grown.sum() > 1


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.5, 1.1)])
def test_a_range_outside_the_iou_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= low < high <= 1"):
        corrupted_to_iou(ellipse(), low=low, high=high, rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_empty_truth_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        CORRUPTIONS[name](np.zeros((5, 5), np.bool_), np.random.default_rng(0))
