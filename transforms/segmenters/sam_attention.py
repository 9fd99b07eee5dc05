"""The attention of SAM's image encoder through PyTorch's fused kernels.

The encoder adds to each attention logit a row term and a column term, both products of the query
with a table of relative positions (Li et al. 2022, "MViTv2"). Written out, that takes a matrix of
tokens by tokens, several times over. Here both terms become part of the product of query and key:
the query carries its terms for every row and column, the key says by ones which of them is its
own. The sum is the same, and the matrix is never made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusedAttention(nn.Module):
    """Computes what segment-anything's `Attention` computes, with its parameters.

    Args:
        attention: of segment-anything's image encoder, with relative positions for one size.
    """

    row_terms: Tensor
    column_terms: Tensor
    own_position: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.num_heads: int = attention.num_heads
        self.scale: float = attention.scale
        rows = (attention.rel_pos_h.shape[0] + 1) // 2
        columns = (attention.rel_pos_w.shape[0] + 1) // 2
        self.register_buffer("row_terms", _table(attention.rel_pos_h, rows), persistent=False)
        self.register_buffer("column_terms", _table(attention.rel_pos_w, columns), persistent=False)
        self.register_buffer("own_position", _own_position(rows, columns), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x: float. Shape: (B, H, W, C), H and W those of the relative positions.
        """
        batch, height, width, channels = x.shape
        tokens = height * width
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        grid = query.reshape(batch, self.num_heads, height, width, -1)
        by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, self.row_terms)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, self.column_terms)
        query = torch.cat(
            [query * self.scale, by_row.flatten(2, 3), by_column.flatten(2, 3)], dim=-1
        )
        own = self.own_position.to(key.dtype).expand(batch, self.num_heads, -1, -1)
        key = torch.cat([key, own], dim=-1)
        # Fused kernels want all three of one width, and that a multiple of 8.
        head = value.shape[-1]
        wide = -(-query.shape[-1] // 8) * 8
        attended = functional.scaled_dot_product_attention(
            functional.pad(query, (0, wide - query.shape[-1])),
            functional.pad(key, (0, wide - key.shape[-1])),
            functional.pad(value, (0, wide - head)),
            scale=1.0,
        )[..., :head]
        return self.proj(attended.transpose(1, 2).reshape(batch, height, width, channels))


def fuse_attention(image_encoder: Any) -> None:
    """Replace the attention of every block that has relative positions; the weights stay."""
    for block in image_encoder.blocks:
        if getattr(block.attn, "use_rel_pos", False):
            block.attn = FusedAttention(block.attn)


def _table(relative: Tensor, size: int) -> Tensor:
    """Return the terms by query and key position. Shape: (size, size, C)."""
    positions = torch.arange(size, device=relative.device)
    return relative.detach()[positions[:, None] - positions[None, :] + size - 1]


def _own_position(rows: int, columns: int) -> Tensor:
    """Return each key's row and column as ones. Shape: (rows * columns, rows + columns)."""
    return torch.cat(
        [
            torch.eye(rows).repeat_interleave(columns, dim=0),
            torch.eye(columns).repeat(rows, 1),
        ],
        dim=1,
    )
