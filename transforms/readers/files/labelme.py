"""The shapes of labelme's JSON files, drawn as labelme (https://github.com/wkentaro/labelme) does.

A line is ten pixels wide, a point a disc of radius five. Polygons and rectangles are
filled like all polygons here, by pycocotools: labelme draws their outline as well, which adds half
a pixel on each side.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.masks.images import decode_image
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.masks.rle import MAX_PIXELS

SHAPE_TYPES = ("polygon", "rectangle", "circle", "line", "linestrip", "point", "points", "mask")
_LINE_WIDTH = 10
_POINT_RADIUS = 5
_FARTHEST = 1e5


@dataclass(frozen=True)
class Canvas:
    """The canvas of shapes.

    Attributes:
        size_hw: (height, width) of the image's file, as it is shown.
        scale_xy: factors for coordinates that were recorded at another size.
    """

    size_hw: tuple[int, int]
    scale_xy: tuple[float, float] = (1.0, 1.0)


def draw_shapes(shapes: Sequence[Mapping[str, Any]], canvas: Canvas, *, name: str) -> Mask:
    """Return the union of shapes, at least one. Shape: `canvas.size_hw`.

    Args:
        shapes: with `points`, lists of two numbers, and `shape_type`; without one, polygons.
        canvas: what they are drawn on.
        name: of the file, for messages.

    Raises:
        TargetError: MALFORMED_SEGMENTATION, TOO_LARGE or EMPTY_MASK.
    """
    height, width = canvas.size_hw
    if height * width > MAX_PIXELS:
        raise TargetError(
            RejectReason.TOO_LARGE,
            f"{name}: the mask has {width} x {height} pixels, more than the {MAX_PIXELS:,} that "
            "are read",
        )
    polygons: list[list[float]] = []
    drawn: list[Mask] = []
    for shape in shapes:
        kind = shape.get("shape_type") or "polygon"
        points = _points(shape, canvas, name)
        match kind:
            case "polygon":
                polygons.append([value for point in points for value in point])
            case "rectangle":
                polygons.append(_rectangle(points, name))
            case "mask":
                drawn.append(_pasted(shape, canvas, name))
            case _:
                drawn.append(_with_pillow(str(kind), points, canvas, name))
    mask = np.zeros(canvas.size_hw, np.bool_)
    for each in drawn:
        mask |= each
    if polygons and not (drawn and all(len(numbers) < 6 for numbers in polygons)):
        try:
            mask |= segmentation_to_mask(polygons, size_hw=canvas.size_hw, name=name)
        except TargetError as error:
            if error.reason is not RejectReason.EMPTY_MASK or not drawn:
                raise
    if not mask.any():
        raise TargetError(RejectReason.EMPTY_MASK, f"{name}: the mask has no pixel")
    return mask


def _points(shape: Mapping[str, Any], canvas: Canvas, name: str) -> list[tuple[float, float]]:
    points = shape.get("points")
    if not isinstance(points, list):
        raise _malformed(name, "a shape has no list of points")
    found = []
    for point in points:
        numbers = point if isinstance(point, list) else []
        is_pair = len(numbers) == 2 and all(type(v) in (int, float) for v in numbers)
        if not is_pair or not all(-_FARTHEST <= v <= _FARTHEST for v in numbers):
            raise _malformed(name, f"{point!r:.40} is not a point [x, y]")
        found.append((numbers[0] * canvas.scale_xy[0], numbers[1] * canvas.scale_xy[1]))
    return found


def _rectangle(points: list[tuple[float, float]], name: str) -> list[float]:
    if len(points) == 4:
        return [value for point in points for value in point]
    (x0, y0), (x1, y1) = _exactly(2, points, "rectangle", name)
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _with_pillow(kind: str, points: list[tuple[float, float]], canvas: Canvas, name: str) -> Mask:
    height, width = canvas.size_hw
    image = PilImage.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    scale = math.sqrt(canvas.scale_xy[0] * canvas.scale_xy[1])
    line_width = max(round(_LINE_WIDTH * scale), 1)
    match kind:
        case "circle":
            centre, edge = _exactly(2, points, kind, name)
            draw.ellipse(_box_around(centre, math.dist(centre, edge)), outline=1, fill=1)
        case "line":
            draw.line(_exactly(2, points, kind, name), fill=1, width=line_width)
        case "linestrip" if len(points) >= 2:
            draw.line(points, fill=1, width=line_width)
        case "point":
            (centre,) = _exactly(1, points, kind, name)
            draw.ellipse(_box_around(centre, _POINT_RADIUS * scale), outline=1, fill=1)
        case "points" if points:
            for centre in points:
                draw.ellipse(_box_around(centre, _POINT_RADIUS * scale), outline=1, fill=1)
        case _:
            raise _malformed(
                name,
                f"a shape of the type {kind!r:.40} with {len(points)} points; known types are "
                f"{', '.join(SHAPE_TYPES)}",
            )
    return np.array(image).astype(np.bool_)


def _pasted(shape: Mapping[str, Any], canvas: Canvas, name: str) -> Mask:
    """Return a mask that the file embeds as an image of its box, whose ends are inclusive."""
    unscaled = Canvas(canvas.size_hw)
    corners = _exactly(2, _points(shape, unscaled, name), "mask", name)
    (x0, y0), (x1, y1) = ((int(x), int(y)) for x, y in corners)
    try:
        data = base64.b64decode(shape.get("mask") or "", validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise _malformed(name, f"a mask is not base64: {error}") from error
    try:
        part: Mask = np.asarray(decode_image(data, name="its mask").any(axis=2), np.bool_)
    except TargetError as error:
        raise _malformed(name, f"a mask cannot be read: {error.message}") from error
    if part.shape != (y1 - y0 + 1, x1 - x0 + 1):
        raise _malformed(
            name,
            f"a mask of {part.shape[1]} x {part.shape[0]} pixels for a box of {x1 - x0 + 1} x "
            f"{y1 - y0 + 1}",
        )
    height, width = canvas.size_hw
    recorded_hw = (round(height / canvas.scale_xy[1]), round(width / canvas.scale_xy[0]))
    whole = np.zeros(recorded_hw, np.uint8)
    rows = slice(max(y0, 0), max(min(y1 + 1, recorded_hw[0]), 0))
    columns = slice(max(x0, 0), max(min(x1 + 1, recorded_hw[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        whole[rows, columns] = part[
            rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0
        ]
    if recorded_hw != canvas.size_hw:
        whole = cv2.resize(whole, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return whole.astype(np.bool_)


def _box_around(centre: tuple[float, float], radius: float) -> list[float]:
    return [centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius]


def _exactly(
    count: int, points: list[tuple[float, float]], kind: str, name: str
) -> list[tuple[float, float]]:
    if len(points) != count:
        raise _malformed(name, f"a {kind} has {len(points)} points, expected {count}")
    return points


def _malformed(name: str, problem: str) -> TargetError:
    return TargetError(RejectReason.MALFORMED_SEGMENTATION, f"{name}.json: {problem}")
