"""Norms and rotary positions with derivatives written by hand, for processors.

Torch's own are chains of small operations there, each of which reads and writes the whole state.
"""

from __future__ import annotations

from typing import Any

import torch

_EPSILON = 1e-6


class RmsNorm(torch.autograd.Function):
    """A root-mean-square norm over the last axis, without weight (Zhang and Sennrich 2019)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return x divided by its root mean square."""
        wide = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = (length.square_() / x.shape[-1] + _EPSILON).rsqrt_().to(x.dtype)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient of x."""
        y, scale = ctx.saved_tensors
        g = gradients[0]
        return torch.addcmul(g, y, (g * y).mean(-1, keepdim=True), value=-1).mul_(scale)


class Rotation(torch.autograd.Function):
    """Rotary positions (Su et al. 2021); cosines and sines are constants, the same for halves."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Return x with each pair of channels (k, k + half) turned."""
        ctx.save_for_backward(cos, sin)
        half, y = x.shape[-1] // 2, x * cos
        y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        y[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient of x: turned back."""
        cos, sin = ctx.saved_tensors
        g = gradients[0]
        half, d = g.shape[-1] // 2, g * cos
        d[..., half:].addcmul_(g[..., :half], sin[..., :half], value=-1)
        d[..., :half].addcmul_(g[..., half:], sin[..., half:])
        return d, None, None
