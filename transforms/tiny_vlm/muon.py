"""The optimiser Muon: momentum whose matrices are made nearly orthogonal before each update."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with nearly the same singular vectors whose singular values are near 1.

    Five of Newton and Schulz's steps with the coefficients of Jordan et al., "Muon: an optimizer
    for hidden layers in neural networks" (2024). Shape in and out: (M, N), or (B, M, N) for B
    matrices at once.
    """
    a, b, c = _COEFFICIENTS
    add = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if is_tall else matrix
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = add(a * x, add(b * square, square, square, alpha=c), x)
    return x.mT if is_tall else x


def orthogonalise_all(matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return each matrix as `orthogonalise` does, those of one shape at once.

    A GPU takes as long to start a product of small matrices as to compute it.
    """
    places: dict[torch.Size, list[int]] = {}
    for place, matrix in enumerate(matrices):
        places.setdefault(matrix.shape, []).append(place)
    found = list(matrices)
    for same in places.values():
        together = orthogonalise(torch.stack([matrices[place] for place in same]))
        for place, matrix in zip(same, together, strict=True):
            found[place] = matrix
    return found


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
            parameters = [p for p in group["params"] if p.grad is not None]
            parts = [self._parts(p) for p in parameters]
            flat = [part for each in parts for part in each]
            is_cuda = bool(flat) and flat[0].is_cuda
            made = iter(orthogonalise_all(flat) if is_cuda else map(orthogonalise, flat))
            for p, own in zip(parameters, parts, strict=True):
                rows, columns = own[0].shape
                update = torch.cat([next(made) for _ in own])
                update *= max(1.0, rows / columns) ** 0.5
                p.mul_(1 - 0.01 * group["lr"]).add_(update, alpha=-group["lr"])

    def _parts(self, p: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Take the gradient into the momentum; return what to make orthogonal, map by map."""
        assert p.grad is not None
        mean = self.state[p].setdefault("mean", torch.zeros_like(p)).lerp_(p.grad, 0.05)
        return p.grad.lerp(mean, 0.95).chunk(3 if id(p) in self._fused else 1)
