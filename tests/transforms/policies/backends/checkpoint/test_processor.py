"""The size at which a checkpoint's processor shows an image to the model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hlmat.transforms.policies.backends.checkpoint.processor import (
    load_processor,
    render_question,
    resized_by,
)
from hlmat.transforms.prompting.dialogues.protocol import Offer
from hlmat.transforms.prompting.dialogues.registry import load_dialogue
from hlmat.transforms.prompting.resizes import SmartResize
from tiny_models import make_tiny_model

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


PARTS = [{"type": "image"}, {"type": "text", "text": "Where is it?"}]
DECLARING = """\
{% if tools %}{% for tool in tools %}[{{ tool.function.name }}]{% endfor %}{% endif %}\
{% for message in messages %}<{{ message['role'] }}>{% endfor %}"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return Path(make_tiny_model("qwen3_vl", tmp_path_factory.mktemp("tiny") / "model"))


def test_a_template_that_knows_tools_declares_the_functions(tiny: Path) -> None:
    functions = load_dialogue("tools").functions(Offer(finish=True))
    processor = load_processor(tiny)
    assert render_question(processor, DECLARING, PARTS, functions=functions) == (
        "[add_point][stop]<user>"
    )
    assert render_question(processor, DECLARING, PARTS, system="Be brief.") == "<system><user>"


def test_else_they_stand_in_the_system_message(tiny: Path) -> None:
    functions = load_dialogue("tools").functions(Offer())
    processor = load_processor(tiny)
    template = processor.tokenizer.chat_template
    plain = render_question(processor, template, PARTS)
    question = render_question(processor, template, PARTS, system="Be brief.", functions=functions)
    assert question.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
    assert '"name": "add_point"' in question
    assert question.endswith(plain)
