"""A pre-training of the small model that takes a fraction of a second."""

from __future__ import annotations

from typing import Any

import torch

from hlmat.transforms.readers.shapes.scene import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import build_tiny_vlm_model, build_tiny_vlm_tokenizer
from hlmat.transforms.tiny_vlm.build import prepare_pretraining
from hlmat.transforms.tiny_vlm.options import PretrainingOptions, TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.pretraining import Pretraining
from hlmat.transforms.tiny_vlm.scenes import label_scenes
from hlmat.transforms.torch_support.torchvision import ensure_importable

ensure_importable()
SIZE = TinyVlmArchitecture(
    image=64, patch=16, vision_width=48, vision_depth=2, width=48, depth=2, heads=2
)
TOKENIZER: Any = build_tiny_vlm_tokenizer()
SCENES = label_scenes(
    ShapesOptions(count=6, height=64, width=64, objects_min=2, objects_max=2, difficulty="simple"),
    split="train",
    tokenizer=TOKENIZER,
)


def prepared(**settings: Any) -> Pretraining:
    torch.manual_seed(0)
    model = build_tiny_vlm_model(SIZE, TOKENIZER)
    return prepare_pretraining(model, TOKENIZER, SIZE, PretrainingOptions(batch=8, **settings))
