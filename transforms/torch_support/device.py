"""Resolve `--device` to a torch device, and report what a device can do."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from hlmat.transforms.core.errors import ConfigError

if TYPE_CHECKING:
    import torch


def computes_bfloat16(device: torch.device | str) -> bool:
    """Return whether a device multiplies bfloat16 numbers natively.

    PyTorch emulates them on a CPU without instructions for them. With AVX-512 that takes longer
    than float32; without it, a training step takes about a hundred times as long.
    """
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN supports bfloat16 with any AVX-512, by emulation, too.
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return not _is_x86() or _has_amx() or bool(torch.cpu._is_avx512_bf16_supported())


def describe_arithmetic(device: torch.device | str) -> str:
    """Return what a model is trained in on a device, and why, as a phrase for messages."""
    import torch

    is_gpu = torch.device(device).type == "cuda"
    if not computes_bfloat16(device):
        return f"float32, because this {'GPU' if is_gpu else 'processor'} only emulates bfloat16"
    if is_gpu:
        return "bfloat16, which this GPU computes"
    unit = "" if not _is_x86() else " with AMX" if _has_amx() else " with AVX-512"
    return f"bfloat16, which this processor computes{unit}"


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _has_amx() -> bool:
    import torch

    return bool(torch.cpu._is_amx_tile_supported())


def resolve_device(device: str) -> torch.device:
    """Return the device of a `--device` value.

    Args:
        device: "cpu", "cuda", "cuda:N", or "auto" for CUDA if available.

    Raises:
        ConfigError: an unknown device, or one that this machine does not have.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise ConfigError([f"{device!r} is not a device; use auto, cpu, cuda or cuda:N"])
    count = (
        torch.cuda.device_count() if resolved.type == "cuda" and torch.cuda.is_available() else 0
    )
    if resolved.type == "cuda" and (resolved.index or 0) >= count:
        seen = f"{count} CUDA devices" if count else "no CUDA device"
        raise ConfigError([f"device {device!r} was asked for, but this torch sees {seen}; use cpu"])
    return resolved
