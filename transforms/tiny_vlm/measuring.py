"""What the small model answers on held-out scenes, while it is pre-trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from hlmat.transforms.tiny_vlm.batches import Batch, BatchMaker
from hlmat.transforms.tiny_vlm.dense_heads import QUESTIONS, DenseHeads
from hlmat.transforms.tiny_vlm.scenes import LabelledScenes

if TYPE_CHECKING:
    from hlmat.transforms.tiny_vlm.shared_forward import SharedForward

_AT_ONCE = 50
_TEXTS = 3
"""Texts of each scene that are asked."""


@torch.no_grad()
def answer_shares(
    forward: SharedForward,
    heads: DenseHeads,
    maker: BatchMaker,
    scenes: LabelledScenes,
    *,
    with_texts: bool,
) -> tuple[list[float], dict[str, float]]:
    """Return the shares of right answers about patches, and to texts.

    Args:
        forward: runs the model.
        heads: of the patches.
        maker: makes the batches.
        scenes: held-out scenes.
        with_texts: whether the language model is asked, too.

    Returns:
        by question, and by name: `click` and, of scenes with a mask, `action`. In [0, 1].
    """
    seen_right = np.zeros(len(QUESTIONS))
    clicks, actions = [], []
    amount = _TEXTS if with_texts else 0
    for first in range(0, len(scenes), _AT_ONCE):
        chosen = np.arange(first, min(first + _AT_ONCE, len(scenes)))
        batch = _on(forward, maker.make(scenes, chosen, texts=amount))
        seen = forward.look(batch.pixels)
        seen_right += np.array(heads.accuracy(seen, batch)) * len(chosen) / len(scenes)
        if with_texts:
            clicks += _clicks_inside(forward, maker, scenes, chosen, batch, seen)
            masked = _on(forward, maker.make(scenes, chosen, texts=amount, mask_share=1.0))
            actions += _actions_right(forward, maker, masked)
    if not with_texts:
        return seen_right.tolist(), {}
    shares = {"click": float(np.mean(clicks)), "action": float(np.mean(actions))}
    return seen_right.tolist(), shares


def _clicks_inside(
    forward: SharedForward,
    maker: BatchMaker,
    scenes: LabelledScenes,
    chosen: np.ndarray,
    batch: Batch,
    seen: torch.Tensor,
) -> list[bool]:
    """Return whether each written click lies in its object; every digit sees those before it."""
    c, texts = maker.conversation, batch.texts.clone()
    digits = torch.tensor(c.digits, device=texts.device)
    b, e = torch.nonzero(batch.targets >= 0, as_tuple=True)
    written = []
    for place in c.places:
        at = batch.starts[b, e] + place
        logits = forward.write(forward.read(seen, texts)[0][b, e, at - 1])[:, digits]
        written.append(logits.argmax(-1))
        texts[b, e, at] = digits[written[-1]]
    rows = torch.stack(written, 1).tolist()
    side = scenes.labels.shape[1]
    inside = []
    for k, (x0, x1, y0, y1) in enumerate(rows):
        x, y = maker.codec.parse(f"(0.{x0}{x1}, 0.{y0}{y1})", size_hw=(side, side))
        scene, target = int(chosen[int(b[k])]), int(batch.targets[b[k], e[k]])
        inside.append(bool(scenes.labels[scene, y, x] == target + 1))
    return inside


def _actions_right(forward: SharedForward, maker: BatchMaker, batch: Batch) -> list[bool]:
    """Return whether each answer begins as the oracle's does."""
    first = torch.tensor([a[0] for a in maker.conversation.answers], device=batch.texts.device)
    b, e = torch.nonzero(batch.targets >= 0, as_tuple=True)
    at = batch.starts[b, e]
    states = forward.read(forward.look(batch.pixels), batch.texts)[0][b, e, at - 1]
    found = first[forward.write(states)[:, first].argmax(-1)]
    return (found == batch.texts[b, e, at]).tolist()


def _on(forward: SharedForward, batch: Batch) -> Batch:
    device = forward.lm_head.weight.device
    return Batch(*(t.to(device) for t in batch))
