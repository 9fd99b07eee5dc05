"""Each family's preset is what transformers and LLaMA-Factory ship for it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.policies.backends.checkpoint.processor import resized_by
from hlmat.transforms.prompting.coordinates import CODECS
from hlmat.transforms.prompting.families import FAMILIES, family_of
from hlmat.transforms.prompting.resizes import RESIZES, SmartResize

every_family = pytest.mark.parametrize("name", FAMILIES)
PROCESSORS = {
    "qwen2_5_vl": ("Qwen2_5_VLProcessor", "Qwen2VLImageProcessor"),
    "qwen3_vl": ("Qwen3VLProcessor", "Qwen2VLImageProcessor"),
    "qwen3_5": ("Qwen3VLProcessor", "Qwen2VLImageProcessor"),
    "internvl3": ("InternVLProcessor", "GotOcr2ImageProcessor"),
    "glm4_5v": ("Glm4vProcessor", "Glm4vImageProcessor"),
    "llava": ("LlavaProcessor", "LlavaImageProcessor"),
}
"""The classes that the published models name."""

WIDE = (400, 200)


@pytest.fixture(scope="module")
def shipped() -> Any:
    """The classes of transformers by model_type."""
    pytest.importorskip("transformers")
    from hlmat.transforms.torch_support.torchvision import ensure_importable

    ensure_importable()
    import transformers

    return transformers


@every_family
def test_its_models_and_processors_are_those_of_transformers(name: str, shipped: Any) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    family = FAMILIES[name]
    assert set(family.model_types) <= CONFIG_MAPPING_NAMES.keys()
    processor, images = PROCESSORS[name]
    first = family.model_types[0]
    assert PROCESSOR_MAPPING_NAMES[first] == processor
    # A slow and a fast class, or since transformers 5.3 a class for each of two backends.
    known: Any = IMAGE_PROCESSOR_MAPPING_NAMES[first] or ()
    assert images in (known.values() if isinstance(known, dict) else known)
    assert {family_of(model_type) for model_type in family.model_types} == {name}


@every_family
def test_its_coordinates_are_known(name: str) -> None:
    family = FAMILIES[name]
    assert family.codec in CODECS
    assert family.processor in RESIZES
    assert (family.codec == "pixels") <= (family.processor != "none")


@pytest.mark.parametrize(("name", "patch"), [("qwen2_5_vl", 14), ("qwen3_vl", 16), ("qwen3_5", 16)])
@pytest.mark.parametrize("size_hw", [(480, 640), (61, 47), (333, 500), (1365, 2048)])
def test_its_processor_resizes_as_the_preset_says(
    name: str, patch: int, size_hw: tuple[int, int], shipped: Any
) -> None:
    resize = RESIZES[FAMILIES[name].processor]
    assert isinstance(resize, SmartResize)
    images = getattr(shipped, PROCESSORS[name][1])(
        patch_size=patch,
        merge_size=2,
        size={"shortest_edge": resize.min_pixels, "longest_edge": resize.max_pixels},
    )

    class Processor:
        image_processor = images

    assert resized_by(Processor(), size_hw) == resize(size_hw)


@every_family
def test_its_processor_shows_the_whole_image_or_a_part_as_the_preset_says(
    name: str, shipped: Any
) -> None:
    """White edges of a black image are in what the model gets, unless they are cropped away."""
    from PIL import Image

    image = np.zeros((WIDE[1], WIDE[0], 3), np.uint8)
    image[:, :20] = image[:, -20:] = 255
    images = getattr(shipped, PROCESSORS[name][1])()
    found = images(images=[Image.fromarray(image)], return_tensors="np")["pixel_values"]
    has_edges = float(found.max()) > float(found.min()) + 0.5
    assert has_edges is FAMILIES[name].shows_whole_image


@pytest.mark.skipif(
    importlib.util.find_spec("llamafactory") is None, reason="llamafactory is not installed"
)
@every_family
def test_its_template_is_one_of_llama_factory(name: str) -> None:
    package = importlib.util.find_spec("llamafactory")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / "data" / "template.py").read_text(encoding="utf-8")
    registered = set(re.findall(r'register_template\(\s*name="([^"]+)"', source))
    assert FAMILIES[name].template in registered
