"""The wire format: exact both ways, and strict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hlmat.transforms.core.protocols import Request
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.remote.wire import (
    AskedTarget,
    AskedTargets,
    ServedSegmenter,
    StatedAnswer,
    StatedAnswers,
    image_key,
    pack_image,
    unpack_image,
)

SIDES = st.integers(1, 8)
IMAGES = st.tuples(SIDES, SIDES).flatmap(lambda hw: arrays.arrays(np.uint8, (*hw, 3)))
PIXELS = st.integers(-5, 2**31 - 1)
CLICKS = st.builds(Click, PIXELS, PIXELS, st.booleans())
BOXES = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h),
    *[st.integers(0, 1000)] * 2,
    *[st.integers(1, 1000)] * 2,
)
KEY = "0" * 64


@given(IMAGES)
def test_images_survive(image: np.ndarray) -> None:
    found = unpack_image(pack_image(image), key=image_key(image), size_hw=image.shape[:2])
    np.testing.assert_array_equal(found, image)


@given(IMAGES)
def test_rows_in_another_order_in_memory_are_the_same_image(image: np.ndarray) -> None:
    other = np.asfortranarray(image)
    assert (image_key(other), pack_image(other)) == (image_key(image), pack_image(image))


def test_the_size_belongs_to_the_key() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert image_key(pixels) != image_key(pixels.reshape(3, 2, 3))


@given(st.lists(CLICKS, max_size=4), st.none() | BOXES, st.none() | st.just("a-1"))
def test_requests_survive(clicks: list[Click], box: Box | None, feedback: str | None) -> None:
    request = Request(tuple(clicks), box, None)
    asked = AskedTargets(requests=[AskedTarget.of(KEY, request, feedback)])
    (found,) = AskedTargets.parse(asked.to_bytes()).requests
    assert (found.image, found.feedback, found.request(None)) == (KEY, feedback, request)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_scores_survive_to_the_last_bit(score: float) -> None:
    stated = StatedAnswers(answers=[StatedAnswer(counts="04", score=score)])
    (found,) = StatedAnswers.parse(stated.to_bytes()).answers
    assert found.score is not None
    assert found.score.hex() == score.hex()


def served(**changes: object) -> ServedSegmenter:
    values = {
        "protocol": 2,
        "version": "1",
        "identity": {"name": "x", "scale": 0.5, "bf16": False, "weights_sha256": None},
        "device": "cpu",
        "encodes_images": True,
        "takes_masks": False,
        "takes_boxes": True,
    }
    return ServedSegmenter.model_validate({**values, **changes})


def test_a_digest_is_that_of_what_determines_answers() -> None:
    assert served().digest() == ServedSegmenter.parse(served().to_bytes()).digest()
    assert served(version="2").digest() == served().digest()
    assert served(identity={"name": "y"}).digest() != served().digest()
    assert served(device="cuda").digest() != served().digest()


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"answers": [{"score": "1"}]}'])
def test_other_content_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        StatedAnswers.parse(body)
