"""Initial weights of the small model, from which it learns to see shapes within minutes."""

from __future__ import annotations

from typing import Any

import torch

NORM_OF_QUERIES = 1.2
"""Weight of the norms of queries and keys; kept in pre-training."""

_ZERO = ("attn.proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")
_NEIGHBOURS = ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (1, 1), (-1, 1), (1, -1), (0, 0))
"""(rows, columns) that heads look towards, in turn."""

_REACH = 4.0
_FASTEST = 0.09
_NEAR_BLOCKS = 3


@torch.no_grad()
def initialise(model: Any) -> None:
    """Set the weights of a `Qwen3VLForConditionalGeneration` from torch's global generator.

    Blocks begin as the identity, since the maps that write into the residual stream are zero;
    words and patches have a size that norms need not correct; positions are smooth, so that they
    can be read off; and each head of the tower looks at a neighbouring patch.
    """
    for name, p in model.named_parameters():
        if "q_norm" in name or "k_norm" in name:
            p.fill_(NORM_OF_QUERIES)
        elif "lm_head" in name or (name.endswith(_ZERO) and "merger" not in name):
            p.zero_()
        elif p.ndim == 2 and "embed" not in name:
            p.normal_(0, p.shape[1] ** -0.5)
    model.model.language_model.embed_tokens.weight.normal_(0, 0.5)
    visual = model.model.visual
    first = visual.patch_embed.proj.weight
    values = first[0, :, 0].numel()
    first.normal_(0, 0.5 * values**-0.5)
    positions = visual.pos_embed.weight
    at = torch.arange(len(positions))
    side = round(len(positions) ** 0.5)
    where = torch.stack([at // side, at % side], 1) / side
    width = positions.shape[1]
    waves = where @ torch.randn(2, width) + torch.rand(width)
    positions.copy_(0.7 * (2 * torch.pi * waves).cos())
    _look_around(visual)


def _look_around(visual: Any) -> None:
    """Bias each head towards one neighbouring patch, by way of the rotary positions.

    Without content, a query's and a key's constant parts meet as the cosine of how far the key is
    from the place looked at, summed over the frequencies; only the fast ones tell neighbours apart.
    """
    heads = visual.blocks[0].attn.num_heads
    size = visual.blocks[0].attn.qkv.bias.numel() // (3 * heads)
    quarter = size // 4
    pace = 10000.0 ** -(torch.arange(quarter) / quarter)
    reach = ((pace > _FASTEST).float() * _REACH).repeat(2)
    for i, block in enumerate(visual.blocks):
        bias = block.attn.qkv.bias.view(3, heads, size).zero_()
        steps = 1 if i < _NEAR_BLOCKS else 2
        for h in range(heads):
            rows, columns = _NEIGHBOURS[(i * heads + h) % len(_NEIGHBOURS)]
            turn = torch.cat([pace * rows, pace * columns]) * steps
            bias[0, h] = torch.cat([reach * turn.cos(), reach * turn.sin()])
            bias[1, h, : 2 * quarter] = reach
