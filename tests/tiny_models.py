"""Makes tiny multimodal models of the real classes with random weights, for tests; no download.

A folder made here holds what a published checkpoint holds: weights, configuration, tokenizer,
processor, chat template. The tokenizer is a byte-level BPE that a few sentences were enough for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal

from hlmat.transforms.tiny_vlm.architecture import CHAT_TEMPLATE, END, MARKS, PADDING
from hlmat.transforms.tiny_vlm.tokenizer import build_tokenizer
from repository import REPOSITORY

Family = Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "glm4v_moe", "llava"]

_LLAVA_MARKS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")

_LLAVA_CHAT = """\
{% for message in messages %}{{ 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' }}\
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>
{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}\
{{ ' ' if message['role'] == 'user' else '</s>' }}{% endfor %}\
{% if add_generation_prompt %}ASSISTANT: {% endif %}"""


_RECIPES = {"internvl": "internvl3_5_8b_lora", "glm4v_moe": "glm4_5v_lora"}
"""Families whose chat template is that of a recipe."""


def make_tiny_model(family: Family, folder: str | os.PathLike[str], *, seed: int = 0) -> str:
    """Write a tiny model (about 0.3 M parameters) to a folder that need not exist.

    Args:
        family: which of the real classes to build.
        folder: where to write it.
        seed: another seed gives other weights of the same shapes.

    Returns:
        The folder as text.
    """
    import torch
    from transformers import GenerationConfig

    from hlmat.transforms.torch_support.torchvision import ensure_importable

    ensure_importable()
    torch.manual_seed(seed)
    out = os.fspath(folder)
    if family == "llava":
        model, processor = _make_llava()
        stops, pad = ["</s>"], "<pad>"
    elif family == "internvl":
        model, processor = _make_internvl()
        stops, pad = [END, PADDING], PADDING
    elif family == "glm4v_moe":
        model, processor = _make_glm4v_moe()
        stops, pad = [PADDING, "<|user|>"], PADDING
    else:
        model, processor = _make_qwen(family)
        stops, pad = [END, PADDING], PADDING
    ids = processor.tokenizer.convert_tokens_to_ids
    model.generation_config = GenerationConfig(
        eos_token_id=[ids(s) for s in stops], pad_token_id=ids(pad), do_sample=False
    )
    if family in _RECIPES:
        template = REPOSITORY / "train_recipes" / _RECIPES[family] / "chat_template.jinja"
        processor.chat_template = template.read_text(encoding="utf-8")
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


def _make_qwen(family: Family) -> tuple[Any, Any]:
    import transformers

    tokenizer = build_tokenizer(
        _sentences(),
        vocabulary=512,
        marks=MARKS,
        end=END,
        padding=PADDING,
        chat_template=CHAT_TEMPLATE,
    )
    ids = tokenizer.convert_tokens_to_ids
    is_third = family in ("qwen3_vl", "qwen3_5")
    patch = 16 if is_third else 14
    hidden, heads = 64, 4
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": ids(PADDING),
        "eos_token_id": ids(END),
        "pad_token_id": ids(PADDING),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 3, 3],
        },
    }
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 32,
        "num_heads": 2,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    names = {
        "qwen2_vl": "Qwen2VL",
        "qwen2_5_vl": "Qwen2_5_VL",
        "qwen3_vl": "Qwen3VL",
        "qwen3_5": "Qwen3_5",
    }
    name = names[family]
    if family == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": hidden, "mlp_ratio": 2}
    else:
        vision |= {"intermediate_size": 64, "out_hidden_size": hidden}
    if family == "qwen2_5_vl":
        vision |= {"window_size": 112, "fullatt_block_indexes": [1]}
    if family == "qwen3_vl":
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
        text["head_dim"] = hidden // heads
        text["rope_parameters"]["mrope_interleaved"] = True
    if family == "qwen3_5":
        vision["num_position_embeddings"] = 64
        text |= {
            "head_dim": hidden // heads,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        }
        text["rope_parameters"] |= {"mrope_interleaved": True, "partial_rotary_factor": 1.0}
    config = getattr(transformers, f"{name}Config")(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=False,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    side = 2 * patch
    images = {
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 4 * side**2, "longest_edge": 16 * side**2},
    }
    videos = "Qwen3VLVideoProcessor" if is_third else "Qwen2VLVideoProcessor"
    processors = "Qwen3VLProcessor" if is_third else f"{name}Processor"
    processor = getattr(transformers, processors)(
        image_processor=transformers.Qwen2VLImageProcessor(**images),
        tokenizer=tokenizer,
        video_processor=getattr(transformers, videos)(**images),
        chat_template=CHAT_TEMPLATE,
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


def _make_internvl() -> tuple[Any, Any]:
    """Return an InternVL whose tiles have 4 tokens: 56 x 56 px, patches of 14, halved."""
    import transformers
    from transformers.models.internvl import InternVLVideoProcessor

    tokenizer = build_tokenizer(
        _sentences(),
        vocabulary=512,
        marks=(PADDING, "<|im_start|>", END, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        end=END,
        padding=PADDING,
        chat_template=CHAT_TEMPLATE,
    )
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    ids = tokenizer.convert_tokens_to_ids
    tokenizer._set_model_specific_special_tokens(names)
    text = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        eos_token_id=ids(END),
        pad_token_id=ids(PADDING),
    )
    vision = transformers.InternVLVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=[56, 56],
        patch_size=[14, 14],
    )
    config = transformers.InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    square = {"height": 56, "width": 56}
    processor = transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(size=square),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=square),
        image_seq_length=4,
        chat_template=CHAT_TEMPLATE,
    )
    return transformers.InternVLForConditionalGeneration(config), processor


def _make_glm4v_moe() -> tuple[Any, Any]:
    import transformers

    marks = ["[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
    marks += ["<|image|>", "<|video|>", "<think>", "</think>", "<answer>", "</answer>"]
    marks += [f"<|{side}_of_{kind}|>" for kind in ("image", "video") for side in ("begin", "end")]
    tokenizer = build_tokenizer(
        _sentences(),
        vocabulary=512,
        marks=(PADDING, *marks),
        end=PADDING,
        padding=PADDING,
        chat_template=CHAT_TEMPLATE,
    )
    ids = tokenizer.convert_tokens_to_ids
    config = transformers.Glm4vMoeConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "moe_intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "max_position_embeddings": 4096,
            "eos_token_id": ids(PADDING),
            "pad_token_id": ids(PADDING),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [1, 1, 2],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "image_size": 56,
        },
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
    )
    size = {"shortest_edge": 4 * 28**2, "longest_edge": 32 * 28**2}
    processor = transformers.Glm4vProcessor(
        image_processor=transformers.Glm4vImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=transformers.Glm4vVideoProcessor(size=size),
        chat_template=CHAT_TEMPLATE,
    )
    return transformers.Glm4vMoeForConditionalGeneration(config), processor


def _make_llava() -> tuple[Any, Any]:
    import transformers

    tokenizer = build_tokenizer(
        _sentences(),
        vocabulary=512,
        marks=_LLAVA_MARKS,
        end="</s>",
        padding="<pad>",
        chat_template=_LLAVA_CHAT,
    )
    ids = tokenizer.convert_tokens_to_ids
    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=32,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=ids("<s>"),
        eos_token_id=ids("</s>"),
        pad_token_id=ids("<pad>"),
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=16,
    )
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_LLAVA_CHAT,
        image_token="<image>",
    )
    return transformers.LlavaForConditionalGeneration(config), processor


def _sentences() -> Iterator[str]:
    for x in range(0, 100, 7):
        yield f"Positive point: (0.{x:02d}, 0.{99 - x:02d})"
        yield f"Negative point: ({10 * x}, {990 - 10 * x})"
        yield f"Current IOU: {x}.5, Finish"
    yield "Segment this object: the red car. The present mask is shown in half-transparent green."
    yield "system user assistant USER: ASSISTANT: You are a helpful assistant."
