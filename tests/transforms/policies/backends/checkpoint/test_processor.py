"""The size at which a checkpoint's processor shows an image to the model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hlmat.transforms.policies.backends.checkpoint.processor import resized_by
from hlmat.transforms.prompting.coordinates import SmartResize

transformers = pytest.importorskip("transformers")

SIZES_HW = [(480, 640), (31, 57), (1500, 2000), (100, 1000)]


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize(("patch", "factor"), [(14, 28), (16, 32)])
def test_a_qwen_processor_reports_its_resize(
    size_hw: tuple[int, int], patch: int, factor: int
) -> None:
    limits = {"min_pixels": 56 * 56, "max_pixels": 600 * 600}
    images = transformers.Qwen2VLImageProcessor(patch_size=patch, **limits)
    seen = resized_by(SimpleNamespace(image_processor=images), size_hw)
    assert seen == SmartResize(factor=factor, **limits)(size_hw)


def test_a_processor_without_a_grid_says_nothing() -> None:
    images = transformers.CLIPImageProcessor()
    assert resized_by(SimpleNamespace(image_processor=images), (480, 640)) is None
