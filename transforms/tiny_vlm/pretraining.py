"""Localisation pre-training of the small model's vision tower, on generated scenes.

Each token of the tower learns to name the object under it, in the language model's own word
embeddings, and to predict the digits of the oracle's click on it. Fine-tuning on trajectories then
has to learn which token an expression refers to, and to write that token's digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlmat.transforms.tiny_vlm.localization import ATTRIBUTES, DIGITS, UNKNOWN, LabelledImage
from hlmat.transforms.tiny_vlm.options import PretrainingOptions
from hlmat.transforms.torch_support.device import computes_bfloat16

_CLIP_NORM = 1.0
_REPORT_EVERY = 100


@dataclass(frozen=True)
class PretrainingReport:
    """Accuracy of the vision tower on held-out images, over cells with an object.

    Attributes:
        step: updates made.
        accuracy: shares of correct classes in [0, 1]: colour, kind, pattern, then four digits.
    """

    step: int
    accuracy: tuple[float, ...]


def pretrain_vision_tower(
    model: Any,
    processor: Any,
    training: Sequence[LabelledImage],
    held_out: Sequence[LabelledImage],
    options: PretrainingOptions,
    *,
    report: Callable[[PretrainingReport], None],
) -> None:
    """Train vision tower and word embeddings in place, on the model's device.

    Args:
        model: a `Qwen3VLForConditionalGeneration`.
        processor: its processor; must not resize the images, which share one size.
        training: images for training.
        held_out: images for measuring accuracy.
        options: length and learning rate.
        report: called every 100 steps and at the end.
    """
    import torch

    tower, embedding = model.model.visual, model.model.language_model.embed_tokens
    device = embedding.weight.device
    heads = _build_heads(embedding, processor.tokenizer).to(device)
    pixels, grids = _to_pixels(training, processor), _grid_of(training, processor)
    test_pixels = _to_pixels(held_out, processor)
    classes = torch.from_numpy(np.stack([p.classes for p in training]))
    test_classes = torch.from_numpy(np.stack([p.classes for p in held_out]))
    parameters = [*tower.parameters(), *heads.parameters(), embedding.weight]
    optimiser = torch.optim.AdamW(parameters, weight_decay=0.05)
    order = np.random.default_rng(options.seed)

    def logits_of(batch_pixels: Any) -> list[Any]:
        count = batch_pixels.shape[0]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_bfloat16(device)):
            out = tower(
                batch_pixels.flatten(0, 1).to(device), grid_thw=grids.expand(count, 3).to(device)
            )
        return heads(out.pooler_output.float())

    model.train()
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(step, options)
        chosen = torch.from_numpy(order.integers(len(training), size=options.batch))
        wanted = classes[chosen].flatten(0, 1).to(device)
        losses = [
            torch.nn.functional.cross_entropy(logits, wanted[:, k], ignore_index=UNKNOWN)
            for k, logits in enumerate(logits_of(pixels[chosen]))
        ]
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
        optimiser.step()
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == options.steps:
            with torch.inference_mode():
                accuracy = _accuracy(logits_of(test_pixels), test_classes.flatten(0, 1))
            report(PretrainingReport(step + 1, accuracy))
    model.eval()


def _build_heads(embedding: Any, tokenizer: Any) -> Any:
    """Return a module from tokens to logits: words by their embeddings, digits by a linear map."""
    import torch

    word_ids = [[_token_of(word, tokenizer) for word in words] for words in ATTRIBUTES]
    width = embedding.weight.shape[1]

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(width, elementwise_affine=False)
            self.no_object = torch.nn.Parameter(0.02 * torch.randn(len(ATTRIBUTES), width))
            self.scale = torch.nn.Parameter(torch.tensor(2.0))
            self.digits = torch.nn.Linear(width, 10 * DIGITS)

        def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
            tokens = self.norm(tokens)
            named = []
            for k, ids in enumerate(word_ids):
                words = torch.cat([self.no_object[k : k + 1], embedding.weight[ids]])
                named.append(self.scale * tokens @ torch.nn.functional.normalize(words, dim=1).T)
            return [*named, *self.digits(tokens).split(10, dim=1)]

    return Heads()


def _token_of(word: str, tokenizer: Any) -> int:
    """Return the token of a word within a sentence; of its last part, if it has several."""
    return tokenizer(" " + word.split()[-1])["input_ids"][-1]


def _to_pixels(labelled: Sequence[LabelledImage], processor: Any) -> Any:
    """Return the processed pixels of each image. Shape: (N, tokens, values)."""
    import torch

    images = [p.image for p in labelled]
    values = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    return torch.as_tensor(values).reshape(len(images), -1, values.shape[-1])


def _grid_of(labelled: Sequence[LabelledImage], processor: Any) -> Any:
    first = [labelled[0].image]
    return processor.image_processor(images=first, return_tensors="pt")["image_grid_thw"]


def _accuracy(logits: Sequence[Any], wanted: Any) -> tuple[float, ...]:
    has_object = wanted[:, 0] > 0
    right = [(found.argmax(1).cpu() == wanted[:, k])[has_object] for k, found in enumerate(logits)]
    return tuple(round(float(r.double().mean()), 4) for r in right)


def _learning_rate(step: int, options: PretrainingOptions) -> float:
    rise = min(1.0, (step + 1) / options.warm_up)
    return options.learning_rate * rise * (0.5 + 0.5 * math.cos(math.pi * step / options.steps))
