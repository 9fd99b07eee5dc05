"""Paint a generated scene: textures, light and shadow, grain; what is where is settled before."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.readers.shapes.scene import (
    Colour,
    Pattern,
    Scene,
    Thing,
    fixed_rotation,
    rasterise,
)

# Integers throughout: the same bytes on every machine.
_Grey = NDArray[np.uint8]


def paint_scene(scene: Scene) -> Image:
    """Paint a scene as uint8 RGB. Shape: (H, W, 3).

    An object shows exactly at the pixels of its mask. Afterwards neighbouring pixels are mixed a
    little, as a lens does, so that colours alone do not give the border away.
    """
    rng = target_rng(0, scene.paint_key, "paint")
    height, width = scene.labels.shape
    image = _paint_ground(rng, scene)
    reach = max(2, min(height, width) // 40)
    shift_xy = tuple(int(rng.random() * (2 * reach + 1)) - reach for _ in range(2))
    light_degrees = int(rng.random() * 360)
    for index in reversed(range(len(scene.things))):
        thing = scene.things[index]
        mask, (rows, columns), _ = rasterise(thing, size_hw=(height, width))
        _cast_shadow(image, mask, rows=rows, columns=columns, shift_xy=(shift_xy[0], shift_xy[1]))
        surface = _paint_surface(thing, rows=rows, columns=columns, light_degrees=light_degrees)
        np.copyto(image[rows, columns], surface, where=mask[:, :, None])
    image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0.7), dtype=np.uint8)
    light = _noise(rng, size_hw=(height, width), cells=2, octaves=1)
    image = _lit(image, 100 + (light // 4).astype(np.uint16))
    return _grained(rng, image)


def _paint_ground(rng: np.random.Generator, scene: Scene) -> Image:
    size_hw = (scene.labels.shape[0], scene.labels.shape[1])
    side = min(size_hw)
    degrees = int(rng.random() * 180)
    period = max(6, int(side * (0.05 + 0.12 * rng.random())))
    cloud = _noise(rng, size_hw=size_hw, cells=3 + int(4 * rng.random()), octaves=5)
    # Averaged noise keeps to the middle: spread it.
    cloud = np.clip(cloud.astype(np.int16) * 2 - 128, 0, 255).astype(np.uint8)
    ys, xs = _grid_xy(slice(0, size_hw[0]), slice(0, size_hw[1]))
    if scene.ground == "gradient":
        along, _ = _turned(xs, ys, degrees=degrees)
        least, most = int(along.min()), int(along.max())
        share = ((along - least) * 200 // (most - least)).astype(np.uint8) + cloud // 6
    elif scene.ground == "stripes":
        share = _pattern("striped", xs, ys, degrees=degrees, period=period) // 2 + cloud // 3
    elif scene.ground == "checks":
        share = _pattern("checked", xs, ys, degrees=degrees, period=period) // 2 + cloud // 3
    elif scene.ground == "blobs":
        blobs = _noise(rng, size_hw=size_hw, cells=9, octaves=2)
        share = np.where(blobs > 128, np.uint8(170), np.uint8(0)) + cloud // 4
    elif scene.ground == "planks":
        across, along = _turned(xs, ys, degrees=degrees)
        plank = across // (2 * period)
        tone = (plank * 7919 % 13) * 8
        seam = np.where(across % (2 * period) < max(1, period // 12), 60, 0)
        fibre = (across * 37 + (along >> 4) * 11) % 23
        share = np.clip(tone + seam + fibre + (cloud // 3), 0, 255).astype(np.uint8)
    elif scene.ground == "grain":
        share = _noise(rng, size_hw=size_hw, cells=max(8, side // 5), octaves=2)
    else:
        share = cloud
    grit = _noise(rng, size_hw=size_hw, cells=max(8, side // 4), octaves=1)
    return _mix(share - share // 4 + grit // 4, scene.ground_colours)


def _cast_shadow(
    image: Image,
    mask: NDArray[np.bool_],
    *,
    rows: slice,
    columns: slice,
    shift_xy: tuple[int, int],
) -> None:
    """Draw an object's soft shadow, slightly to one side."""
    margin = 2 * max(abs(shift_xy[0]), abs(shift_xy[1]), 2)
    height, width = image.shape[:2]
    top, left = max(rows.start - margin, 0), max(columns.start - margin, 0)
    bottom, right = min(rows.stop + margin, height), min(columns.stop + margin, width)
    shade = np.zeros((bottom - top, right - left), dtype=np.uint8)
    y, x = rows.start - top + shift_xy[1], columns.start - left + shift_xy[0]
    y0, x0 = max(y, 0), max(x, 0)
    part = shade[y0 : y + mask.shape[0], x0 : x + mask.shape[1]]
    part[:] = mask[y0 - y : y0 - y + part.shape[0], x0 - x : x0 - x + part.shape[1]]
    shade *= 90
    soft = np.asarray(cv2.blur(shade, (margin | 1, margin | 1)), dtype=np.uint16)
    region = image[top:bottom, left:right]
    region[:] = _lit(region, np.uint16(128) - soft // np.uint16(2))


def _paint_surface(thing: Thing, *, rows: slice, columns: slice, light_degrees: int) -> Image:
    """Paint the rectangle around an object with its texture, brighter towards the light."""
    ys, xs = _grid_xy(rows, columns)
    xs, ys = xs - thing.centre_xy[0], ys - thing.centre_xy[1]
    # Wide enough that dots and checks stay dots and checks in a small image.
    period = {
        "gradient": thing.radius,
        "striped": max(7, thing.radius * 2 // 7),
        "dotted": max(10, thing.radius * 2 // 5),
        "checked": max(10, thing.radius // 2),
    }.get(thing.pattern, thing.radius)
    share = _pattern(thing.pattern, xs, ys, degrees=thing.pattern_degrees, period=period)
    surface = _mix(share, (thing.colour, thing.second_colour))
    towards, _ = _turned(xs, ys, degrees=light_degrees)
    light = np.clip(128 + towards * 22 // thing.radius, 96, 160).astype(np.uint16)
    return _lit(surface, light)


def _pattern(
    pattern: Pattern, xs: NDArray[np.int32], ys: NDArray[np.int32], *, degrees: int, period: int
) -> _Grey:
    """Return how much of the second colour each pixel has, 0 to 255."""
    u, v = _turned(xs, ys, degrees=degrees)
    half = period // 2
    if pattern == "gradient":
        return np.clip((u + period) * 255 // (2 * period), 0, 255).astype(np.uint8)
    if pattern == "striped":
        is_second = u % period < period * 2 // 5
    elif pattern == "dotted":
        du, dv = u % period - half, v % period - half
        is_second = du * du + dv * dv <= period * period // 10
    elif pattern == "checked":
        is_second = (u // half + v // half) & 1 == 1
    else:
        return np.zeros(u.shape, dtype=np.uint8)
    return np.where(is_second, np.uint8(255), np.uint8(0))


def _grid_xy(rows: slice, columns: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    ys = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None]
    xs = np.arange(columns.start, columns.stop, dtype=np.int32)[None, :]
    return ys, xs


def _turned(
    xs: NDArray[np.int32], ys: NDArray[np.int32], *, degrees: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the coordinates along and across a direction, in whole pixels. Shape: (H, W)."""
    cos, sin = (np.int32(c) for c in fixed_rotation(degrees))
    return (xs * cos + ys * sin) >> 16, (ys * cos - xs * sin) >> 16


def _mix(share: _Grey, colours: tuple[Colour, Colour]) -> Image:
    first, second = (np.array(c, dtype=np.int32) for c in colours)
    steps = np.arange(256, dtype=np.int32)[:, None]
    table = (first * (255 - steps) + second * steps + 127) // 255
    return np.take(table.astype(np.uint8), share, axis=0)


def _lit(image: Image, light: NDArray[np.uint16]) -> Image:
    """Multiply an image by light in 1/128, at most 256."""
    return np.minimum((image * light[:, :, None]) >> 7, 255).astype(np.uint8)


def _noise(
    rng: np.random.Generator, *, size_hw: tuple[int, int], cells: int, octaves: int
) -> _Grey:
    """Return smooth noise, the coarsest with `cells` bumps along the shorter side."""
    height, width = size_hw
    side = min(size_hw)
    total = np.zeros(size_hw, dtype=np.uint16)
    weights = [8 >> k or 1 for k in range(octaves)]
    for octave, weight in enumerate(weights):
        bumps = min(cells << octave, side)
        shape = (2 + height * bumps // side, 2 + width * bumps // side)
        coarse = rng.integers(0, 256, size=shape, dtype=np.uint8)
        if 16 * bumps < side:
            # Linear steps between few values leave creases; averaged twice they are gone.
            coarse = cv2.resize(
                coarse, (shape[1] * 8, shape[0] * 8), interpolation=cv2.INTER_LINEAR_EXACT
            )
            coarse = cv2.blur(cv2.blur(coarse, (9, 9)), (9, 9))
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        total += fine.astype(np.uint16) * np.uint16(weight)
    return (total // np.uint16(sum(weights))).astype(np.uint8)


def _grained(rng: np.random.Generator, image: Image) -> Image:
    """Add a sensor's noise of about two grey values."""
    draws = rng.integers(0, 256, size=image.shape, dtype=np.uint8)
    # Two independent numbers from 0 to 7 of one byte: a triangle around 7.
    grain = (draws & 7) + (draws >> 5)
    return np.clip(image.astype(np.int16) + grain - 7, 0, 255).astype(np.uint8)
