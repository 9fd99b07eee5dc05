"""The optimiser Muon: momentum whose matrices are made nearly orthogonal before each update."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with nearly the same singular vectors whose singular values are near 1.

    Five of Newton and Schulz's steps with the coefficients of Jordan et al., "Muon: an optimizer
    for hidden layers in neural networks" (2024). Shape in and out: (M, N).
    """
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.T
        x = torch.addmm(a * x, torch.addmm(b * square, square, square, alpha=c), x)
    return x.T if is_tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices (Jordan et al. 2024), with Nesterov's momentum.

    Args:
        parameters: matrices.
        lr: the learning rate.
        fused: ids of matrices that hold three maps one above the other.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], lr: float, fused: set[int]) -> None:
        super().__init__(parameters, {"lr": lr})
        self._fused = fused

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p)).lerp_(p.grad, 0.05)
                parts = p.grad.lerp(mean, 0.95).chunk(3 if id(p) in self._fused else 1)
                rows, columns = parts[0].shape
                update = torch.cat([orthogonalise(g) for g in parts])
                update *= max(1.0, rows / columns) ** 0.5
                p.mul_(1 - 0.01 * group["lr"]).add_(update, alpha=-group["lr"])
