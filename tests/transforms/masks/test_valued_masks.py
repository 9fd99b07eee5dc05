from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PilImage

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import TruthMasks
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.images import decode_levels, decode_mask_image
from hlmat.transforms.masks.mask_values import MaskValues
from hlmat.transforms.masks.valued_masks import list_levels

GREY = np.zeros((90, 120), np.uint8)
GREY[8:40, 8:40] = 13
GREY[48:80, 8:48] = 140
GREY[48:80, 56:104] = 255


def encode(image: PilImage.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def voc() -> bytes:
    image = PilImage.fromarray(GREY).convert("P")
    image.putdata(GREY.ravel().tolist())
    table = [0, 0, 0] * 256
    for index, colour in ((13, (64, 0, 128)), (140, (0, 128, 0)), (255, (224, 224, 192))):
        table[3 * index : 3 * index + 3] = colour
    image.putpalette(table)
    return encode(image)


FILES = {
    "grey": encode(PilImage.fromarray(GREY)),
    "16 bit": encode(PilImage.fromarray(GREY.astype(np.uint16))),
    "palette": voc(),
    "colours": encode(PilImage.open(io.BytesIO(voc())).convert("RGB")),
    "jpeg": encode(PilImage.fromarray(GREY), "JPEG"),
    "colour jpeg": encode(PilImage.open(io.BytesIO(voc())).convert("RGB"), "JPEG"),
}


def read(data: bytes, text: str) -> TruthMasks:
    return decode_mask_image(data, name="m.png", rule=MaskValues.parse(text))


@pytest.mark.parametrize("file", ["grey", "16 bit", "palette", "jpeg"])
@pytest.mark.parametrize(
    ("text", "objects", "void"),
    [
        ("object=13", [13], []),
        ("object=13,void=255", [13], [255]),
        ("object=13,140,void=255", [13, 140], [255]),
        ("object=100-200", [140], []),
        ("object=0", [0], []),
        ("void=13,255", [140], [13, 255]),
    ],
)
def test_numbers(file: str, text: str, objects: list[int], void: list[int]) -> None:
    masks = read(FILES[file], text)
    wrong = np.count_nonzero(masks.truth != np.isin(GREY, objects))
    assert wrong <= (200 if file == "jpeg" else 0)
    if not void:
        assert masks.ignore is None
    else:
        assert masks.ignore is not None
        assert not (masks.truth & masks.ignore).any()
        if file != "jpeg":
            np.testing.assert_array_equal(masks.ignore, np.isin(GREY, void))


@pytest.mark.parametrize("file", ["palette", "colours", "colour jpeg"])
def test_colours(file: str) -> None:
    masks = read(FILES[file], "object=#400080,void=#E0E0C0")
    assert masks.ignore is not None
    is_lossy = file == "colour jpeg"
    assert np.count_nonzero(masks.truth != (GREY == 13)) <= (150 if is_lossy else 0)
    assert np.count_nonzero(masks.ignore != (GREY == 255)) <= (150 if is_lossy else 0)


def test_a_grey_given_as_a_colour() -> None:
    np.testing.assert_array_equal(read(FILES["grey"], "object=#0D0D0D").truth, GREY == 13)


def test_a_number_in_a_colour_image_is_a_grey() -> None:
    values = np.zeros((4, 6, 3), np.uint8)
    values[1, 2] = 200
    values[2, 3] = (200, 0, 0)
    truth = read(encode(PilImage.fromarray(values)), "object=200").truth
    assert np.argwhere(truth).tolist() == [[1, 2]]


def test_a_missing_level_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(TargetError) as error:
        read(FILES["grey"], "object=7")
    assert error.value.reason is RejectReason.EMPTY_MASK
    assert error.value.message == "m.png has no pixel of object=7; its levels are 0, 13, 140, 255"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("void=255", RejectReason.AMBIGUOUS_MASK), ("void=0-255", RejectReason.EMPTY_MASK)],
)
def test_what_void_alone_leaves(text: str, reason: RejectReason) -> None:
    with pytest.raises(TargetError) as error:
        read(FILES["grey"], text)
    assert error.value.reason is reason


@pytest.mark.parametrize(
    ("file", "text", "labels"),
    [
        ("grey", "classes", ["13", "140", "255"]),
        ("grey", "instances,void=255", ["13", "140"]),
        ("grey", "classes,background=13", ["0", "140", "255"]),
        ("grey", "classes,background=none", ["0", "13", "140", "255"]),
        ("palette", "classes,void=#E0E0C0", ["13", "140"]),
        ("colours", "classes", ["#008000", "#400080", "#E0E0C0"]),
        ("jpeg", "classes", ["13", "140", "255"]),
    ],
)
def test_levels_that_are_targets(file: str, text: str, labels: list[str]) -> None:
    values = MaskValues.parse(text)
    found = list_levels(decode_levels(FILES[file], name="m"), values, name="m")
    assert list(found) == labels
    for label in labels:
        assert read(FILES[file], str(values.of_level(label))).truth.any()


def test_a_mask_of_background_alone() -> None:
    levels = decode_levels(encode(PilImage.new("L", (5, 4))), name="m")
    with pytest.raises(TargetError, match="m has no level but background and void") as error:
        list_levels(levels, MaskValues.parse("classes"), name="m")
    assert error.value.reason is RejectReason.EMPTY_MASK


def test_a_photo_in_place_of_classes() -> None:
    values = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    levels = decode_levels(encode(PilImage.fromarray(values)), name="m")
    with pytest.raises(TargetError, match=r"m has 1,\d+ levels.*looks like a photo") as error:
        list_levels(levels, MaskValues.parse("classes"), name="m")
    assert error.value.reason is RejectReason.AMBIGUOUS_MASK
