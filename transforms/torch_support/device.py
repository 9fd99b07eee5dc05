"""Resolve `--device` to a torch device, and report what a device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hlmat.transforms.core.errors import ConfigError

if TYPE_CHECKING:
    import torch


def computes_bfloat16(device: torch.device | str) -> bool:
    """Return whether a device multiplies bfloat16 numbers natively.

    A CPU without AVX-512 emulates them: a training step then takes about a hundred times as long.
    """
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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
