"""Pages of image files, and what Pillow turns by itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.image_files import load_pixels, number_of_pages
from hlmat.transforms.masks.images import MaskRule, decode_mask_image

FIRST = np.zeros((12, 16), np.uint8)
FIRST[2:6, 2:8] = 255


def paged(kind: str, *more: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    others = [PilImage.fromarray(page) for page in more]
    PilImage.fromarray(FIRST).save(stream, kind, save_all=True, append_images=others, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_mask_of_several_pages_is_refused(kind: str) -> None:
    data = paged(kind, FIRST[:, ::-1].copy(), FIRST[::-1].copy())
    assert number_of_pages(data) == 3
    with pytest.raises(TargetError, match=r"a\.tif has several pages or frames") as error:
        decode_mask_image(data, name="a.tif", rule=MaskRule.TWO_LEVELS)
    assert error.value.reason is RejectReason.AMBIGUOUS_MASK
    assert number_of_pages(paged(kind)) == 1


def test_reduced_copies_and_previews_are_no_pages() -> None:
    data = paged("TIFF", FIRST[::2, ::2].copy(), FIRST[::4, ::4].copy())
    assert number_of_pages(data) == 1
    truth = decode_mask_image(data, name="a", rule=MaskRule.TWO_LEVELS).truth
    np.testing.assert_array_equal(truth, FIRST > 0)
    assert number_of_pages(paged("MPO", FIRST)) == 1


@pytest.mark.parametrize("data", [b"", b"no image", paged("TIFF", FIRST)[:60]])
def test_what_cannot_be_read_has_one_page(data: bytes) -> None:
    assert number_of_pages(data) == 1


@pytest.mark.parametrize("mode", ["L", "I;16", "1", "RGB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_as_stored_with_its_tag(orientation: int, mode: str) -> None:
    image = PilImage.fromarray(FIRST).convert(mode)
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, "TIFF", exif=exif)
    reason = RejectReason.UNREADABLE_IMAGE
    loaded = load_pixels(stream.getvalue(), name="a", max_pixels=1000, reason=reason)
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(image))
    assert loaded.format == "TIFF"
    assert loaded.getexif().get(0x0112, 1) == orientation
