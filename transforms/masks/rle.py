"""Masks as arrays and as COCO run lengths: conversion, area, box, IoU."""

from __future__ import annotations

from typing import Any

import numpy as np
import rlemasklib
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Rle

MAX_PIXELS = 120_000_000
"""Larger images and masks are rejected before they are made."""


def encode_mask(mask: Mask) -> Rle:
    """Encode a mask as COCO compressed run lengths.

    Args:
        mask: bool. Shape: (H, W).
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"a mask must be bool of shape (H, W), got {mask.dtype} {mask.shape}")
    encoded: Any = rlemasklib.encode(mask)
    return Rle(counts=encoded["counts"].decode("ascii"), size_hw=(mask.shape[0], mask.shape[1]))


def decode_rle(rle: Rle) -> Mask:
    """Decode run lengths that `encode_mask` or a validated reader made. Shape: (H, W)."""
    decoded: Any = rlemasklib.decode(rle_to_coco(rle))
    return np.ascontiguousarray(decoded).view(np.bool_)


def rle_to_coco(rle: Rle) -> Any:
    """Return the dictionary form that COCO tools read."""
    return {"counts": rle.counts.encode("ascii"), "size": list(rle.size_hw)}


def rle_area(rle: Rle) -> int:
    """Count the mask's pixels."""
    return int(rlemasklib.area(rle_to_coco(rle)))


def mask_box(mask: Mask) -> Box | None:
    """Return the tight box around the True pixels, None for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def mask_iou(a: Mask, b: Mask, *, ignore: Mask | None = None) -> float:
    """Return intersection over union, ignored pixels left out of both; 1 if both are empty."""
    intersection, union = overlap(a, b, ignore=ignore)
    return intersection / union if union else 1.0


def overlap(a: Mask, b: Mask, *, ignore: Mask | None = None) -> tuple[int, int]:
    """Return the pixel counts of intersection and union, ignored pixels left out of both."""
    both: NDArray[np.bool_] = a & b
    either: NDArray[np.bool_] = a | b
    if ignore is not None:
        both &= ~ignore
        either &= ~ignore
    return int(np.count_nonzero(both)), int(np.count_nonzero(either))
