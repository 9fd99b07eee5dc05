"""Measure the graph-cut segmenter on photographs: how many clicks, and how long each takes.

    python -m benchmarks.segmenters --data ../shared/data --sets grabcut,ecssd,coco_mval --jitter

Twenty clicks per target, no early stop. The exact oracle clicks the deepest error pixel; with
`--jitter` a second run clicks anywhere among the error component's pixels deeper than 0.3 of the
deepest. With `--baseline`, OpenCV's grabCut seeded by click discs runs on the same targets.
With `--profile`, a line says what share of the time each module of the graph-cut segmenter took.
OpenCV uses one thread, so that times are those of one core. Processor time is printed next to wall
time: it does not grow when others use the machine.
"""

from __future__ import annotations

import argparse
import cProfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hlmat.transforms.core.protocols import Image, Mask, Prediction, Segmenter
from hlmat.transforms.core.records import Box, Click, Reject
from hlmat.transforms.masks.rle import mask_iou
from hlmat.transforms.oracle.click import error_regions, oracle_click
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.segmenters.graphcut import segmenter as graphcut
from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter

_CLICKS = 20
_JITTER_DEPTH = 0.3
_SEGMENTERS = Path(graphcut.__file__).parent
# The data root of each set below the folder of samples.
_ROOTS = {"grabcut": "iseg", "davis": "iseg", "coco_mval": "iseg", "ecssd": "hqseg44k"}


@dataclass(frozen=True)
class Photograph:
    """An image with its true mask."""

    name: str
    image: Image
    truth: Mask
    ignore: Mask | None


@dataclass(frozen=True)
class Session:
    """What clicking one target gave.

    Attributes:
        ious: IoU after each click.
        click_s: seconds that each click took by the clock.
        cpu_s: seconds of processor time that each click took.
        image_s: seconds that taking the image took by the clock.
    """

    ious: list[float]
    click_s: list[float]
    cpu_s: list[float]
    image_s: float


class GrabCutBaseline:
    """OpenCV's grabCut, seeded by discs at the clicks and by the last mask."""

    def __init__(self) -> None:
        self._small: Image = np.zeros((1, 1, 3), np.uint8)
        self._size_hw = (1, 1)

    def set_image(self, image: Image) -> None:
        self._size_hw = (image.shape[0], image.shape[1])
        scale = min(1.0, 320 / max(self._size_hw))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._small = np.asarray(small, np.uint8)

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        height, width = self._small.shape[:2]
        side = max(height, width)
        points = [
            (c.x * width // self._size_hw[1], c.y * height // self._size_hw[0], c.is_positive)
            for c in clicks
        ]
        if feedback is None or not feedback.any():
            labels = np.full((height, width), cv2.GC_BGD, np.uint8)
            cv2.circle(labels, points[0][:2], int(0.35 * side), cv2.GC_PR_BGD, -1)
            cv2.circle(labels, points[0][:2], int(0.12 * side), cv2.GC_PR_FGD, -1)
        else:
            labels = np.where(feedback, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        for x, y, is_positive in points:
            label = cv2.GC_FGD if is_positive else cv2.GC_BGD
            cv2.circle(labels, (x, y), max(3, int(0.02 * side)), label, -1)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)
        if len(np.unique(labels)) > 1:
            cv2.grabCut(self._small, labels, (0, 0, 1, 1), *models, 3, cv2.GC_INIT_WITH_MASK)
        found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        _, parts = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
        kept = {int(parts[y, x]) for x, y, is_positive in points if is_positive} - {0}
        found = np.isin(parts, list(kept))
        mask = cv2.resize(found.astype(np.float32), self._size_hw[::-1]) > 0.5
        for click in clicks:
            mask[click.y, click.x] = click.is_positive
        return Prediction(mask=mask, feedback=found)


class ProfiledSegmenter:
    """The graph-cut segmenter, noting which of its modules the time goes to; a little slower."""

    def __init__(self) -> None:
        self._segmenter = GraphCutSegmenter()
        self._profile = cProfile.Profile(builtins=False)

    def set_image(self, image: Image) -> None:
        with self._profile:
            self._segmenter.set_image(image)

    def predict(
        self, *, clicks: Sequence[Click], box: Box | None = None, feedback: Any = None
    ) -> Prediction:
        with self._profile:
            return self._segmenter.predict(clicks=clicks, box=box, feedback=feedback)

    def time_shares(self) -> str:
        """Return each module's share of the time since the last call, the largest first."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for entry in self._profile.getstats():
            path = Path("" if isinstance(entry.code, str) else entry.code.co_filename)
            name = path.stem if path.parent == _SEGMENTERS else "others"
            seconds[name] += entry.inlinetime
        self._profile.clear()
        total = sum(seconds.values())
        ranked = sorted(seconds.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {s / total:.0%}" for name, s in ranked)


def read_photographs(
    data: Path, name: str, *, every: int, megapixels: float | None
) -> Iterator[Photograph]:
    """Yield every n-th photograph of a set, by name; enlarged or reduced if a size is given."""
    reader = open_reader(name, ReaderOptions(data_root=str(data / _ROOTS[name])))
    for item in islice(reader.read_targets(), 0, None, every):
        if isinstance(item, Reject):
            raise SystemExit(f"{item.ref.target_id} cannot be read: {item.message}")
        masks = reader.load_truth(item)
        size_hw = (masks.truth.shape[0], masks.truth.shape[1])
        photograph = Photograph(
            Path(item.image_name).stem,
            reader.load_image(item.image_path, size_hw=size_hw),
            masks.truth,
            masks.ignore,
        )
        yield photograph if megapixels is None else resized(photograph, megapixels)


def resized(photograph: Photograph, megapixels: float) -> Photograph:
    """Return a photograph scaled to about this many million pixels, its aspect kept."""
    height, width = photograph.truth.shape
    scale = (megapixels * 1e6 / (height * width)) ** 0.5
    size = (round(width * scale), round(height * scale))

    def scaled(mask: Mask) -> Mask:
        return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    return Photograph(
        photograph.name,
        np.asarray(cv2.resize(photograph.image, size, interpolation=cv2.INTER_CUBIC), np.uint8),
        scaled(photograph.truth),
        None if photograph.ignore is None else scaled(photograph.ignore),
    )


ClickRule = Callable[[Mask, Photograph, Sequence[Click]], Click | None]


def click_exactly(mask: Mask, photograph: Photograph, clicked: Sequence[Click]) -> Click | None:
    """Click the deepest error pixel."""
    return oracle_click(mask, photograph.truth, ignore=photograph.ignore, clicked=clicked)


def click_nearby(mask: Mask, photograph: Photograph, clicked: Sequence[Click]) -> Click | None:
    """Click a random pixel among the deeper ones of the component that the oracle clicks."""
    centre = click_exactly(mask, photograph, clicked)
    if centre is None:
        return None
    missed, wrong = error_regions(mask, photograph.truth, ignore=photograph.ignore)
    error = (missed if centre.is_positive else wrong).astype(np.uint8)
    _, parts = cv2.connectedComponents(error, connectivity=8)
    part = (parts == parts[centre.y, centre.x]).astype(np.uint8)
    padded = cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for click in clicked:
        depth[click.y, click.x] = 0
    rows, columns = np.nonzero(depth > _JITTER_DEPTH * depth.max())
    if rows.size == 0:
        return centre
    seed = zlib.crc32(photograph.name.encode()) + len(clicked)
    i = int(np.random.default_rng(seed).integers(rows.size))
    return Click(int(columns[i]), int(rows[i]), centre.is_positive)


def run_session(segmenter: Segmenter, photograph: Photograph, rule: ClickRule) -> Session:
    """Click one target to the end.

    Raises:
        AssertionError: the segmenter did not honour a click.
    """
    start = time.perf_counter()
    segmenter.set_image(photograph.image)
    image_s = time.perf_counter() - start
    mask, feedback = np.zeros_like(photograph.truth), None
    clicks: list[Click] = []
    ious, click_s, cpu_s = [], [], []
    for _ in range(_CLICKS):
        click = rule(mask, photograph, clicks)
        if click is None:
            break
        clicks.append(click)
        start, cpu_start = time.perf_counter(), time.process_time()
        prediction = segmenter.predict(clicks=clicks, feedback=feedback)
        click_s.append(time.perf_counter() - start)
        cpu_s.append(time.process_time() - cpu_start)
        mask, feedback = prediction.mask, prediction.feedback
        said = {(c.x, c.y): c.is_positive for c in clicks}
        assert all(mask[y, x] == positive for (x, y), positive in said.items()), photograph.name
        ious.append(mask_iou(mask, photograph.truth, ignore=photograph.ignore))
    ious += [ious[-1] if ious else 0.0] * (_CLICKS - len(ious))
    return Session(ious, click_s, cpu_s, image_s)


def table_row(sessions: Sequence[Session]) -> str:
    """Return the figures of many targets as one row of `_HEADER`."""
    ious = np.array([s.ious for s in sessions])
    numbers = []
    for threshold in (0.80, 0.85, 0.90):
        reached = ious >= threshold
        numbers.append(np.where(reached.any(1), reached.argmax(1) + 1, _CLICKS).mean())
    failures = int((ious < 0.85).all(1).sum())
    at = [100 * ious[:, k - 1].mean() for k in (1, 3, 5, 10, 20)]
    milliseconds = 1000 * np.concatenate([s.click_s for s in sessions])
    cpu_ms = 1000 * np.concatenate([s.cpu_s for s in sessions])
    image_ms = 1000 * np.mean([s.image_s for s in sessions])
    return (
        f"{len(sessions):4d} "
        + " ".join(f"{n:6.2f}" for n in numbers)
        + f" {failures:6d} "
        + " ".join(f"{a:5.1f}" for a in at)
        + f" {milliseconds.mean():6.0f} {np.percentile(milliseconds, 95):6.0f} "
        f"{cpu_ms.mean():6.0f} {image_ms:8.1f}"
    )


_HEADER = (
    f"{'segmenter':10s} {'set':10s} {'clicks':8s}    n NoC@80 NoC@85 NoC@90 NoF@85 "
    "IoU@1    @3    @5   @10   @20  ms/clk    p95 cpu_ms image_ms"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", default="grabcut,ecssd,coco_mval")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image")
    parser.add_argument("--megapixels", type=float, help="resize the images to this size")
    parser.add_argument("--jitter", action="store_true", help="also click off the deepest pixel")
    parser.add_argument("--baseline", action="store_true", help="also run OpenCV's grabCut")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes")
    parser.add_argument("--no-exact", action="store_true", help="leave out the exact oracle")
    arguments = parser.parse_args()
    names = arguments.sets.split(",")
    if unknown := [name for name in names if name not in _ROOTS]:
        parser.error(f"unknown sets {unknown}; choose from {', '.join(_ROOTS)}")
    cv2.setNumThreads(1)
    kind = ProfiledSegmenter if arguments.profile else GraphCutSegmenter
    segmenters: dict[str, Segmenter] = {"graphcut": kind()}
    if arguments.baseline:
        segmenters["grabCut"] = GrabCutBaseline()
    rules: dict[str, ClickRule] = {} if arguments.no_exact else {"exact": click_exactly}
    if arguments.jitter:
        rules["jittered"] = click_nearby
    print(_HEADER, flush=True)
    for name in names:
        for rule_name, rule in rules.items():
            for segmenter_name, segmenter in segmenters.items():
                photographs = read_photographs(
                    arguments.data, name, every=arguments.every, megapixels=arguments.megapixels
                )
                sessions = [run_session(segmenter, photograph, rule) for photograph in photographs]
                row = table_row(sessions)
                print(f"{segmenter_name:10s} {name:10s} {rule_name:8s} {row}", flush=True)
                if isinstance(segmenter, ProfiledSegmenter):
                    print(f"  {segmenter.time_shares()}", flush=True)


if __name__ == "__main__":
    main()
