from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.image_files import image_size_hw
from hlmat.transforms.masks.images import MaskRule, decode_image, decode_mask_image

_ORIENTATION = 0x0112


def encode(image: PilImage.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def of_array(values: np.ndarray, kind: str = "PNG") -> bytes:
    return encode(PilImage.fromarray(values), kind)


def reason_of(error: pytest.ExceptionInfo[TargetError]) -> RejectReason:
    return error.value.reason


class TestDecodeImage:
    @pytest.mark.parametrize(
        ("mode", "colour", "kind", "expected"),
        [
            pytest.param("RGB", (200, 100, 50), "PNG", (200, 100, 50), id="as it is"),
            pytest.param("L", 90, "JPEG", (90, 90, 90), id="grey JPEG"),
            pytest.param("1", 1, "PNG", (255, 255, 255), id="one bit"),
            pytest.param("LA", (90, 10), "PNG", (90, 90, 90), id="transparency is dropped"),
            pytest.param("RGBA", (200, 100, 50, 0), "PNG", (200, 100, 50), id="RGBA"),
            pytest.param("CMYK", (0, 0, 0, 0), "JPEG", (255, 255, 255), id="CMYK JPEG: no ink"),
            pytest.param("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0), id="CMYK: red"),
            pytest.param("I;16", 32896, "PNG", (128, 128, 128), id="16 bit is scaled"),
        ],
    )
    def test_gives_rgb_whatever_the_mode(
        self, mode: str, colour: int | tuple[int, ...], kind: str, expected: tuple[int, ...]
    ) -> None:
        data = encode(PilImage.new(mode, (7, 5), colour), kind)
        image = decode_image(data, name="a", size_hw=(5, 7))
        assert image.shape == (5, 7, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - expected).max() <= 2

    def test_palette_colours_are_looked_up(self) -> None:
        picture = PilImage.new("P", (4, 3), 1)
        picture.putpalette([0, 0, 0, 10, 200, 30])
        image = decode_image(encode(picture), name="a", size_hw=(3, 4))
        assert (image == (10, 200, 30)).all()

    def test_palette_with_transparency_warns_of_nothing(self) -> None:
        image = PilImage.new("P", (4, 3), 1)
        image.putpalette([0, 0, 0, 10, 200, 30])
        data = encode(image, transparency=b"\x00\x80")
        assert decode_image(data, name="a", size_hw=(3, 4)).shape == (3, 4, 3)

    @pytest.mark.parametrize("file", ["PNG", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_is_obeyed_only_where_the_mask_needs_it(self, orientation: int, file: str) -> None:
        stored = np.zeros((4, 6, 3), np.uint8)
        stored[:, :3] = 255
        exif = PilImage.Exif()
        exif[_ORIENTATION] = orientation
        data = encode(PilImage.fromarray(stored), file, exif=exif)
        assert image_size_hw(data, name="a") == (4, 6)
        raw = decode_image(data, name="a", size_hw=(4, 6))
        np.testing.assert_array_equal(raw, stored)
        if orientation >= 5:
            turned = decode_image(data, name="a", size_hw=(6, 4))
            top_is_bright = orientation in (5, 6)
            assert bool(turned[0, 0, 0]) is top_is_bright
        else:
            with pytest.raises(TargetError, match="6 x 4"):
                decode_image(data, name="a", size_hw=(6, 4))

    def test_another_size_names_both(self) -> None:
        data = encode(PilImage.new("RGB", (7, 5)))
        sizes = r"b c\.png has 7 x 5 pixels, its mask 9 x 5"
        with pytest.raises(TargetError, match=sizes) as error:
            decode_image(data, name="b c.png", size_hw=(5, 9))
        assert reason_of(error) is RejectReason.SIZE_MISMATCH

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
    def test_truncated(self, kind: str) -> None:
        rng = np.random.default_rng(0)
        data = of_array(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8), kind)
        with pytest.raises(TargetError, match="é#1 cannot be read as an image") as error:
            decode_image(data[: len(data) // 2], name="é#1", size_hw=(40, 40))
        assert reason_of(error) is RejectReason.UNREADABLE_IMAGE

    @pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_no_image(self, data: bytes) -> None:
        with pytest.raises(TargetError) as error:
            decode_image(data, name="a", size_hw=(1, 1))
        assert reason_of(error) is RejectReason.UNREADABLE_IMAGE

    @given(st.binary(max_size=60))
    def test_random_bytes_are_rejected(self, data: bytes) -> None:
        with pytest.raises(TargetError, match="a cannot be read") as error:
            decode_image(data, name="a")
        assert reason_of(error) is RejectReason.UNREADABLE_IMAGE

    def test_no_outside_program_is_started(self) -> None:
        data = encode(PilImage.new("RGB", (4, 3)), "EPS")
        with pytest.raises(TargetError, match="cannot identify"):
            decode_image(data, name="a")

    def test_a_turned_jpeg(self) -> None:
        stored = np.zeros((16, 24, 3), np.uint8)
        stored[:, :8] = 255
        exif = PilImage.Exif()
        exif[_ORIENTATION] = 6
        data = encode(PilImage.fromarray(stored), "JPEG", exif=exif, quality=95)
        for size_hw in ((16, 24), None):
            raw = decode_image(data, name="a", size_hw=size_hw)
            assert raw.shape == (16, 24, 3)
            assert raw[:, :7].min() > 200
        turned = decode_image(data, name="a", size_hw=(24, 16))
        assert turned[:7].min() > 200
        assert turned[9:].max() < 50

    @given(st.data())
    def test_flipped_bytes_are_rejected_or_read(self, data: st.DataObject) -> None:
        whole = bytearray(encode(PilImage.new("RGB", (9, 8), (1, 2, 3)), "JPEG"))
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(TargetError):
            assert decode_image(bytes(whole), name="a", size_hw=(8, 9)).shape == (8, 9, 3)

    @pytest.mark.parametrize("side", [12_000, 100_000])
    def test_a_bomb_is_rejected_by_its_header(self, side: int) -> None:
        with pytest.raises(TargetError, match="that are read; reduce it first") as error:
            decode_image(_bomb(side), name="bomb.png", size_hw=(side, side))
        assert reason_of(error) is RejectReason.TOO_LARGE

    def test_the_limit_is_a_parameter(self) -> None:
        data = encode(PilImage.new("RGB", (10, 10)))
        assert decode_image(data, name="a", size_hw=(10, 10), max_pixels=100).shape == (10, 10, 3)
        with pytest.raises(TargetError, match="99") as error:
            decode_image(data, name="a", size_hw=(10, 10), max_pixels=99)
        assert reason_of(error) is RejectReason.TOO_LARGE

    def test_size_from_the_header(self) -> None:
        assert image_size_hw(encode(PilImage.new("RGB", (7, 5))), name="a") == (5, 7)
        with pytest.raises(TargetError, match="cannot be read"):
            image_size_hw(b"", name="a")


def _bomb(side: int) -> bytes:
    """Return the header of a huge PNG; its pixels would follow."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


class TestForeground:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            pytest.param([[0, 255]], [[0, 1]], id="plain"),
            pytest.param([[0, 127, 128, 255]], [[0, 0, 1, 1]], id="soft: threshold above 127"),
            pytest.param([[0, 1]], [[0, 1]], id="{0, 1}"),
        ],
    )
    def test_grey(self, values: list[list[int]], expected: list[list[int]]) -> None:
        masks = decode_mask_image(
            of_array(np.array(values, np.uint8)), name="m", rule=MaskRule.FOREGROUND
        )
        np.testing.assert_array_equal(masks.truth, np.array(expected, bool))
        assert masks.ignore is None

    @pytest.mark.parametrize("channels", [3, 4])
    def test_colours_of_0_and_1(self, channels: int) -> None:
        values = np.zeros((2, 3, channels), np.uint8)
        values[0, 1] = 1
        masks = decode_mask_image(of_array(values), name="m", rule=MaskRule.FOREGROUND)
        assert np.argwhere(masks.truth).tolist() == [[0, 1]]

    def test_opaque_rgba_is_decided_by_its_colours(self) -> None:
        values = np.zeros((2, 3, 4), np.uint8)
        values[..., 3] = 255
        values[1, 2, :3] = 1
        masks = decode_mask_image(of_array(values), name="m", rule=MaskRule.FOREGROUND)
        assert np.argwhere(masks.truth).tolist() == [[1, 2]]

    def test_opaque_black_is_empty_not_full(self) -> None:
        data = encode(PilImage.new("RGBA", (4, 3), (0, 0, 0, 255)))
        with pytest.raises(TargetError, match="no object pixel") as error:
            decode_mask_image(data, name="m", rule=MaskRule.FOREGROUND)
        assert reason_of(error) is RejectReason.EMPTY_MASK

    @pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0)])
    def test_a_cut_out_of_one_colour_is_decided_by_its_transparency(
        self, colour: tuple[int, int, int]
    ) -> None:
        image = PilImage.new("RGBA", (4, 3), (*colour, 0))
        image.putpixel((2, 1), (*colour, 255))
        masks = decode_mask_image(encode(image), name="m", rule=MaskRule.FOREGROUND)
        assert np.argwhere(masks.truth).tolist() == [[1, 2]]

    def test_inks_are_no_brightness(self) -> None:
        image = PilImage.new("L", (4, 3))
        image.putpixel((2, 1), 255)
        data = encode(image.convert("RGB").convert("CMYK"), "TIFF")
        masks = decode_mask_image(data, name="m", rule=MaskRule.FOREGROUND)
        assert np.argwhere(masks.truth).tolist() == [[1, 2]]

    def test_floats_that_are_no_numbers_are_background(self) -> None:
        values = np.array([[np.nan, np.inf, -np.inf, 1.0, 0.2]], np.float32)
        masks = decode_mask_image(of_array(values, "TIFF"), name="m", rule=MaskRule.FOREGROUND)
        assert masks.truth.tolist() == [[False, False, False, True, False]]

    @pytest.mark.parametrize("top", [1, 255, 65535])
    def test_16_bit(self, top: int) -> None:
        values = np.zeros((3, 4), np.uint16)
        values[2, 1] = top
        masks = decode_mask_image(of_array(values), name="m", rule=MaskRule.FOREGROUND)
        assert np.argwhere(masks.truth).tolist() == [[2, 1]]

    def test_one_bit(self) -> None:
        values = np.zeros((3, 4), bool)
        values[2, 1] = True
        masks = decode_mask_image(of_array(values), name="m", rule=MaskRule.FOREGROUND)
        np.testing.assert_array_equal(masks.truth, values)


class TestOtherRules:
    def test_palette_index_not_its_colour(self) -> None:
        image = PilImage.fromarray(np.array([[0, 1, 2]], np.uint8), mode=None).convert("P")
        image.putdata([0, 1, 2])
        image.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])
        masks = decode_mask_image(encode(image), name="m", rule=MaskRule.PALETTE_INDEX)
        assert masks.truth.tolist() == [[False, True, True]]

    def test_trimap(self) -> None:
        data = of_array(np.array([[0, 128, 255]], np.uint8), "BMP")
        masks = decode_mask_image(data, name="m", rule=MaskRule.TRIMAP)
        assert masks.truth.tolist() == [[False, False, True]]
        assert masks.ignore is not None
        assert masks.ignore.tolist() == [[False, True, False]]

    def test_trimap_of_other_values(self) -> None:
        data = of_array(np.array([[0, 7, 255]], np.uint8), "BMP")
        with pytest.raises(TargetError, match=r"m\.bmp is not a trimap.*found 7") as error:
            decode_mask_image(data, name="m.bmp", rule=MaskRule.TRIMAP)
        assert reason_of(error) is RejectReason.UNREADABLE_MASK

    def test_a_grey_image_in_place_of_a_trimap_names_few_values(self) -> None:
        data = of_array(np.arange(20, dtype=np.uint8)[None])
        with pytest.raises(TargetError, match=r"found 1, 2, 3, 4, 5 and 14 more as well"):
            decode_mask_image(data, name="m", rule=MaskRule.TRIMAP)

    @given(data=st.binary(max_size=60), rule=st.sampled_from(MaskRule))
    def test_random_bytes_are_rejected(self, data: bytes, rule: MaskRule) -> None:
        with pytest.raises(TargetError) as error:
            decode_mask_image(data, name="m", rule=rule)
        assert reason_of(error) is RejectReason.UNREADABLE_MASK

    def test_object_ids(self) -> None:
        data = of_array(np.array([[0, 3, 200]], np.uint8))
        masks = decode_mask_image(data, name="m", rule=MaskRule.OBJECT_ID)
        assert masks.truth.tolist() == [[False, True, True]]

    @pytest.mark.parametrize("rule", list(MaskRule))
    def test_empty(self, rule: MaskRule) -> None:
        data = of_array(np.zeros((3, 4), np.uint8))
        with pytest.raises(TargetError, match="m has no object pixels") as error:
            decode_mask_image(data, name="m", rule=rule)
        assert reason_of(error) is RejectReason.EMPTY_MASK

    @pytest.mark.parametrize("rule", list(MaskRule))
    def test_unreadable(self, rule: MaskRule) -> None:
        with pytest.raises(TargetError, match="m cannot be read") as error:
            decode_mask_image(b"GIF89a", name="m", rule=rule)
        assert reason_of(error) is RejectReason.UNREADABLE_MASK

    def test_too_large(self) -> None:
        with pytest.raises(TargetError, match=r"bomb\.png") as error:
            decode_mask_image(_bomb(100_000), name="bomb.png", rule=MaskRule.FOREGROUND)
        assert reason_of(error) is RejectReason.TOO_LARGE


class TestRealSamples:
    def test_fss_masks_are_not_emptied(self, shared_data: Path) -> None:
        for path in sorted((shared_data / "hqseg44k/cascade_psp/fss_all").glob("*.png")):
            masks = decode_mask_image(path.read_bytes(), name=path.name, rule=MaskRule.FOREGROUND)
            assert 0.02 < masks.truth.mean() < 0.98

    def test_grabcut_mostly_has_a_band_to_ignore(self, shared_data: Path) -> None:
        paths = sorted((shared_data / "iseg/GrabCut/boundary_GT").glob("*.bmp"))
        assert len(paths) == 20
        ignored = 0
        for path in paths:
            masks = decode_mask_image(path.read_bytes(), name=path.name, rule=MaskRule.TRIMAP)
            assert masks.ignore is not None
            ignored += bool(masks.ignore.any())
            assert not (masks.ignore & masks.truth).any()
        assert ignored == 18

    @pytest.mark.parametrize(
        ("pattern", "rule", "count"),
        [
            pytest.param("iseg/DAVIS/gt/*.png", MaskRule.PALETTE_INDEX, 14, id="DAVIS"),
            pytest.param("hqseg44k/cascade_psp/ecssd/*.png", MaskRule.FOREGROUND, 100, id="ECSSD"),
            pytest.param("hqseg44k/DIS5K/DIS-TR/gt/*.png", MaskRule.FOREGROUND, 2, id="DIS"),
        ],
    )
    def test_every_mask_has_an_object_and_a_background(
        self, shared_data: Path, pattern: str, rule: MaskRule, count: int
    ) -> None:
        paths = sorted(shared_data.glob(pattern))
        assert len(paths) == count
        for path in paths:
            masks = decode_mask_image(path.read_bytes(), name=path.name, rule=rule)
            assert 0 < masks.truth.mean() < 1
            assert masks.ignore is None


def tagged(array: np.ndarray, orientation: int, *, file: str = "PNG") -> bytes:
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    PilImage.fromarray(array).save(stream, file, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("file", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_that_its_tag_turns_in_place_is_refused(orientation: int, file: str) -> None:
    wide = np.zeros((16, 32), np.uint8)
    wide[:, :8] = 255
    square = wide[:, :16].copy()
    rule = MaskRule.TWO_LEVELS
    in_place = "is turned by its EXIF tag"
    if orientation == 1:
        assert decode_mask_image(tagged(square, 1, file=file), name="m", rule=rule).truth.sum()
    else:
        with pytest.raises(TargetError, match=in_place):
            decode_mask_image(tagged(square, orientation, file=file), name="m", rule=rule)
    if orientation in (2, 3, 4):
        with pytest.raises(TargetError, match=in_place):
            decode_mask_image(tagged(wide, orientation, file=file), name="m", rule=rule)
    else:
        truth = decode_mask_image(tagged(wide, orientation, file=file), name="m", rule=rule).truth
        assert truth.tolist() == (wide > 0).tolist()
