"""Zooming in: the crop's arithmetic against its definition, and clicks inside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hlmat.transforms.core.records import Click
from hlmat.transforms.segmenters.simpleclick.zoom import (
    NETWORK_SIDE,
    UNUSED_ROW,
    Crop,
    next_crop,
    object_crop,
    overlap,
    point_rows,
    rows_needed,
)

SIZE_HW = (700, 900)
WHOLE = Crop(0, 699, 0, 899)


def rectangle(crop: Crop, *, size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.float32]:
    """A map that is high in a rectangle and nowhere else."""
    probabilities = np.full(size_hw, 0.5, np.float32)
    probabilities[crop.slices] = 0.51
    return probabilities


@st.composite
def crops(draw: st.DrawFn, *, size_hw: tuple[int, int] = SIZE_HW) -> Crop:
    rows = sorted(draw(st.lists(st.integers(0, size_hw[0] - 1), min_size=2, max_size=2)))
    columns = sorted(draw(st.lists(st.integers(0, size_hw[1] - 1), min_size=2, max_size=2)))
    return Crop(rows[0], rows[1], columns[0], columns[1])


@st.composite
def click_lists(draw: st.DrawFn) -> tuple[Click, ...]:
    one = st.builds(
        Click, st.integers(0, SIZE_HW[1] - 1), st.integers(0, SIZE_HW[0] - 1), st.booleans()
    )
    return tuple(draw(st.lists(one, min_size=1, max_size=5)))


def test_a_crop_counts_its_last_row_and_column():
    crop = Crop(2, 4, 10, 10)
    assert crop.size_hw == (3, 1)
    assert np.arange(200).reshape(10, 20)[crop.slices].tolist() == [[50], [70], [90]]
    assert Crop.whole((7, 9)) == (0, 6, 0, 8)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((300, 300), (200, 400)),  # one row: 200 pixels around it are 201 rows
        ((300, 301), (200, 400)),  # 200.5 and 400.5 go to the even number below
        ((301, 302), (202, 402)),  # 201.5 and 401.5 go to the even number above
        ((0, 10), (0, 105)),  # cut at the top
        ((650, 699), (574, 699)),  # 574.5 to the even number, cut at the bottom
        ((200, 399), (160, 440)),  # 1.4 times 200 rows: 159.5 and 439.5
        ((0, 699), (0, 699)),  # never more than the image
    ],
)
def test_the_crop_grows_by_its_rule(rows: tuple[int, int], expected: tuple[int, int]):
    turned = (rows[0] + 100, rows[1] + 100)
    crop = object_crop((), size_hw=SIZE_HW, probabilities=rectangle(Crop(*rows, *turned)))
    assert crop[:2] == expected
    columns = object_crop(
        (), size_hw=(SIZE_HW[1], SIZE_HW[0]), probabilities=rectangle(Crop(*rows, *turned)).T
    )
    assert columns[2:] == expected


def test_probabilities_of_one_half_are_no_object():
    everywhere = np.full(SIZE_HW, 0.5, np.float32)
    clicks = (Click(5, 6, True),)
    assert object_crop(clicks, size_hw=SIZE_HW, probabilities=everywhere) == WHOLE
    everywhere[300, 400] = np.nextafter(np.float32(0.5), np.float32(1))
    assert object_crop((), size_hw=SIZE_HW, probabilities=everywhere) == (200, 400, 300, 500)


def test_positive_clicks_belong_to_the_object_and_negative_ones_do_not():
    spot = rectangle(Crop(300, 300, 400, 400))
    near = object_crop((Click(800, 100, False),), size_hw=SIZE_HW, probabilities=spot)
    assert near == (200, 400, 300, 500)
    far = object_crop((Click(800, 100, True),), size_hw=SIZE_HW, probabilities=spot)
    assert far == (59, 341, 319, 881)


@given(crops(), click_lists())
def test_the_crop_holds_object_and_positive_clicks_and_little_more(
    where: Crop, clicks: tuple[Click, ...]
):
    crop = object_crop(clicks, size_hw=SIZE_HW, probabilities=rectangle(where))
    positive = [c for c in clicks if c.is_positive]
    y = [where.row_min, where.row_max, *(c.y for c in positive)]
    x = [where.col_min, where.col_max, *(c.x for c in positive)]
    assert 0 <= crop.row_min <= min(y) <= max(y) <= crop.row_max < SIZE_HW[0]
    assert 0 <= crop.col_min <= min(x) <= max(x) <= crop.col_max < SIZE_HW[1]
    for values, side in ((y, crop.size_hw[0]), (x, crop.size_hw[1])):
        assert 5 * (side - 2) <= max(5 * 200, 7 * (max(values) - min(values) + 1))


@given(crops(), crops())
def test_overlap_is_the_product_of_two_interval_ious(a: Crop, b: Crop):
    assert overlap(a, b) == overlap(b, a)
    assert overlap(a, a) == 1
    shares = []
    for start in (0, 2):
        one = set(range(a[start], a[start + 1] + 1))
        other = set(range(b[start], b[start + 1] + 1))
        shares.append(len(one & other) / len(one | other))
    # The union is their hull; where they are apart the intersection is 0 anyway.
    assert overlap(a, b) == pytest.approx(shares[0] * shares[1], abs=1e-12)


def test_a_new_target_is_shown_the_whole_image():
    assert next_crop((Click(5, 6, True),), size_hw=(1, 9)) == (0, 0, 0, 8)
    nothing = np.zeros(SIZE_HW, np.float32)
    kept = Crop(0, 200, 0, 200)
    clicks = (Click(5, 6, True),)
    assert next_crop(clicks, size_hw=SIZE_HW, probabilities=nothing, kept=kept) == WHOLE


@pytest.mark.parametrize(
    ("click", "stays"),
    [
        (Click(300, 200, True), True),  # the first row and column are inside
        (Click(599, 499, True), True),
        (Click(600, 300, True), False),  # the last column counts as outside
        (Click(400, 500, True), False),  # and so does the last row
        (Click(299, 300, True), False),
        (Click(400, 199, True), False),
        (Click(899, 699, False), True),  # a negative click moves nothing
    ],
)
def test_only_a_positive_click_outside_moves_the_crop(click: Click, stays: bool):
    kept = Crop(200, 500, 300, 600)
    found = rectangle(Crop(250, 450, 350, 550))
    crop = next_crop((click,), size_hw=SIZE_HW, probabilities=found, kept=kept)
    assert (crop == kept) is stays
    assert stays or crop == object_crop((click,), size_hw=SIZE_HW, probabilities=found)


def test_the_crop_moves_below_half_an_overlap():
    spot = rectangle(Crop(300, 300, 400, 400))
    inside = (Click(400, 300, True),)
    here = object_crop(inside, size_hw=SIZE_HW, probabilities=spot)
    half = here._replace(col_max=here.col_min + 401)
    assert overlap(here, half) == 0.5
    more = half._replace(col_max=half.col_max + 1)
    assert overlap(here, more) < 0.5
    assert next_crop(inside, size_hw=SIZE_HW, probabilities=spot, kept=half) == half
    assert next_crop(inside, size_hw=SIZE_HW, probabilities=spot, kept=more) == here


@given(crops(), crops(), click_lists())
def test_the_next_crop_is_the_kept_one_or_the_objects(
    where: Crop, kept: Crop, clicks: tuple[Click, ...]
):
    probabilities = rectangle(where)
    crop = next_crop(clicks, size_hw=SIZE_HW, probabilities=probabilities, kept=kept)
    assert crop in (kept, object_crop(clicks, size_hw=SIZE_HW, probabilities=probabilities))
    again = next_crop(clicks, size_hw=SIZE_HW, probabilities=probabilities, kept=crop)
    if all(c.is_positive is False for c in clicks):
        assert again == crop


def test_rows_come_by_sign_with_their_place_in_the_sequence():
    clicks = (Click(30, 40, True), Click(10, 20, False), Click(50, 60, True))
    crop = Crop(20, 243, 10, 457)
    assert rows_needed(clicks) == 2
    assert point_rows(clicks, crop, rows_per_sign=2) == [
        (40.0, 20.0, 0.0),
        (80.0, 40.0, 2.0),
        (0.0, 0.0, 1.0),
        UNUSED_ROW,
    ]
    turned = point_rows(clicks, crop, rows_per_sign=2, mirrored=True)
    assert turned == [(40.0, 427.0, 0.0), (80.0, 407.0, 2.0), (0.0, 447.0, 1.0), UNUSED_ROW]


def test_coordinates_are_not_rounded():
    row = point_rows((Click(2, 1, True),), Crop(0, 2, 0, 6), rows_per_sign=1)[0]
    assert row == (448 * 1 / 3, 448 * 2 / 7, 0.0)


def test_a_negative_click_outside_keeps_its_negative_coordinates():
    rows = point_rows((Click(5, 90, False),), Crop(100, 199, 10, 109), rows_per_sign=1)
    assert rows[1] == pytest.approx((-44.8, -22.4, 0))


@given(crops(), click_lists(), st.integers(0, 3))
def test_rows_lead_back_to_the_clicks(crop: Crop, clicks: tuple[Click, ...], spare: int):
    count = rows_needed(clicks) + spare
    rows = point_rows(clicks, crop, rows_per_sign=count)
    turned = point_rows(clicks, crop, rows_per_sign=count, mirrored=True)
    assert len(rows) == len(turned) == 2 * count
    height, width = crop.size_hw
    found: dict[float, Click] = {}
    for place, (row, mirror) in enumerate(zip(rows, turned, strict=True)):
        if row == UNUSED_ROW:
            assert mirror == UNUSED_ROW
            continue
        assert row[0] == mirror[0]
        assert row[1] + mirror[1] == pytest.approx(NETWORK_SIDE - 1)
        y = crop.row_min + row[0] * height / NETWORK_SIDE
        x = crop.col_min + row[1] * width / NETWORK_SIDE
        assert y == pytest.approx(round(y), abs=1e-6)
        found[row[2]] = Click(round(x), round(y), place < count)
    assert tuple(found[i] for i in range(len(clicks))) == clicks
