"""The record of the size at which a model sees images, and how two of them differ."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.prompting.coordinates import CODECS, build_codec
from hlmat.transforms.prompting.frame import UNKNOWN, Frame, parse_frame
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.resizes import RESIZES

TRAINED = Frame.of(
    build_codec("pixels", resize=RESIZES["qwen2-vl"]), StateView(max_side=448, max_pixels=300_000)
)


@given(
    st.sampled_from(sorted(CODECS)),
    st.sampled_from(sorted(RESIZES)),
    st.none() | st.integers(1, 10**6),
)
def test_a_record_gives_the_same_frame(codec: str, processor: str, area: int | None) -> None:
    frame = Frame.of(build_codec(codec, resize=RESIZES[processor]), StateView(max_pixels=area))
    assert parse_frame(frame.record()) == frame
    assert frame.mismatch(frame) is None


def test_a_record_holds_the_limits() -> None:
    assert TRAINED.record() == {
        "codec": "pixels",
        "order": "xy",
        "image_max_pixels": 448 * 448,
        "processor": {"factor": 28, "min_pixels": 3136, "max_pixels": 1003520},
    }
    assert Frame.of(build_codec("pixels"), StateView()).record()["processor"] == UNKNOWN


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"codec": "decimal"}, "codec pixels in the order xy, but is asked in codec decimal in"),
        ({"order": "row_column"}, "but is asked in codec pixels in the order row_column; give"),
        (
            {"processor": UNKNOWN},
            "resizes by multiples of 28, 3136 to 1003520 pixels, but is asked in pixels of images "
            "resized by an unknown rule; give --processor as in the training",
        ),
        (
            {"image_max_pixels": 768 * 768},
            "pixels of images of up to 448 x 448 (200704 pixels), but is shown images of up to 768 "
            "x 768 (589824 pixels); give --max-pixels 200704",
        ),
        ({"image_max_pixels": None}, "but is shown images of any size; give --max-pixels 200704"),
    ],
)
def test_what_moves_answers_is_named(change: dict[str, Any], part: str) -> None:
    problem = TRAINED.mismatch(replace(TRAINED, **change))
    assert problem is not None
    assert part in problem


def test_smaller_images_and_relative_codecs_of_any_size_fit() -> None:
    assert TRAINED.mismatch(replace(TRAINED, image_max_pixels=1000)) is None
    relative = replace(TRAINED, codec="decimal")
    assert relative.mismatch(replace(relative, image_max_pixels=None, processor=UNKNOWN)) is None


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"codec": "pixels"},
        {**TRAINED.record(), "image_max_pixels": "big"},
        {**TRAINED.record(), "image_max_pixels": True},
        {**TRAINED.record(), "processor": None},
        {**TRAINED.record(), "processor": {"factor": 0}},
    ],
)
def test_a_damaged_record_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_frame(content)


def test_a_model_is_asked_in_the_dialogue_of_its_training() -> None:
    codec = build_codec("zero_to_1000")
    trained = Frame.of(codec, StateView(), dialogue="tools")
    assert trained.record()["dialogue"] == "tools"
    assert parse_frame(json.loads(json.dumps(trained.record()))) == trained
    assert trained.mismatch(trained) is None
    assert trained.mismatch(Frame.of(codec, StateView())) == (
        "the dialogue tools, but is asked in the dialogue segagent; give --dialogue tools, or "
        "--recipe with the recipe of the training"
    )
    assert "dialogue" not in Frame.of(codec, StateView()).record()
