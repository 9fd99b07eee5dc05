"""Candidate masks for a first click or a box, each with a score; the best one is the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.segmenters.graphcut.chamfer import depth_share
from hlmat.transforms.segmenters.graphcut.likelihood import click_likelihood
from hlmat.transforms.segmenters.graphcut.window import Cell, ImageWindow

WHOLE_IMAGE_RADII = (0.05, 0.08, 0.13, 0.2, 0.3, 0.45)
"""Candidate radii of the object, as shares of the window's longer side."""
NEAR_OBJECT_RADII = (0.1, 0.16, 0.24)
_RADIUS_PULL = 1.5
_FIRST_ROUNDS = 2

_BOX_SHRINKS = (0.5, 0.75, 1.0)
_BOX_ROUNDS = 3
_BOX_PULL = 1.0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A labelling of a window and its score.

    Attributes:
        window: the part of the image that was labelled.
        labels: bool. Shape: the window's.
        score: comparable among the candidates for the same prompt.
    """

    window: ImageWindow
    labels: Mask
    score: float


def best(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the highest score, the first among equals."""
    return max(candidates, key=lambda candidate: candidate.score)


def keep_clicked(labels: Mask, cells: Sequence[Cell], *, anchor: Mask | None = None) -> Mask:
    """Keep the 4-connected parts that contain a positive click or touch the anchor."""
    count, numbers = cv2.connectedComponents(labels.view(np.uint8), connectivity=4)
    parts = np.asarray(numbers, np.int32)
    keep = np.zeros(count, np.bool_)
    for row, column, is_positive in cells:
        if is_positive:
            keep[parts[row, column]] = True
    if anchor is not None:
        keep[parts[anchor]] = True
    keep[0] = False
    return keep[parts]


def first_candidates(
    window: ImageWindow, cells: Sequence[Cell], *, centre: Cell, radii: Sequence[float]
) -> Iterator[Candidate]:
    """Propose objects around the first positive click, one per radius.

    Args:
        window: the part of the image to search.
        cells: every click, oldest first.
        centre: the click at the centre of the object.
        radii: candidate radii of the object, as shares of the window's longer side.
    """
    row, column, _ = centre
    colours = window.colours
    distance = window.distance(row, column)
    for share in radii:
        radius = share * window.side
        near, far, reach = (window.bump(row, column, s * radius) for s in (0.5, 1.3, 2.0))
        inside = colours.mass(near.weights, near.part)
        outside = colours.count - colours.mass(far.weights, far.part)
        pull = np.clip(-_RADIUS_PULL * (distance / np.float32(radius) - 1), -4, 4)
        labels = np.zeros(window.shape, np.bool_)
        for _ in range(_FIRST_ROUNDS):
            labels = window.cut(colours.paint(colours.evidence(inside, outside)) + pull, cells)
            labels = keep_clicked(labels, [centre])
            inside = colours.mass(labels[reach.part] * reach.weights, reach.part)
            outside = colours.count - colours.mass(labels.astype(np.float32))
        yield Candidate(window, labels, score_first(window, labels, centre))


def score_first(window: ImageWindow, labels: Mask, centre: Cell) -> float:
    """Score an object by its contour, the click's depth in it, its colours, image edge and size."""
    box, (height, width) = window.box, window.image_hw
    window_share = (box.x1 - box.x0) * (box.y1 - box.y0) / (height * width)
    return (
        24 * window.contrast(labels)
        + click_likelihood(((8, depth_share(labels, *centre[:2])),))
        + 5 * window.colours.separation(labels)
        - 20 * window.rim_share(labels)
        + 1 * math.log(float(labels.mean()) * window_share + 1e-4)
    )


def box_candidates(window: ImageWindow, inner: Mask) -> Iterator[Candidate]:
    """Propose objects inside a box.

    Args:
        window: a box somewhat larger than the prompt.
        inner: bool, the cells inside the prompt. Shape: the window's.
    """
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    half_height, half_width = rows.size / 2, columns.size / 2
    centre_row, centre_column = rows[0] + half_height - 0.5, columns[0] + half_width - 0.5
    ellipse = ((window.rows - centre_row) / half_height) ** 2 + (
        (window.columns - centre_column) / half_width
    ) ** 2
    outer = (~inner).astype(np.float32)
    colours = window.colours
    for shrink in _BOX_SHRINKS:
        inside = np.where(inner, np.exp(-ellipse / (2 * (0.7 * shrink) ** 2)), 0)
        outside = outer + np.where(inner & (ellipse > 1), 0.5, 0)
        pull = np.clip(2 * _BOX_PULL * (shrink - ellipse), -2, 2)
        labels = inner
        for _ in range(_BOX_ROUNDS):
            masses = (colours.mass(weights.astype(np.float32)) for weights in (inside, outside))
            evidence = colours.paint(colours.evidence(*masses)) + pull
            labels = window.cut(np.where(inner, evidence, -1e4), ())
            labels = _largest_parts(labels) if labels.any() else inner
            inside = labels.astype(np.float32)
            outside = outer + np.where(inner & ~labels, 0.5, 0)
        filled = (
            np.count_nonzero(labels.any(axis=1)) / rows.size
            + np.count_nonzero(labels.any(axis=0)) / columns.size
        )
        score = 24 * window.contrast(labels) + 5 * window.colours.separation(labels) + 8 * filled
        yield Candidate(window, labels, score)


def _largest_parts(labels: Mask) -> Mask:
    _, parts = cv2.connectedComponents(labels.view(np.uint8), connectivity=4)
    area = np.bincount(parts.ravel())
    area[0] = 0
    return (area >= 0.1 * area.max())[parts] & labels
