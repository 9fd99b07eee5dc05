"""SAM's attention, computed without materialising the token-by-token matrix.

The image encoder adds to each attention logit a row term and a column term, both products of the
query with a table of relative positions (Li et al. 2022, "MViTv2"). The mask decoder lets every
token of the image attend to a handful of prompt tokens. Results equal those of
segment-anything's own classes up to the order in which numbers are added.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_BIAS_ELEMENTS = 4_000_000
"""Size of one block on the CPU: 16 MB in float32, which fits in its cache."""


def fuse_encoder_attention(image_encoder: Any) -> None:
    """Replace the attention of every block that has relative positions; the weights stay."""
    for block in image_encoder.blocks:
        if getattr(block.attn, "use_rel_pos", False):
            block.attn = FusedAttention(block.attn)


def fuse_decoder_attention(mask_decoder: Any) -> None:
    """Replace the attention of the image's tokens to the prompts; the weights stay."""
    for layer in mask_decoder.transformer.layers:
        layer.cross_attn_image_to_token = FewKeysAttention(layer.cross_attn_image_to_token)


class FusedAttention(nn.Module):
    """Computes what the encoder's `Attention` computes, with its parameters.

    Args:
        attention: of segment-anything's image encoder, with relative positions for one size.
    """

    row_terms: Tensor
    column_terms: Tensor

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.num_heads: int = attention.num_heads
        self.scale: float = attention.scale
        self.register_buffer("row_terms", _table(attention.rel_pos_h), persistent=False)
        self.register_buffer("column_terms", _table(attention.rel_pos_w), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x: float. Shape: (B, H, W, C), H and W those of the relative positions.
        """
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        grid = query.unflatten(2, (height, width))
        by_row = torch.einsum("bnhwc,hkc->bnhwk", grid, self.row_terms)
        by_column = torch.einsum("bnhwc,wkc->bnhwk", grid, self.column_terms)
        attend = attend_with_products if x.is_cuda else attend_with_bias
        attended = attend(query * self.scale, key, value, by_row=by_row, by_column=by_column)
        return self.proj(attended.transpose(1, 2).reshape(batch, height, width, channels))


def attend_with_products(
    query: Tensor, key: Tensor, value: Tensor, *, by_row: Tensor, by_column: Tensor
) -> Tensor:
    """Attend with both terms as part of the product of query and key: for CUDA's fused kernels.

    The query is extended by its terms for every row and column, the key by one-hot codes of its row
    and column. Kernels without a bias are the fastest, and the wider product costs little there.

    Args:
        query: scaled. Shape: (B, heads, H * W, C).
        key: Shape: (B, heads, H * W, C).
        value: Shape: (B, heads, H * W, C).
        by_row: the row term of each query for each row of keys. Shape: (B, heads, H, W, H).
        by_column: the column term, for each column of keys. Shape: (B, heads, H, W, W).
    """
    batch, heads, _, channels = value.shape
    height, width = by_row.shape[2:4]
    rows = torch.eye(height, device=key.device, dtype=key.dtype).repeat_interleave(width, dim=0)
    columns = torch.eye(width, device=key.device, dtype=key.dtype).repeat(height, 1)
    own = torch.cat([rows, columns], dim=1).expand(batch, heads, -1, -1)
    wide_query = torch.cat([query, by_row.flatten(2, 3), by_column.flatten(2, 3)], dim=-1)
    wide_key = torch.cat([key, own], dim=-1)
    # The kernels require all three to have the same width, a multiple of 8.
    wide = -(-wide_query.shape[-1] // 8) * 8
    return functional.scaled_dot_product_attention(
        functional.pad(wide_query, (0, wide - wide_query.shape[-1])),
        functional.pad(wide_key, (0, wide - wide_key.shape[-1])),
        functional.pad(value, (0, wide - channels)),
        scale=1.0,
    )[..., :channels]


def attend_with_bias(
    query: Tensor, key: Tensor, value: Tensor, *, by_row: Tensor, by_column: Tensor
) -> Tensor:
    """Attend with both terms as a bias, a few rows of queries at a time: for the CPU.

    Arguments and result are those of `attend_with_products`.
    """
    batch, heads, tokens, _ = query.shape
    height, width = by_row.shape[2:4]
    attended = torch.empty_like(query)
    step = max(_BIAS_ELEMENTS // (batch * heads * width * tokens), 1)
    for y in range(0, height, step):
        rows = slice(y, y + step)
        bias = by_row[:, :, rows, :, :, None] + by_column[:, :, rows, :, None, :]
        queries = slice(y * width, (y + step) * width)
        attended[:, :, queries] = functional.scaled_dot_product_attention(
            query[:, :, queries],
            key,
            value,
            attn_mask=bias.reshape(batch, heads, -1, tokens),
            scale=1.0,
        )
    return attended


class FewKeysAttention(nn.Module):
    """Computes what the decoder's `Attention` computes, but fast for few keys.

    A softmax along a few numbers wastes wide vector registers, so keys come first in memory and
    queries last.

    Args:
        attention: of segment-anything's two-way transformer.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.q_proj = attention.q_proj
        self.k_proj = attention.k_proj
        self.v_proj = attention.v_proj
        self.out_proj = attention.out_proj
        self.num_heads: int = attention.num_heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend.

        Args:
            q: Shape: (B, many, C).
            k: Shape: (B, few, C).
            v: Shape: (B, few, C).
        """
        query, key, value = (
            projection(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for projection, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        weights = (key @ query.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=2)
        return self.out_proj((weights.transpose(2, 3) @ value).transpose(1, 2).flatten(2))


def _table(relative: Tensor) -> Tensor:
    """Return the terms by query and key position. Shape: (size, size, C)."""
    size = (relative.shape[0] + 1) // 2
    positions = torch.arange(size, device=relative.device)
    return relative.detach()[positions[:, None] - positions[None, :] + size - 1]
