"""The predicted IoU as text: rendering and parsing are inverses, and every reader shares them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.prompting.predicted_iou import (
    join_predicted_iou,
    last_predicted_iou,
    parse_predicted_iou,
    render_predicted_iou,
    split_predicted_iou,
)

tenths_of_percent = st.integers(0, 1000).map(lambda tenths: float(f"{tenths / 10:.1f}") / 100)


@given(tenths_of_percent)
def test_parsing_inverts_rendering(iou: float) -> None:
    assert parse_predicted_iou(render_predicted_iou(iou)) == iou


@given(st.floats(0, 1))
def test_rendering_rounds_once_and_then_stays(iou: float) -> None:
    text = render_predicted_iou(iou)
    assert parse_predicted_iou(text) == pytest.approx(iou, abs=0.0005 + 1e-9)
    assert render_predicted_iou(parse_predicted_iou(text)) == text


@given(st.none() | tenths_of_percent, st.sampled_from(["Finish", "Positive point: (1, 2)", ""]))
def test_splitting_inverts_joining(iou: float | None, action: str) -> None:
    assert split_predicted_iou(join_predicted_iou(iou, action)) == (iou, action)


@given(tenths_of_percent, st.text(max_size=20))
def test_a_whole_text_is_read_as_its_beginning_is(iou: float, rest: str) -> None:
    text = join_predicted_iou(iou, rest)
    assert split_predicted_iou(text)[0] == iou
    if "IOU" not in rest:
        assert last_predicted_iou(text) == iou


@pytest.mark.parametrize("iou", [-0.001, 1.001, 85.2, float("nan")])
def test_an_iou_outside_0_to_1_is_not_rendered(iou: float) -> None:
    with pytest.raises(ValueError, match=rf"must be in \[0, 1\], got {iou}"):
        render_predicted_iou(iou)


@pytest.mark.parametrize(
    "text",
    ["", "85.2", "Current IOU: ", "Current IOU: 85.2, ", "Current IOU: .5", "current IOU: 85.2"],
)
def test_other_texts_are_not_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="expected Current IOU: <percent>"):
        parse_predicted_iou(text)


def test_more_than_100_percent_is_an_error_that_names_the_number() -> None:
    for parse in (parse_predicted_iou, lambda text: split_predicted_iou(f"{text}, Finish")):
        with pytest.raises(ValueError, match=r"the IoU is 100\.1, expected 0 to 100 percent"):
            parse("Current IOU: 100.1")


@pytest.mark.parametrize(
    ("text", "iou"),
    [
        ("Current IOU: 85.2, Positive point: (1, 2)", 0.852),
        ("Current IOU: 7, Finish", 0.07),
        ("Current IOU: 85.19999999999999, Finish", 0.8519999999999999),  # a float written out
        ("Current IOU: 10, no, Current IOU: 20, Finish", 0.2),  # the last one counts
        ("So. Current IOU: 99.0", 0.99),
        ("Current IOU: 101, Finish", None),
        ("Current IOU: 1.2.3, Finish", None),
        ("Current IOU: high, Finish", None),
        ("Positive point: (1, 2)", None),
        (None, None),
    ],
)
def test_last_predicted_iou_of_a_text(text: str | None, iou: float | None) -> None:
    assert last_predicted_iou(text) == iou
