"""The parts of the small model: configuration, weights, tokenizer and processor of Qwen3-VL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from hlmat.transforms.prompting.predicted_iou import render_predicted_iou
from hlmat.transforms.readers.shapes.expressions import Region, RelationName, Side, Size
from hlmat.transforms.readers.shapes.kinds import KINDS
from hlmat.transforms.readers.shapes.scene import COLOURS, Pattern
from hlmat.transforms.tiny_vlm.options import TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.tokenizer import build_tokenizer

END, PADDING = "<|im_end|>", "<|endoftext|>"
MARKS = (
    PADDING,
    "<|im_start|>",
    END,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = """\
{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}{% if part['type'] == 'image' or 'image_url' in part %}\
<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in part %}{{ part['text'] }}\
{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Question and answer as LLaMA-Factory's template `qwen3_vl_nothink` writes them."""

PHRASES = (
    "Positive point: (0.",
    "Negative point: (0.",
    "Box: (0.",
    ", 0.",
    "), (0.",
    "Current IOU: ",
    "user\n",
    "assistant\n",
)
"""What does not vary in questions and answers with decimals: one token each."""


def build_tiny_vlm_tokenizer() -> Any:
    """Return a tokenizer with one token per word of the generated data set."""
    return build_tokenizer(
        _sentences(),
        vocabulary=600,
        marks=MARKS,
        phrases=PHRASES,
        end=END,
        padding=PADDING,
        chat_template=CHAT_TEMPLATE,
    )


def build_tiny_vlm_model(architecture: TinyVlmArchitecture, tokenizer: Any) -> Any:
    """Return a `Qwen3VLForConditionalGeneration` initialized from torch's global generator."""
    from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    a = architecture
    ids = tokenizer.convert_tokens_to_ids
    head = a.width // a.heads
    # The time axis takes the rest: videos are unused, but the sections must sum to half a head.
    axis = head // 6
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": a.width,
            "intermediate_size": 3 * a.width,
            "num_hidden_layers": a.depth,
            "num_attention_heads": a.heads,
            "num_key_value_heads": a.heads,
            "head_dim": head,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [head // 2 - 2 * axis, axis, axis],
                "mrope_interleaved": True,
            },
            "bos_token_id": None,
            "eos_token_id": ids(END),
            "pad_token_id": ids(PADDING),
        },
        vision_config={
            "depth": a.vision_depth,
            "hidden_size": a.vision_width,
            "intermediate_size": 3 * a.vision_width,
            "num_heads": a.heads,
            "out_hidden_size": a.width,
            "patch_size": a.patch,
            # By the error function, which is several times as fast on processors as tanh.
            "hidden_act": "gelu",
            "spatial_merge_size": 1,
            "temporal_patch_size": 2,
            "num_position_embeddings": a.grid**2,
            "deepstack_visual_indexes": [],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[ids(END), ids(PADDING)], pad_token_id=ids(PADDING), do_sample=False
    )
    return model


def build_tiny_vlm_processor(architecture: TinyVlmArchitecture, tokenizer: Any) -> Any:
    """Return a `Qwen3VLProcessor` that does not resize images of the model's size."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    a = architecture
    sizes: dict[str, Any] = {
        "patch_size": a.patch,
        "merge_size": 1,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": a.patch**2, "longest_edge": a.image**2},
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )


def _sentences() -> Iterator[str]:
    """Yield each word of the data set often enough that it becomes a single token."""
    words = [
        *(word for kind in KINDS for word in kind.split()),
        *COLOURS,
        *get_args(Pattern),
        *get_args(Side),
        *get_args(Size),
        *(word for place in (*get_args(Region), *get_args(RelationName)) for word in place.split()),
        *("leftmost", "rightmost", "topmost", "lowest", "object", "from", "at", "in", "the"),
        *("first", "second", "third", "fourth", "fifth"),
    ]
    for word in dict.fromkeys(words):
        yield from [f"the {word}"] * 50
    for label in ("Positive", "Negative"):
        yield from [f"{label} point: (0.12, 0.34)"] * 50
    yield from ["Finish"] * 50
    yield from [f"{render_predicted_iou(0.852)}, "] * 50
    yield from ["Box: (0.12, 0.34), (0.56, 0.78)"] * 50
    yield from ["system\nuser\nassistant\n"] * 50
