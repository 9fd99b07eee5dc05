"""The graph-cut segmenter's state of a target between clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.segmenters.graphcut.window import ImageWindow


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask at one bit per pixel.

    Attributes:
        bits: uint8, read-only. Shape: (H, ceil(W / 8)).
        size_hw: (height, width) of the mask.
    """

    bits: NDArray[np.uint8]
    size_hw: tuple[int, int]

    @classmethod
    def pack(cls, mask: Mask) -> PackedMask:
        """Pack a bool mask. Shape: (H, W)."""
        bits = np.packbits(mask, axis=1)
        bits.flags.writeable = False
        return cls(bits, (mask.shape[0], mask.shape[1]))

    def unpack(self) -> Mask:
        """Return the bool mask. Shape: (H, W)."""
        return self.part(Box(0, 0, self.size_hw[1], self.size_hw[0]))

    def part(self, box: Box) -> Mask:
        """Unpack the pixels of a box. Shape: the box's height and width."""
        first = box.x0 // 8
        bits = self.bits[box.y0 : box.y1, first : (box.x1 + 7) // 8]
        columns = np.unpackbits(bits, axis=1)[:, box.x0 - 8 * first : box.x1 - 8 * first]
        return np.ascontiguousarray(columns).view(np.bool_)


@dataclass(frozen=True, eq=False)
class PastClick:
    """A mask and the click that corrected it.

    Attributes:
        mask: the mask before the click.
        click: the click.
        cells: the mask at the cells of `TargetMemory.window`; None if not computed yet.
    """

    mask: PackedMask
    click: Click
    cells: PackedMask | None = None

    def shrunk(self, window: ImageWindow, *, known: bool) -> Mask:
        """Return the mask at a window's cells; `known` if `cells` belongs to this window."""
        if known and self.cells is not None:
            return self.cells.unpack()
        return window.shrink(self.mask.part(window.box)) > 0.5


@dataclass(frozen=True, eq=False)
class TargetMemory:
    """All state of one target; the segmenter's feedback.

    Attributes:
        clicks: the clicks so far, oldest first.
        box: the box prompt, clipped to the image, or None.
        mask: the answer to clicks and box.
        past: recent masks, each with the click that followed, latest last.
        window: the part of the image in which the last click was solved.
        given: an external mask from before the first click, or None.
    """

    clicks: tuple[Click, ...]
    box: Box | None
    mask: PackedMask
    past: tuple[PastClick, ...] = ()
    window: Box | None = None
    given: PackedMask | None = None

    @property
    def has_start(self) -> bool:
        """Whether a box or a given mask points at the object, without any click."""
        return self.box is not None or self.given is not None
