"""Time the oracle's click against RITM's plain method, on the same masks, in one thread.

    python -m benchmarks.oracle_clicks [--shared ../shared/data]

Each mask gets predictions as they occur on the way: nothing at first, then a coarse shape, then
one that is nearly right; then come masks made to be hard. Both methods must click alike; for that
comparison alone Intel's transform, which rounds ties apart, is kept out of OpenCV.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.oracle.click import oracle_click

_SIZES_HW = ((480, 640), (866, 1155), (1225, 1633), (1500, 2000), (2121, 2828), (3000, 4000))


def plain_click(prediction: Mask, truth: Mask, *, clicked: tuple[Click, ...] = ()) -> Click | None:
    """Click by a distance transform of every pixel, as RITM defines it."""
    not_clicked = np.ones(truth.shape, dtype=np.bool_)
    for click in clicked:
        not_clicked[click.y, click.x] = False
    depths = []
    for region in (np.logical_and(truth, ~prediction), np.logical_and(prediction, ~truth)):
        padded = np.pad(region, 1, "constant").astype(np.uint8)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1]
        depths.append(depth * not_clicked)
    deepest = [float(np.max(depth)) for depth in depths]
    is_positive = deepest[0] > deepest[1]
    if max(deepest) == 0:
        return None
    rows, columns = np.where(depths[0 if is_positive else 1] == max(deepest))
    return Click(int(columns[0]), int(rows[0]), is_positive)


def blobs(size_hw: tuple[int, int], *, seed: int) -> Mask:
    """Draw a few overlapping ellipses and cut some out again."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    canvas = np.zeros(size_hw, dtype=np.uint8)
    for i in range(12):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(3, width // 5)), int(rng.integers(3, height // 5)))
        cv2.ellipse(canvas, centre, axes, float(rng.integers(180)), 0, 360, int(i % 4 != 3), -1)
    return canvas.astype(np.bool_)


def predictions(truth: Mask, *, seed: int) -> Iterator[tuple[str, Mask]]:
    """Yield masks as a segmenter gives them, from none to nearly right."""
    rng = np.random.default_rng(seed)
    height, width = truth.shape
    yield "first", np.zeros_like(truth)
    for name, cells in (("coarse", 24), ("middle", 64), ("late", 160)):
        grid = (cells * height // max(height, width) + 1, cells * width // max(height, width) + 1)
        small = cv2.resize(truth.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
        noisy = small + rng.normal(0, 0.15, small.shape).astype(np.float32)
        smooth = cv2.resize(noisy, (width, height), interpolation=cv2.INTER_CUBIC)
        yield name, smooth > 0.5


def hard_masks(size_hw: tuple[int, int]) -> Iterator[tuple[str, Mask]]:
    """Yield errors that leave little to skip: everything, stripes, noise."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    yield "full", np.ones(size_hw, dtype=np.bool_)
    yield "bars", columns % 400 < 399
    yield "stripes", (rows + columns) % 100 < 90
    yield "noise", np.random.default_rng(0).random(size_hw) < 0.99


def best_ms(call: Callable[[], object], *, repeats: int) -> float:
    """Return the least time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def print_row(size_hw: tuple[int, int], name: str, step: str, ms: NDArray[np.float64]) -> None:
    """Print the milliseconds of the plain method and ours, and their ratio."""
    print(
        f"{size_hw[1]:>5} x{size_hw[0]:>4} {name:>7} {step:>7} {ms[0]:9.2f} {ms[1]:8.2f} "
        f"{ms[0] / ms[1]:6.1f}"
    )


def compare(
    name: str, step: str, prediction: Mask, truth: Mask, *, repeats: int
) -> NDArray[np.float64]:
    """Click by both methods; return the milliseconds of each. Raises if they click differently."""
    ours = oracle_click(prediction, truth)
    cv2.ipp.setUseIPP(False)
    plain = plain_click(prediction, truth)
    cv2.ipp.setUseIPP(True)
    if ours != plain:
        raise AssertionError(f"{name} {step}: {ours} is not {plain}")
    clicked = () if ours is None else (ours,)
    ms = np.array(
        [
            best_ms(lambda: plain_click(prediction, truth, clicked=clicked), repeats=repeats),
            best_ms(lambda: oracle_click(prediction, truth, clicked=clicked), repeats=repeats),
        ]
    )
    print_row((truth.shape[0], truth.shape[1]), name, step, ms)
    return ms


def main() -> None:
    """Print milliseconds of both methods and their ratio for each size and mask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    photographs = [
        mask
        for path in sorted((arguments.shared / "hqseg44k/DIS5K/DIS-TR/gt").glob("*.png"))
        if (mask := cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) is not None
    ]
    if not photographs:
        print(f"no DIS5K masks under {arguments.shared}: drawn masks only")

    print(f"{'size':>11} {'mask':>7} {'step':>7} {'plain ms':>9} {'ours ms':>8} {'ratio':>6}")
    for size_hw in _SIZES_HW:
        truths = {f"blobs{seed}": blobs(size_hw, seed=seed) for seed in (1, 2)}
        for i, mask in enumerate(photographs):
            resized = cv2.resize(mask, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
            truths[f"dis{i + 1}"] = resized > 127
        totals = np.zeros(2)
        for name, truth in truths.items():
            for step, prediction in predictions(truth, seed=size_hw[0]):
                totals += compare(name, step, prediction, truth, repeats=arguments.repeats)
        print_row(size_hw, "typical", "all", totals)
        for name, truth in hard_masks(size_hw):
            compare(name, "hard", np.zeros_like(truth), truth, repeats=arguments.repeats)


if __name__ == "__main__":
    main()
