"""Logged clicks on the errors that people saw."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from hlmat.transforms.clickability.click_model import FEATURES
from hlmat.transforms.core.protocols import DatasetReader, Mask, TruthMasks
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.readers.click_logs import placing
from hlmat.transforms.readers.click_logs.placing import Masks, PlacedClicks, place_clicks
from hlmat.transforms.readers.click_logs.records import LoggedClick
from reader_fixtures import memory


def png(mask: Mask) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def square(x: int, y: int, side: int) -> Mask:
    mask = np.zeros((20, 30), dtype=np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


FILES = {
    "a.png": png(square(2, 2, 10)),
    "seen.png": png(square(7, 2, 10)),
    "none.png": png(square(0, 0, 0)),
    "small.png": png(square(2, 2, 10)[:15]),
    "text.png": b"text",
}
MASKS = Masks(memory(FILES), "data")


def click(line: int, x: float, y: float, **more: Any) -> LoggedClick:
    given = {"is_positive": True, "click": 1, "target": "a.png", "is_mask": True}
    return LoggedClick(line, x, y, **(given | more))


def place(*clicks: LoggedClick, masks: Masks = MASKS) -> PlacedClicks:
    return place_clicks(clicks, masks, seed=0)


def rejects(placed: PlacedClicks) -> list[tuple[int, str]]:
    return [(reject.line, str(reject.reason)) for reject in placed.rejects]


def test_clicks_on_one_error_are_together_and_on_the_pixel_that_contains_them() -> None:
    placed = place(click(2, 2.9, 2.0), click(3, 7, 6.2), click(4, 11.99, 11, image="cup"))
    assert placed.rejects == []
    (error,) = placed.errors
    assert (error.count, error.image, len(error.pixels)) == (100, "a.png", 100)
    depth = error.clicked[:, list(FEATURES).index("depth")] * 5
    assert depth == pytest.approx([1, 5, 1])


def test_the_mask_that_the_person_saw_makes_another_error() -> None:
    seen = {"previous_mask": "seen.png", "click": 2}
    placed = place(
        click(2, 3, 3),
        click(3, 3, 3, **seen),
        click(4, 15, 3, is_positive=False, **seen),
        click(5, 3, 3, click=2, previous_mask="none.png"),
    )
    assert placed.rejects == []
    assert [(error.count, len(error.clicked)) for error in placed.errors] == [
        (100, 1),
        (100, 2),
        (100, 1),
    ]
    missed = list(FEATURES).index("missed")
    assert placed.errors[1].clicked[:, missed].tolist() == [1, 0]


def test_each_click_that_cannot_be_placed_is_rejected_with_its_line() -> None:
    seen = {"previous_mask": "seen.png", "click": 2}
    placed = place(
        click(2, 30, 3),
        click(3, -0.1, 3),
        click(4, 0, 0),
        click(5, 8, 3, **seen),
        click(6, 3, 3, is_positive=False),
        click(7, 15, 3, **seen),
        click(8, 3, 3, click=2),
        click(9, 3, 3, target="b.png"),
        click(10, 3, 3, target="../a.png"),
        click(11, 3, 3, target="text.png"),
        click(12, 3, 3, previous_mask="small.png"),
        click(13, 3, 3, previous_mask="b.png"),
        click(14, 3, 3, target="none.png"),
    )
    assert placed.errors == []
    assert rejects(placed) == [
        (2, "outside_image"),
        (3, "outside_image"),
        (4, "outside_error"),
        (5, "outside_error"),
        (6, "wrong_label"),
        (7, "wrong_label"),
        (8, "no_previous_mask"),
        *((line, "unusable_mask") for line in range(9, 15)),
    ]
    messages = {reject.line: reject.message for reject in placed.rejects}
    assert messages[2] == "(30, 3) is outside the image of 30 x 20 pixels"
    assert messages[6] == "(3, 3) is missed, so a click there is positive"
    assert messages[7] == "(15, 3) is wrongly included, so a click there is negative"
    assert messages[9] == "data/b.png does not exist"
    assert messages[12] == "previous_mask small.png has 30 x 15 pixels, the object's mask 30 x 20"


def test_clicks_on_a_shown_size_are_scaled() -> None:
    placed = place(click(2, 58, 59, size_wh=(300, 200)), click(3, 10, 10, size_wh=(300, 200)))
    assert rejects(placed) == [(3, "outside_error")]
    assert len(placed.errors[0].clicked) == 1


class Targets:
    """Lists targets by id and image, all with one mask."""

    name, split = "made", "test"

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    def read_targets(self) -> Iterator[TargetRef]:
        for number, (target_id, image) in enumerate(self._pairs):
            yield TargetRef(
                target_id, "made", "test", image, image, None, number, ("it",), "{}", "none"
            )

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        return TruthMasks(square(2, 2, 10), square(2, 2, 3))


def of_data_set(*pairs: tuple[str, str], is_by_stem: bool = False) -> Masks:
    reader = cast("DatasetReader", Targets(*pairs))
    return Masks(memory(FILES), "data", reader, is_by_stem)


def test_targets_of_a_data_set_are_looked_up_by_id() -> None:
    masks = of_data_set(("t#0", "img/cup.jpg"), ("t#1", "img/cup.jpg"))
    placed = place(
        click(2, 8, 8, target="t#1", is_mask=False),
        click(3, 8, 8, target="t#2", is_mask=False),
        click(4, 3, 3, target="t#0", is_mask=False),
        masks=masks,
    )
    assert [error.image for error in placed.errors] == ["img/cup.jpg"]
    # Line 4 is on an ignored pixel.
    assert rejects(placed) == [(3, "unknown_target"), (4, "outside_error")]
    assert placed.rejects[0].message == "'t#2' is no target of made, split test"


def test_rclicks_names_targets_by_the_stem_of_their_image() -> None:
    masks = of_data_set(
        ("1", "img/cup.jpg"), ("2", "img/two.jpg"), ("3", "img/two.jpg"), is_by_stem=True
    )
    placed = place(
        click(2, 8, 8, target="cup", is_mask=False),
        click(3, 8, 8, target="cup#7", is_mask=False),
        click(4, 8, 8, target="two", is_mask=False),
        masks=masks,
    )
    assert len(placed.errors) == 2
    assert rejects(placed) == [(4, "ambiguous_target")]


def test_many_errors_are_represented_by_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "MAX_PIXELS", 40)
    monkeypatch.setattr(placing, "_MIN_PIXELS", 10)
    assert len(place(click(2, 8, 8)).errors[0].pixels) == 40
    monkeypatch.setattr(placing, "MAX_VALUES", 1)
    assert len(place(click(2, 8, 8)).errors[0].pixels) == 10
