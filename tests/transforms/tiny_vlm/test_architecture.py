"""The small model's parts fit each other, the chat template and the data set's words."""

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
    build_tiny_vlm_model,
    build_tiny_vlm_processor,
    build_tiny_vlm_tokenizer,
)
from hlmat.transforms.tiny_vlm.options import TinyVlmArchitecture
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
TOKENIZER: Any = build_tiny_vlm_tokenizer()
SMALL = TinyVlmArchitecture(
    image=64, patch=16, vision_width=32, width=32, depth=2, vision_depth=1, heads=4
)


def test_every_word_of_the_data_set_is_one_token() -> None:
    refs = ShapesReader(ShapesOptions(count=60)).read_targets()
    texts = [text for ref in refs if isinstance(ref, TargetRef) for text in ref.expressions]
    words = {word for text in texts for word in text.split()}
    assert len(words) > 40
    assert [w for w in words if len(TOKENIZER(f"the {w}")["input_ids"]) != 2] == []


@given(st.text(max_size=40))
def test_decoding_returns_the_encoded_text(text: str) -> None:
    marks = TOKENIZER.all_special_tokens
    for mark in marks:
        text = text.replace(mark, "")
    ids = TOKENIZER(text)["input_ids"]
    normal = TOKENIZER.backend_tokenizer.normalizer.normalize_str(text)
    assert TOKENIZER.decode(ids, clean_up_tokenization_spaces=False) == normal


def test_an_image_takes_one_token_per_patch() -> None:
    processor = build_tiny_vlm_processor(SMALL, TOKENIZER)
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
    model = build_tiny_vlm_model(SMALL, TOKENIZER)
    with torch.inference_mode():
        logits = model(**inputs).logits
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(TOKENIZER))


def test_incompatible_sizes_are_all_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        TinyVlmArchitecture(depth=0)
    reported = str(caught.value)
    assert "TinyVlmArchitecture.depth 0: must be at least 1" in reported
    with pytest.raises(ConfigError) as caught:
        TinyVlmArchitecture(image=100, patch=16, vision_width=100, width=100, heads=3)
    fields = ("image 100", "patch 16", "width 100", "vision_width 100", "heads 3")
    image, patch, width, vision_width, heads = (f"TinyVlmArchitecture.{f}" for f in fields)
    assert caught.value.problems == (
        f"{image} must be a multiple of {patch}",
        f"{width} and {vision_width} must be multiples of 12, 4 for each of {heads}",
    )
