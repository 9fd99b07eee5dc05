"""A segmenter without weights: graph cuts propose masks, contours and past clicks choose one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import SegmenterError
from hlmat.transforms.core.protocols import Image, Mask, Prediction
from hlmat.transforms.core.records import Box, Click
from hlmat.transforms.masks.rle import mask_box
from hlmat.transforms.segmenters.graphcut.first_click import (
    NEAR_OBJECT_RADII,
    WHOLE_IMAGE_RADII,
    Candidate,
    best,
    box_candidates,
    first_candidates,
    keep_clicked,
    score_first,
)
from hlmat.transforms.segmenters.graphcut.likelihood import PastError
from hlmat.transforms.segmenters.graphcut.memory import PackedMask, PastClick, TargetMemory
from hlmat.transforms.segmenters.graphcut.refinement import change_candidates
from hlmat.transforms.segmenters.graphcut.window import ImageWindow

_FIRST_SIDE = 160
_SIDE = 256
_CACHED_WINDOWS = 12
_REMEMBERED_ERRORS = 5
_FIRST_MARGIN = 2.2
_MARGIN = 1.5
_BOX_MARGIN = 1.5


class GraphCutSegmenter:
    """Segment photographs from clicks and boxes without learned weights.

    The first click proposes objects of several sizes, each a minimum cut of the image based on the
    colours near and far from the click; later clicks propose changes of the mask, from local to
    global. The best proposal has a border that follows contours and makes the positions of the
    clicks likely. Finally every click is enforced: its pixel gets the click's label, the latest one
    if several clicks share a pixel.

    The answer depends only on the image, the box and the sequence of clicks: without feedback, or
    with feedback of other clicks, all clicks are answered again in order. Clicks change a given
    mask (`feedback_of`) just like a mask of the segmenter.
    """

    def __init__(self) -> None:
        self._image: Image | None = None
        self._grey: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)
        self._windows: OrderedDict[tuple[Box, int], ImageWindow] = OrderedDict()

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return name and version; the version changes whenever an answer may change."""
        return {"segmenter": "graphcut", "version": 2}

    def set_image(self, image: Image) -> None:
        """Set the image of the next predictions.

        Args:
            image: uint8 RGB. Shape: (H, W, 3).

        Raises:
            SegmenterError: another dtype or shape, or an empty image.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise SegmenterError(
                f"the image is {image.dtype} {image.shape}: expected uint8 RGB of shape (H, W, 3)"
            )
        self._image = np.ascontiguousarray(image)
        self._grey = np.asarray(cv2.cvtColor(self._image, cv2.COLOR_RGB2GRAY), np.uint8)
        self._windows.clear()

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        """Segment the object that clicks and box indicate.

        Without a positive click or a box the mask is empty. A box is segmented before the first
        click; later clicks may extend the mask beyond it.

        Args:
            clicks: every click so far, oldest first; may be empty when there is a box.
            box: a box around the object, or None; None keeps the box of the feedback.
            feedback: `Prediction.feedback` of the target's last prediction, or None.

        Raises:
            SegmenterError: no image, no prompt, a prompt outside the image, or feedback of
                another segmenter or image size.
        """
        size_hw = self._size_hw()
        if feedback is not None and not isinstance(feedback, TargetMemory):
            raise SegmenterError(
                f"feedback is {type(feedback).__name__}: expected the feedback of this segmenter's "
                "last prediction for the target, or None"
            )
        if feedback is not None and feedback.mask.size_hw != size_hw:
            raise SegmenterError(
                f"feedback belongs to an image of {feedback.mask.size_hw} (H, W), but the current "
                f"one has {size_hw}; pass feedback=None on a target's first prediction"
            )
        box = _clip(box, size_hw) if box is not None else None
        if not clicks and box is None and (feedback is None or not feedback.has_start):
            raise SegmenterError("no prompt: give a click or a box")
        for click in clicks:
            if not (0 <= click.y < size_hw[0] and 0 <= click.x < size_hw[1]):
                raise SegmenterError(
                    f"{click} lies outside the image of {size_hw[1]} x {size_hw[0]} pixels"
                )
        memory, given = feedback, None
        if memory is not None and (
            (box is not None and box != memory.box)
            or tuple(clicks[: len(memory.clicks)]) != memory.clicks
        ):
            given = memory.given if box is None else None
            box = memory.box if box is None else box
            memory = None
        if memory is None:
            memory = TargetMemory((), box, given or self._first_mask(box), given=given)
        for click in clicks[len(memory.clicks) :]:
            memory = self._answer(memory, click)
        mask = memory.mask.unpack()
        return Prediction(mask=mask, feedback=memory)

    def feedback_of(self, mask: Mask) -> TargetMemory:
        """Return the feedback of a target with a given mask and no clicks.

        Args:
            mask: bool, of the current image's size. Shape: (H, W).
        """
        given = PackedMask.pack(mask)
        return TargetMemory((), None, given, given=given)

    def _first_mask(self, box: Box | None) -> PackedMask:
        mask = np.zeros(self._size_hw(), np.bool_) if box is None else self._segment_box(box)
        return PackedMask.pack(mask)

    def _size_hw(self) -> tuple[int, int]:
        if self._image is None:
            raise SegmenterError("no image is set: call set_image before predict")
        return self._image.shape[0], self._image.shape[1]

    def _window(self, box: Box, max_side: int) -> ImageWindow:
        if self._image is None:
            raise SegmenterError("no image is set: call set_image before predict")
        key = (box, max_side)
        if key not in self._windows:
            while len(self._windows) >= _CACHED_WINDOWS:
                self._windows.popitem(last=False)
            self._windows[key] = ImageWindow(self._image, self._grey, box, max_side=max_side)
        self._windows.move_to_end(key)
        return self._windows[key]

    def _answer(self, memory: TargetMemory, click: Click) -> TargetMemory:
        """Return the memory after another click."""
        clicks = (*memory.clicks, click)
        in_force = _in_force(clicks)
        mask = memory.mask.unpack()
        past = (*memory.past, PastClick(memory.mask, click))[-_REMEMBERED_ERRORS:]
        memory = replace(memory, clicks=clicks, past=past)
        has_object = memory.has_start or any(c.is_positive for c in in_force)
        if has_object and mask.any():
            memory, mask = self._change(memory, mask, in_force)
        elif click.is_positive:
            mask = self._segment_first(click, in_force)
        else:
            mask[:] = False
        honour_clicks(mask, clicks)
        return replace(memory, mask=PackedMask.pack(mask))

    def _segment_first(self, centre: Click, clicks: Sequence[Click]) -> Mask:
        """Segment an object around a click on an empty mask."""
        height, width = self._size_hw()
        whole = Box(0, 0, width, height)
        window = self._window(whole, _FIRST_SIDE)
        cells, cell = [window.cell(c) for c in clicks], window.cell(centre)
        found = best(list(first_candidates(window, cells, centre=cell, radii=WHOLE_IMAGE_RADII)))
        coarse = cv2.resize(found.labels.astype(np.float32), (width, height)) > 0.5
        near = _surroundings(coarse, clicks, margin=_FIRST_MARGIN)
        if (near.x1 - near.x0) * (near.y1 - near.y0) < 0.5 * height * width:
            window = self._window(near, _FIRST_SIDE)
            cells, cell = [window.cell(c) for c in clicks], window.cell(centre)
            closer = list(first_candidates(window, cells, centre=cell, radii=NEAR_OBJECT_RADII))
            labels = window.shrink(_part(coarse, near)) > 0.5
            labels = keep_clicked(labels, [cell])
            if labels.any():
                closer.append(Candidate(window, labels, score_first(window, labels, cell)))
            found = best(closer)
        return _place(found, whole)

    def _segment_box(self, box: Box) -> Mask:
        """Segment the object inside a box."""
        height, width = self._size_hw()
        around = _surroundings_of_box(box, (height, width), margin=_BOX_MARGIN)
        window = self._window(around, _SIDE)
        part = np.zeros((around.y1 - around.y0, around.x1 - around.x0), np.bool_)
        part[box.y0 - around.y0 : box.y1 - around.y0, box.x0 - around.x0 : box.x1 - around.x0] = 1
        inner = window.shrink(part) > 0.5
        if not inner.any():
            inner[:] = True
        mask = _place(best(list(box_candidates(window, inner))), Box(0, 0, width, height))
        inside = np.zeros_like(mask)
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
        mask &= inside
        return mask if mask.any() else inside

    def _change(
        self, memory: TargetMemory, mask: Mask, clicks: Sequence[Click]
    ) -> tuple[TargetMemory, Mask]:
        """Change a mask for its memory's latest click, the last of `clicks`."""
        near = _surroundings(mask, clicks, margin=_MARGIN, keep=memory.window)
        window = self._window(near, _SIDE)
        prior = window.shrink(_part(mask, near))
        known = near == memory.window
        masks = [*(one.shrunk(window, known=known) for one in memory.past[:-1]), prior > 0.5]
        errors = [
            PastError(labels, window.cell(one.click))
            for one, labels in zip(memory.past, masks, strict=True)
        ]
        past = tuple(
            replace(one, cells=PackedMask.pack(labels))
            for one, labels in zip(memory.past, masks, strict=True)
        )
        cells = [window.cell(c) for c in clicks]
        anchor = prior > 0.5 if memory.has_start else None
        found = best(list(change_candidates(window, prior, cells, past=errors, anchor=anchor)))
        changed = (found.labels != (prior > 0.5)).astype(np.uint8)
        changed = cv2.dilate(changed, np.ones((3, 3), np.uint8))
        size = (near.x1 - near.x0, near.y1 - near.y0)
        where = cv2.resize(changed, size, interpolation=cv2.INTER_NEAREST).view(np.bool_)
        np.copyto(_part(mask, near), window.enlarge(found.labels), where=where)
        return replace(memory, window=near, past=past), mask


def honour_clicks(mask: Mask, clicks: Sequence[Click]) -> None:
    """Label a small disc around every click, then every clicked pixel in order, in place.

    Args:
        mask: bool, contiguous. Shape: (H, W).
        clicks: oldest first.
    """
    radius = 2 if len(clicks) > 1 else 1
    for click in clicks:
        cv2.circle(
            mask.view(np.uint8), (click.x, click.y), radius, int(click.is_positive), thickness=-1
        )
    for click in clicks:
        mask[click.y, click.x] = click.is_positive


def _in_force(clicks: Sequence[Click]) -> list[Click]:
    """Return the last click at each pixel, oldest first."""
    latest: dict[tuple[int, int], Click] = {}
    for click in clicks:
        latest.pop((click.x, click.y), None)
        latest[click.x, click.y] = click
    return list(latest.values())


def _clip(box: Box, size_hw: tuple[int, int]) -> Box:
    height, width = size_hw
    x0, y0 = max(0, box.x0), max(0, box.y0)
    x1, y1 = min(width, box.x1), min(height, box.y1)
    if x0 >= x1 or y0 >= y1:
        raise SegmenterError(f"{box} lies outside the image of {width} x {height} pixels")
    return Box(x0, y0, x1, y1)


def _part(mask: Mask, box: Box) -> Mask:
    return mask[box.y0 : box.y1, box.x0 : box.x1]


def _place(found: Candidate, whole: Box) -> Mask:
    mask = np.zeros((whole.y1, whole.x1), np.bool_)
    _part(mask, found.window.box)[:] = found.window.enlarge(found.labels)
    return mask


def _surroundings(
    mask: Mask, clicks: Sequence[Click], *, margin: float, keep: Box | None = None
) -> Box:
    """Return a box around mask and clicks, `margin` times their size; `keep` if it still fits."""
    tight = mask_box(mask)
    x = [c.x for c in clicks] + ([tight.x0, tight.x1 - 1] if tight else [])
    y = [c.y for c in clicks] + ([tight.y0, tight.y1 - 1] if tight else [])
    extent = Box(min(x), min(y), max(x) + 1, max(y) + 1)
    wanted = _surroundings_of_box(extent, mask.shape, margin=margin)
    if keep is not None:
        needed = _surroundings_of_box(extent, mask.shape, margin=1 + (margin - 1) * 0.4)
        area = (wanted.x1 - wanted.x0) * (wanted.y1 - wanted.y0)
        if (
            keep.x0 <= needed.x0
            and keep.y0 <= needed.y0
            and keep.x1 >= needed.x1
            and keep.y1 >= needed.y1
            and (keep.x1 - keep.x0) * (keep.y1 - keep.y0) < 1.8 * area
        ):
            return keep
    return wanted


def _surroundings_of_box(box: Box, size_hw: tuple[int, ...], *, margin: float) -> Box:
    height, width = box.y1 - box.y0, box.x1 - box.x0
    least = max(max(height, width) * 0.4 * (margin - 1), 24)
    rows = max(height * (margin - 1) / 2, least)
    columns = max(width * (margin - 1) / 2, least)
    return Box(
        max(0, int(box.x0 - columns)),
        max(0, int(box.y0 - rows)),
        min(size_hw[1], int(box.x1 + columns)),
        min(size_hw[0], int(box.y1 + rows)),
    )
