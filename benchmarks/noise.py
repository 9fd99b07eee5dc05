"""How well `hlmat noise` finds planted errors: precision and recall by kind.

    python -m benchmarks.noise

Generated scenes get holes, islands and slivers in their masks, texts of another target of the image
(shared), texts of two targets exchanged (swapped), and copies of images (duplicate: as JPEG, a
little brighter), each at the given rate. The oracle then clicks on the wrong masks. A target counts
as found if it has a finding of the kind; what the scenes had before counts against the precision.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from hlmat import load_segmenter, roll_out
from hlmat.pipelines.correction.noise import find_noise
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Reject, Target, TargetRef, Trajectory
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.readers.shapes.reader import ShapesOptions, ShapesReader

KINDS = ("hole", "island", "sliver", "shared", "swapped", "duplicate")
_COPY = "copy of "
_QUALITY = 90
_BRIGHTER = 4


@dataclass
class PlantedData:
    """Targets with planted errors.

    Attributes:
        targets: in order, with their images' paths.
        images: by path.
        planted: the kinds that were planted, by target id.
    """

    targets: list[tuple[TargetRef, Mask]] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    planted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def of(self, trajectory: Trajectory) -> Image:
        """Return a target's image."""
        return self.images[trajectory.target.ref.image_path]


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    scenes = ShapesOptions(count=arguments.images, height=160, width=208)
    data = plant(scenes, rate=arguments.rate, seed=arguments.seed)
    figures = measure(data)
    if arguments.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{len(data.targets)} targets of {len(data.images)} images, rate {arguments.rate:g}")
    for kind, found in figures.items():
        shares = ", ".join(
            f"{name} {found[name]:.2f}" for name in ("precision", "recall") if name in found
        )
        counts = f"{found['planted']} planted, {found['found']} found, {found['both']} right"
        print(f"{kind:<10} {shares} ({counts})")


def measure(data: PlantedData) -> dict[str, dict[str, float]]:
    """Roll the oracle out on the planted masks, find noise, and compare."""
    segmenter = load_segmenter()
    made = (
        roll_out(Target(ref, encode_mask(truth)), data.images[ref.image_path], segmenter=segmenter)
        for ref, truth in data.targets
    )
    found = find_noise(made, data)
    kinds = {t.key[2]: {finding.kind for finding in t.findings} for t in found}
    return {kind: _figures(kind, data.planted, kinds) for kind in KINDS}


def plant(scenes: ShapesOptions, *, rate: float, seed: int) -> PlantedData:
    """Generate scenes and plant errors in them.

    Args:
        scenes: what to generate.
        rate: share of targets that get each error of a mask, and of images that get each other; at
            most 0.5, as an image gets one of two errors of texts.
        seed: another one plants other errors.
    """
    reader = ShapesReader(scenes, split="train")
    by_image: defaultdict[str, list[tuple[TargetRef, Mask]]] = defaultdict(list)
    for entry in reader.read_targets():
        if not isinstance(entry, Reject):
            by_image[entry.image_path].append((entry, reader.load_truth(entry).truth))
    data = PlantedData()
    for path, targets in by_image.items():
        rng = target_rng(seed, path, "plant")
        size_hw = targets[0][1].shape[:2]
        image = reader.load_image(path, size_hw=(size_hw[0], size_hw[1]))
        shown = [(ref, _with_defects(truth, ref, data, rng, rate)) for ref, truth in targets]
        shown = _with_texts(shown, data, rng, rate)
        data.images[path] = image
        data.targets += shown
        if rng.random() < rate:
            data.images[_COPY + path] = _copied(image)
            for ref, truth in shown:
                copy = replace(ref, target_id=_COPY + ref.target_id, image_path=_COPY + path)
                data.planted[copy.target_id] = data.planted[ref.target_id] | {"duplicate"}
                data.targets.append((copy, truth))
    return data


def _with_defects(
    truth: Mask, ref: TargetRef, data: PlantedData, rng: np.random.Generator, rate: float
) -> Mask:
    planted = truth.copy()
    inside = cv2.distanceTransform(truth.view(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~truth).view(np.uint8), cv2.DIST_L2, 5)
    for kind, places in (
        ("hole", np.argwhere((inside >= 6) & (inside <= 20))),
        ("island", np.argwhere((outside >= 6) & (outside <= 30))),
        ("sliver", np.argwhere((outside > 0) & (outside <= 1.5))),
    ):
        if rng.random() >= rate or not len(places):
            continue
        y, x = map(int, places[rng.integers(len(places))])
        side = int(rng.integers(1, 4))
        if kind == "sliver":
            drawn = planted.astype(np.uint8)
            angle, length = rng.uniform(0, 2 * np.pi), rng.integers(12, 25)
            end = (round(x + length * np.cos(angle)), round(y + length * np.sin(angle)))
            # A spur, or a crack where it runs through the object.
            cv2.line(drawn, (x, y), end, int(rng.integers(2)), 1)
            drawn = drawn.astype(np.bool_)
            if np.count_nonzero(drawn != planted) < 8:
                continue
            planted = drawn
        else:
            planted[y : y + side, x : x + side] = kind == "island"
        data.planted[ref.target_id].add(kind)
    return planted


def _with_texts(
    targets: list[tuple[TargetRef, Mask]],
    data: PlantedData,
    rng: np.random.Generator,
    rate: float,
) -> list[tuple[TargetRef, Mask]]:
    refs = [ref for ref, _ in targets]
    if rate and len(refs) > 1:
        a, b = map(int, rng.choice(len(refs), 2, replace=False))
        kind = {0: "swapped", 1: "shared"}.get(int(rng.random() / rate))
        texts = refs[a].expressions, refs[b].expressions
        if kind == "swapped":
            refs[a] = replace(refs[a], expressions=texts[1])
            refs[b] = replace(refs[b], expressions=texts[0])
        elif kind == "shared":
            refs[a] = replace(refs[a], expressions=(texts[1][0], *texts[0][1:]))
        for place in (a, b) if kind else ():
            data.planted[refs[place].target_id].add(str(kind))
    return [(ref, truth) for ref, (_, truth) in zip(refs, targets, strict=True)]


def _copied(image: Image) -> Image:
    brighter = np.clip(image.astype(np.int16) + _BRIGHTER, 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", brighter[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None
    return np.ascontiguousarray(read[:, :, ::-1]).astype(np.uint8)


def _figures(
    kind: str, planted: Mapping[str, set[str]], found: Mapping[str, set[str]]
) -> dict[str, float]:
    counts = Counter(
        (kind in planted.get(target_id, ()), kind in kinds) for target_id, kinds in found.items()
    )
    both, there, seen = (
        counts[True, True],
        counts[True, True] + counts[True, False],
        counts[True, True] + counts[False, True],
    )
    return {
        "planted": there,
        "found": seen,
        "both": both,
        **({"precision": both / seen} if seen else {}),
        **({"recall": both / there} if there else {}),
    }


if __name__ == "__main__":
    main()
