"""The small model: its parts fit each other, the chat template and the data set's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader
from hlmat.transforms.tiny_vlm.architecture import (
    MiniArchitecture,
    make_mini_model,
    make_mini_processor,
    make_mini_tokenizer,
)
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
TOKENIZER: Any = make_mini_tokenizer()
SMALL = MiniArchitecture(image=64, patch=16, vision_width=32, width=32, depth=2, vision_depth=1)


def test_every_word_of_the_data_set_is_one_token() -> None:
    refs = ShapesReader(ShapesOptions(count=60)).read_targets()
    texts = [text for ref in refs if isinstance(ref, TargetRef) for text in ref.expressions]
    words = {word for text in texts for word in text.split()}
    assert len(words) > 40
    assert [w for w in words if len(TOKENIZER(f"the {w}")["input_ids"]) != 2] == []


@given(st.text(max_size=40))
def test_every_text_comes_back_from_its_tokens(text: str) -> None:
    marks = TOKENIZER.all_special_tokens
    for mark in marks:
        text = text.replace(mark, "")
    ids = TOKENIZER(text)["input_ids"]
    normal = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == normal


def test_an_image_is_as_many_tokens_as_it_has_patches() -> None:
    processor = make_mini_processor(SMALL, TOKENIZER)
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "the disc"}, {"type": "image"}]}
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|im_start|>user\nthe disc<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    image = np.zeros((64, 64, 3), np.uint8)
    inputs = processor(text=[text], images=[image], return_tensors="pt")
    pad = TOKENIZER.convert_tokens_to_ids("<|image_pad|>")
    assert int((inputs["input_ids"] == pad).sum()) == SMALL.grid**2 == 16
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 4]]
    import torch

    torch.manual_seed(0)
    model = make_mini_model(SMALL, TOKENIZER)
    with torch.inference_mode():
        logits = model(**inputs).logits
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(TOKENIZER))


def test_sizes_that_do_not_fit_are_all_told() -> None:
    with pytest.raises(ConfigError) as caught:
        MiniArchitecture(image=100, patch=16, width=100, heads=4, depth=0)
    told = str(caught.value)
    assert "depth is 0; choose a whole number of at least 1" in told
    assert "image, 100 pixels, is no multiple of its patch, 16" in told
    assert "widths, 100 and 128, must be multiples of 4 for each of its 4 heads" in told
