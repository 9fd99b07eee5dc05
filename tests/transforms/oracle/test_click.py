"""The oracle's click is RITM's, on small masks and large ones, easy and hard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.oracle.click import error_regions, oracle_click


@contextmanager
def opencv_algorithm() -> Iterator[None]:
    """Keep Intel's transform from standing in for OpenCV's.

    It does so on small images, or where there is a single thread, and rounds equal distances
    apart in the last bit, differently for every place in memory.
    """
    ipp = getattr(cv2, "ipp", None)
    before = ipp is not None and ipp.useIPP()
    if ipp is not None:
        ipp.setUseIPP(False)
    try:
        yield
    finally:
        if ipp is not None:
            ipp.setUseIPP(before)


def transcribed_click(
    prediction: Mask, truth: Mask, *, ignore: Mask | None = None, clicked: Sequence[Click] = ()
) -> Click | None:
    """Write the definition down plainly: transform all, take the first greatest."""
    valid = np.ones_like(truth) if ignore is None else ~ignore
    depths: list[NDArray[np.float32]] = []
    for region in (truth & ~prediction & valid, prediction & ~truth & valid):
        padded = np.pad(region, 1).astype(np.uint8)
        with opencv_algorithm():
            depth = cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1].astype(np.float32)
        for click in clicked:
            depth[click.y, click.x] = 0
        depths.append(depth)
    is_positive = bool(depths[0].max() > depths[1].max())
    depth = depths[0] if is_positive else depths[1]
    rows, columns = np.where(depth == depth.max())
    return Click(int(columns[0]), int(rows[0]), is_positive) if depth.max() > 0 else None


def drawn_mask(rng: np.random.Generator, size_hw: tuple[int, int]) -> Mask:
    """Draw blobs, lines, bars, noise, or nothing but a flat field."""
    height, width = size_hw
    rows, columns = np.mgrid[:height, :width]
    kind = int(rng.integers(9))
    canvas = np.zeros(size_hw, dtype=np.uint8)
    if kind < 4:
        for i in range(int(rng.integers(1, 6))):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            axes = (int(rng.integers(1, width // 2 + 2)), int(rng.integers(1, height // 2 + 2)))
            cv2.ellipse(canvas, centre, axes, float(rng.integers(180)), 0, 360, int(i != 1), -1)
        return canvas.astype(np.bool_)
    if kind == 4:
        for _ in range(3):
            ends = [(int(rng.integers(width)), int(rng.integers(height))) for _ in range(2)]
            cv2.line(canvas, ends[0], ends[1], 1, int(rng.integers(1, 4)))
        return canvas.astype(np.bool_)
    period = int(rng.integers(1, 40))
    return [
        np.ones(size_hw, dtype=np.bool_),
        np.zeros(size_hw, dtype=np.bool_),
        (rows // period + columns // period) % 2 == 0,
        rng.random(size_hw) < rng.random(),
    ][kind - 5]


def drawn_case(
    rng: np.random.Generator, size_hw: tuple[int, int]
) -> tuple[Mask, Mask, Mask | None, list[Click]]:
    """Draw prediction, truth, ignored pixels and clicks already made."""
    height, width = size_hw
    prediction, truth = drawn_mask(rng, size_hw), drawn_mask(rng, size_hw)
    ignore = drawn_mask(rng, size_hw) & ~truth if rng.random() < 0.3 else None
    clicked = [
        Click(int(rng.integers(width)), int(rng.integers(height)), bool(rng.random() < 0.5))
        for _ in range(int(rng.integers(4)))
    ]
    return prediction, truth, ignore, clicked


@pytest.mark.parametrize("seed", range(12))
def test_clicks_are_those_of_the_transcription_on_small_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        height, width = (int(n) for n in rng.integers(1, 150, 2))
        prediction, truth, ignore, clicked = drawn_case(rng, (height, width))
        ours = oracle_click(prediction, truth, ignore=ignore, clicked=clicked)
        plain = transcribed_click(prediction, truth, ignore=ignore, clicked=clicked)
        assert ours == plain


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_clicks_are_those_of_the_transcription_on_any_mask(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=20))
    prediction, truth, ignore = (data.draw(arrays(np.bool_, shape)) for _ in range(3))
    ours = oracle_click(prediction, truth, ignore=ignore)
    assert ours == transcribed_click(prediction, truth, ignore=ignore)


@pytest.mark.parametrize("size_hw", [(480, 640), (333, 1001), (1225, 1633)])
def test_clicks_are_those_of_the_transcription_on_large_masks(size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    for _ in range(8 if size_hw[0] > 1000 else 25):
        prediction, truth, ignore, clicked = drawn_case(rng, size_hw)
        ours = oracle_click(prediction, truth, ignore=ignore, clicked=clicked)
        plain = transcribed_click(prediction, truth, ignore=ignore, clicked=clicked)
        assert ours == plain


@pytest.mark.parametrize("size_hw", [(40, 60), (180, 240)])
def test_twenty_clicks_in_a_row(size_hw: tuple[int, int]) -> None:
    """Each click turns a disc right, as a segmenter would; nothing is clicked twice."""
    rng = np.random.default_rng(3)
    truth, prediction = drawn_mask(rng, size_hw), drawn_mask(rng, size_hw)
    clicked: list[Click] = []
    for i in range(20):
        click = oracle_click(prediction, truth, clicked=clicked)
        assert click == transcribed_click(prediction, truth, clicked=clicked)
        if click is None:
            break
        assert (click.x, click.y) not in {(c.x, c.y) for c in clicked}
        clicked.append(click)
        if i % 2:
            disc = np.zeros(size_hw, dtype=np.uint8)
            cv2.circle(disc, (click.x, click.y), 6, 1, -1)
            prediction = np.where(disc.astype(np.bool_), truth, prediction)


def test_real_masks(shared_data: Path) -> None:
    for path in sorted((shared_data / "iseg/DAVIS/gt").glob("*.png"))[:4]:
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        truth = (mask if mask.ndim == 2 else mask.max(axis=2)) > 0
        coarse = cv2.blur(truth.astype(np.float32), (61, 61)) > 0.5
        for prediction in (np.zeros_like(truth), coarse, ~truth):
            assert oracle_click(prediction, truth) == transcribed_click(prediction, truth)


def region(*rectangles: tuple[int, int, int, int], size_hw: tuple[int, int] = (30, 40)) -> Mask:
    mask = np.zeros(size_hw, dtype=np.bool_)
    for x0, y0, x1, y1 in rectangles:
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize("scale", [1, 8], ids=["small", "large"])
def test_a_tie_goes_to_the_false_positives(scale: int) -> None:
    truth = region((2, 2, 7, 7)).repeat(scale, 0).repeat(scale, 1)
    prediction = region((20, 20, 25, 25)).repeat(scale, 0).repeat(scale, 1)
    click = oracle_click(prediction, truth)
    assert click is not None
    assert not click.is_positive
    swapped = oracle_click(truth, prediction)
    assert swapped is not None
    assert not swapped.is_positive
    assert swapped.x < click.x


@pytest.mark.parametrize("size_hw", [(30, 40), (300, 400)], ids=["small", "large"])
def test_of_equally_deep_pixels_the_first_row_wins(size_hw: tuple[int, int]) -> None:
    truth = region((20, 2, 25, 7), (2, 3, 7, 8), (2, 20, 7, 25), size_hw=size_hw)
    assert oracle_click(np.zeros_like(truth), truth) == Click(22, 4, True)


def test_the_image_s_edge_makes_nothing_deeper() -> None:
    """Without the padding the corner would be the deepest."""
    truth = np.ones((5, 5), dtype=np.bool_)
    assert oracle_click(np.zeros_like(truth), truth) == Click(2, 2, True)


@pytest.mark.parametrize("size_hw", [(30, 40), (300, 400)], ids=["small", "large"])
def test_without_an_error_there_is_no_click(size_hw: tuple[int, int]) -> None:
    truth = region((5, 5, 9, 9), size_hw=size_hw)
    assert oracle_click(truth, truth) is None


@pytest.mark.parametrize("size_hw", [(30, 40), (300, 400)], ids=["small", "large"])
def test_an_error_clicked_everywhere_leaves_no_click(size_hw: tuple[int, int]) -> None:
    truth = region((5, 5, 7, 6), size_hw=size_hw)
    clicked = [Click(5, 5, True), Click(6, 5, True)]
    assert oracle_click(np.zeros_like(truth), truth, clicked=clicked) is None


@pytest.mark.parametrize("size_hw", [(30, 40), (300, 400)], ids=["small", "large"])
def test_ignored_pixels_are_no_error(size_hw: tuple[int, int]) -> None:
    truth = region((5, 5, 9, 9), size_hw=size_hw)
    prediction = truth | region((15, 15, 25, 25), size_hw=size_hw)
    assert oracle_click(prediction, truth, ignore=~truth) is None


def test_error_regions_leave_ignored_pixels_out() -> None:
    prediction = np.array([[True, True, False, False]])
    truth = np.array([[True, False, True, True]])
    ignore = np.array([[False, False, False, True]])
    false_negative, false_positive = error_regions(prediction, truth, ignore=ignore)
    assert false_negative.tolist() == [[False, False, True, False]]
    assert false_positive.tolist() == [[False, True, False, False]]


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), r"prediction .* shape \(3, 2\).*\(2, 3\)"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), "prediction must be bool.*uint8"),
        (np.zeros(3, bool), np.zeros(3, bool), r"truth must be bool of shape \(H, W\)"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        oracle_click(prediction, truth)
