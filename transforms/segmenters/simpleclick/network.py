"""SimpleClick's network: a plain vision transformer with clicks as additional input.

An independent implementation of the paper (Liu et al. 2023, "SimpleClick: Interactive Image
Segmentation with Simple Vision Transformers"). What the paper leaves open (which blocks see all
tokens, the pyramid's inner widths) follows the authors' published code, and parameters have the
official names and shapes. Unused parameters of the official files (`cls_token`, `fc_norm`, the
classifier, `up_conv1`, `up_conv2`) exist so that the files load strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from hlmat.transforms.segmenters.simpleclick.architecture import (
    DISK_RADIUS,
    IMAGE_MEAN,
    IMAGE_STD,
    MLP_RATIO,
    Architecture,
)

_CLASSES = 1000
_LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class SimpleClickNetwork(nn.Module):
    """Maps an image, a previous mask and clicks to the object's logits."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.patch_embed_coords = _PatchEmbedding(architecture)
        self.backbone = _Backbone(architecture)
        self.neck = _Pyramid(architecture)
        self.head = _Head(architecture)

    def forward(self, image: Tensor, points: Tensor) -> Tensor:
        """Return logits.

        Args:
            image: float32. RGB in [0, 1] and the previous probabilities. Shape: (B, 4, S, S) with
                S the architecture's `image_side`.
            points: rows (y, x, index), as many positive as negative ones, positive first; a row
                whose y and x are both negative is unused. Shape: (B, 2n, 3).

        Returns:
            float32. Shape: (B, 1, S, S).

        Raises:
            ValueError: an image of another size; position embeddings are not interpolated.
        """
        side = self.architecture.image_side
        if tuple(image.shape[1:]) != (4, side, side):
            raise ValueError(
                f"the network takes images of shape (B, 4, {side}, {side}), got "
                f"{tuple(image.shape)}; resize them first"
            )
        mean, std = (image.new_tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
        normalised = (image[:, :3] - mean) / std
        prompts = torch.cat([image[:, 3:], click_disks(points, side=side)], dim=1)
        tokens = self.backbone(normalised, self.patch_embed_coords(prompts))
        grid = self.architecture.grid_side
        logits = self.head(self.neck(tokens.transpose(1, 2).unflatten(2, (grid, grid))))
        return functional.interpolate(logits, (side, side), mode="bilinear", align_corners=True)


def click_disks(points: Tensor, *, side: int) -> Tensor:
    """Draw the clicks as disks: the positive ones in channel 0, the negative ones in channel 1.

    A pixel belongs to a disk up to a distance of `DISK_RADIUS`. Distances along each axis are taken
    in the points' own precision (float64 differs from float32 at a disk's rim) and rounded to
    float32 before they are squared, as the reference does.

    Args:
        points: as in `SimpleClickNetwork.forward`. Shape: (B, 2n, 3).
        side: rows and columns of the drawing.

    Returns:
        float32, 0 or 1. Shape: (B, 2, side, side).
    """
    batch, rows, _ = points.shape
    by_sign = points.reshape(batch, 2, rows // 2, 3)
    pixels = torch.arange(side, dtype=points.dtype, device=points.device)
    offsets = (pixels - by_sign[..., :2, None]).to(torch.float32)
    down, right = (offsets * offsets).unbind(dim=3)
    used = by_sign[..., :2].amax(dim=3) >= 0
    disks = torch.zeros((batch, 2, side, side), dtype=torch.bool, device=points.device)
    for i in range(rows // 2):
        squared_distance = down[:, :, i, :, None] + right[:, :, i, None, :]
        disks |= (squared_distance <= DISK_RADIUS**2) & used[:, :, i, None, None]
    return disks.to(torch.float32)


class _PatchEmbedding(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        side = architecture.patch_side
        self.proj = nn.Conv2d(3, architecture.width, kernel_size=side, stride=side)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, S, S) to tokens (B, N, C), row by row."""
        return self.proj(image).flatten(2).transpose(1, 2)


class _Backbone(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture
        width, tokens = architecture.width, architecture.grid_side**2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, width))
        self.patch_embed = _PatchEmbedding(architecture)
        self.blocks = nn.ModuleList(_Block(architecture) for _ in range(architecture.depth))
        self.fc_norm = _LayerNorm(width)
        self.head = nn.Linear(width, _CLASSES)

    def forward(self, image: Tensor, prompt_tokens: Tensor) -> Tensor:
        """Map (B, 3, S, S) and (B, N, C) to tokens (B, N, C)."""
        grid, window = self._architecture.grid_side, self._architecture.window_side
        tokens = self.patch_embed(image) + prompt_tokens + self.pos_embed[:, 1:]
        is_split = False
        for number, block in enumerate(self.blocks, start=1):
            needs_split = number % self._architecture.global_every != 0
            if needs_split and not is_split:
                tokens = _split_windows(tokens, grid=grid, window=window)
            elif is_split and not needs_split:
                tokens = _join_windows(tokens, grid=grid, window=window)
            is_split = needs_split
            tokens = block(tokens)
        return tokens


def _split_windows(tokens: Tensor, *, grid: int, window: int) -> Tensor:
    """Map (B, grid², C) to (B * windows, window², C); the windows of an image row by row."""
    count = grid // window
    squares = tokens.reshape(-1, count, window, count, window, tokens.shape[2])
    return squares.transpose(2, 3).reshape(-1, window * window, tokens.shape[2])


def _join_windows(windows: Tensor, *, grid: int, window: int) -> Tensor:
    """Undo `_split_windows`."""
    count = grid // window
    squares = windows.reshape(-1, count, count, window, window, windows.shape[2])
    return squares.transpose(2, 3).reshape(-1, grid * grid, windows.shape[2])


class _Block(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.norm1 = _LayerNorm(architecture.width)
        self.norm2 = _LayerNorm(architecture.width)
        self.attn = _Attention(architecture)
        self.mlp = _Mlp(architecture.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._heads = architecture.heads
        self.qkv = nn.Linear(architecture.width, 3 * architecture.width)
        self.proj = nn.Linear(architecture.width, architecture.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self._heads, -1)).unbind(dim=2)
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return self.proj(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, C) to the same shape."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class _Pyramid(nn.Module):
    """Computes features at four sizes from the last block only (Li et al. 2022, ViTDet)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, (quarter, eighth, sixteenth, last) = architecture.width, architecture.neck_widths
        twice_up, up = max(2 * quarter, width // 2), max(eighth, width // 2)
        down = max(last, 2 * width)
        self.down_4 = nn.Sequential(
            *_upsampled(width, twice_up),
            nn.GELU(),
            *_upsampled(twice_up, twice_up // 2),
            *_projected(twice_up // 2, quarter),
        )
        self.down_8 = nn.Sequential(*_upsampled(width, up), *_projected(up, eighth))
        self.down_16 = nn.Sequential(*_projected(width, sixteenth))
        self.down_32 = nn.Sequential(
            nn.Conv2d(width, down, kernel_size=2, stride=2),
            nn.GroupNorm(1, down),
            *_projected(down, last),
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """Map (B, C, G, G) to four maps, the largest first."""
        return [f(features) for f in (self.down_4, self.down_8, self.down_16, self.down_32)]


def _upsampled(width: int, out_width: int) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(width, out_width, kernel_size=2, stride=2),
        nn.GroupNorm(1, out_width),
    )


def _projected(width: int, out_width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, out_width, kernel_size=1), nn.GroupNorm(1, out_width), nn.GELU()


class _Head(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width, widths = architecture.head_width, architecture.neck_widths
        self.conv_seg = nn.Conv2d(width, 1, kernel_size=1)
        self.convs = nn.ModuleList(_ConvRelu(w, width) for w in widths)
        self.fusion_conv = _Fusion(len(widths), width)
        self.up_conv1 = nn.Sequential(
            *_upsampled(width, width // 2), *_projected(width // 2, width // 2)
        )
        self.up_conv2 = nn.Sequential(
            *_upsampled(width // 2, width // 4), *_projected(width // 4, width // 4)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map the pyramid's four maps to logits (B, 1, G, G) of the largest map's size."""
        maps = [conv(f) for conv, f in zip(self.convs, features, strict=True)]
        return self.conv_seg(self.fusion_conv(maps))


class _ConvRelu(nn.Module):
    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out_width, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, G, G) to (B, C', G, G)."""
        return functional.relu(self.conv(features), inplace=True)


class _Fusion(nn.Module):
    """Joins maps of several sizes: resized, concatenated, and through a 1 x 1 convolution.

    Such a convolution outputs weighted sums of its inputs, and resizing preserves weighted sums. So
    each map is multiplied by its part of the weights before it is resized: the result is the same
    up to rounding, without the large concatenation.
    """

    def __init__(self, maps: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(maps * width, width, kernel_size=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Join maps (B, C, ., .), the largest first, into one of the largest map's size."""
        weights = self.conv.weight.chunk(len(maps), dim=1)
        total = functional.conv2d(maps[0], weights[0], self.conv.bias)
        for features, weight in zip(maps[1:], weights[1:], strict=True):
            part = functional.conv2d(features, weight)
            total += functional.interpolate(
                part, total.shape[2:], mode="bilinear", align_corners=False
            )
        return functional.relu(total, inplace=True)
