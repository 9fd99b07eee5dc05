from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import builders
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.image_digest import check_same_image, image_digest
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import RejectReason

images = npst.arrays(
    np.uint8,
    st.tuples(st.integers(1, 7), st.integers(1, 7), st.just(3)),
    elements=st.integers(0, 3) | st.integers(0, 255),
)


@given(image=images, turns=st.integers(0, 3), is_mirrored=st.booleans())
def test_a_turned_or_mirrored_image_is_the_same(
    *, image: Image, turns: int, is_mirrored: bool
) -> None:
    other = np.rot90(image, turns)
    other = other[:, ::-1] if is_mirrored else other
    assert image_digest(other) == image_digest(image)


@given(images, st.data())
def test_another_pixel_makes_another_image(image: Image, data: st.DataObject) -> None:
    other = image.copy()
    place = tuple(data.draw(st.integers(0, size - 1)) for size in image.shape)
    other[place] ^= np.uint8(data.draw(st.integers(1, 255)))
    # A change may give a turned or mirrored copy.
    turned = [np.rot90(side, turns) for side in (other, other[:, ::-1]) for turns in range(4)]
    is_copy = any(np.array_equal(each, image) for each in turned)
    assert (image_digest(other) == image_digest(image)) is is_copy


@pytest.mark.parametrize("shape", [(4, 6, 3), (8, 3, 3), (1, 24, 3)])
def test_the_shape_counts(shape: tuple[int, int, int]) -> None:
    assert image_digest(np.zeros(shape, np.uint8)) != image_digest(np.zeros((2, 12, 3), np.uint8))


def test_the_digest_stays_what_it_is() -> None:
    # Made with this function: records of training data keep it for years.
    image = np.arange(300 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 40, 3)
    assert image_digest(image) == "d39760106f350a7322a03243b49c0ed3"


def test_an_image_is_compared_with_a_target_s_digest() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    target = builders.target(np.ones((4, 6), dtype=bool))
    check_same_image(image, target)
    recorded = replace(target, image_digest=image_digest(image))
    check_same_image(image, recorded)
    with pytest.raises(TargetError, match="has other pixels than when the run was made") as error:
        check_same_image(image + np.uint8(1), recorded)
    assert error.value.reason is RejectReason.CHANGED_IMAGE
