"""Matrix products: their rate on this machine, and how much of them a step needs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SHAPES = ((2048, 2048, 2048), (3200, 192, 576))
_TIMES = 8
_MOST = 12
"""Operators that are named."""


class CountedProducts(TorchDispatchMode):
    """Counts operations of matrix products, convolutions and attention from their shapes.

    Attributes:
        flops: by dtype, those of derivatives included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops: dict[torch.dtype, float] = defaultdict(float)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            dtype = next(a.dtype for a in args if isinstance(a, torch.Tensor))
            self.flops[dtype] += formula(*args, **kwargs, out_val=made)
        return made


class Operators(profile):
    """PyTorch's profiler of operators on the CPU."""

    def __init__(self) -> None:
        super().__init__(activities=[ProfilerActivity.CPU])

    def shares(self) -> str:
        """Return the operators that took most of the time, with their shares of it."""
        found = sorted(self.key_averages(), key=lambda each: -each.self_cpu_time_total)
        whole = sum(each.self_cpu_time_total for each in found)
        return ", ".join(f"{e.key} {e.self_cpu_time_total / whole:.0%}" for e in found[:_MOST])


def product_rates(*, shape: tuple[int, int, int] = _SHAPES[-1]) -> dict[torch.dtype, float]:
    """Return operations a second of processor time, by dtype: the best of some products.

    Args:
        shape: rows, inner size, columns.
    """
    rows, inner, columns = shape
    best: dict[torch.dtype, float] = {}
    for dtype in PRECISIONS.values():
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(columns, inner).to(dtype)
        for _ in range(_TIMES):
            started = time.process_time()
            _ = a @ b.T
            rate = 2 * rows * inner * columns / (time.process_time() - started)
            best[dtype] = max(rate, best.get(dtype, 0.0))
    return best


def least_seconds(flops: Mapping[torch.dtype, float], rates: Mapping[torch.dtype, float]) -> float:
    """Return how long operations take at the rates of products in their own precisions."""
    return sum(count / rates[dtype] for dtype, count in flops.items())


def print_rates() -> dict[torch.dtype, float]:
    """Print the rates of products of some shapes; return those of the shape of a step's."""
    print("| product | float32, 10^9/s | bfloat16, 10^9/s |\n|---|---|---|")
    rates: dict[torch.dtype, float] = {}
    for shape in _SHAPES:
        rates = product_rates(shape=shape)
        columns = " | ".join(f"{rates[dtype] / 1e9:.0f}" for dtype in PRECISIONS.values())
        print(f"| {' x '.join(map(str, shape))} | {columns} |", flush=True)
    return rates
