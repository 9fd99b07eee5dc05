"""What each patch is asked about the object under it, by heads that are thrown away."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from hlmat.transforms.tiny_vlm.batches import IGNORED, Batch
from hlmat.transforms.tiny_vlm.conversation import DIGITS
from hlmat.transforms.tiny_vlm.scenes import ANGLES, ATTRIBUTES

QUESTIONS = ("colour", "kind", "pattern", "action", "x0", "x1", "y0", "y1")
"""The columns of `Batch.classes`."""

_WEIGHTS = (1.0, 2.0, 1.0, 0.5, 1.0, 0.1, 1.0, 0.1)
_OUTLINE_WEIGHT = 10.0
_OUTLINE_BETA = 0.1


class DenseHeads(nn.Module):
    """Names by the language model's own word embeddings; digits, actions and outlines by maps.

    Args:
        embedding: of the language model's words; trained along.
        tokenizer: of the same.
    """

    def __init__(self, embedding: Any, tokenizer: Any) -> None:
        super().__init__()
        width = embedding.weight.shape[1]
        self._embedding = [embedding]
        self._words = [
            [tokenizer(" " + word.split()[-1])["input_ids"][-1] for word in words]
            for words in ATTRIBUTES
        ]
        self.no_object = nn.Parameter(0.02 * torch.randn(1, width))
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.action, self.digits = nn.Linear(width, 3), nn.Linear(width, 10 * DIGITS)
        self.outline = nn.Linear(width, ANGLES)

    def forward(self, seen: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return each question's logits, and the outlines. Shapes: (B, C, classes), (B, C, 32)."""
        x = functional.layer_norm(seen.float(), seen.shape[-1:])
        named = []
        for k, ids in enumerate(self._words):
            known = self._embedding[0].weight[ids]
            known = torch.cat([self.no_object, known]) if k == 0 else known
            named.append(self.scale * (x @ functional.normalize(known, dim=1).T))
        return [*named, self.action(x), *self.digits(x).split(10, -1)], self.outline(x)

    def loss(self, seen: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the weighted loss; everything but the colour is judged over objects alone."""
        logits, outline = self(seen)
        has = batch.owners > 0
        total = seen.new_zeros((), dtype=torch.float32)
        for k, (weight, found) in enumerate(zip(_WEIGHTS, logits, strict=True)):
            wanted = batch.classes[..., k]
            where = wanted != IGNORED
            if where.any():
                total = total + weight * functional.cross_entropy(found[where], wanted[where])
        if has.any():
            reach = functional.smooth_l1_loss(outline[has], batch.reach[has], beta=_OUTLINE_BETA)
            total = total + _OUTLINE_WEIGHT * reach
        return total

    @torch.no_grad()
    def accuracy(self, seen: torch.Tensor, batch: Batch) -> list[float]:
        """Return the shares of right answers over patches with an object, by question."""
        logits, _ = self(seen)
        has = batch.owners > 0
        right = []
        for k, found in enumerate(logits):
            wanted = batch.classes[..., k]
            where = has & (wanted != IGNORED)
            right.append(float((found[where].argmax(-1) == wanted[where]).double().mean()))
        return right
