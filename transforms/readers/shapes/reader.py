"""The built-in data set of generated scenes: images, exact masks and texts from a seed alone."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hlmat.transforms.core.errors import ConfigError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.readers.shapes.drawing import paint_scene
from hlmat.transforms.readers.shapes.expressions import SceneFacts, describe_object
from hlmat.transforms.readers.shapes.options import LICENSE, SPLITS, ShapesOptions
from hlmat.transforms.readers.shapes.scene import Scene, compose_scene

_CACHED_SCENES = 4


@dataclass
class _Composed:
    scene: Scene
    image: Image | None = None


@dataclass(frozen=True)
class ShapesReader:
    """Generates scenes on demand; nothing is on disk.

    The last few scenes are kept, so that the targets of one image share its drawing. The copy
    that travels to a worker starts without them.

    Attributes:
        options: what to generate.
        split: one of `SPLITS`; they share no image.

    Raises:
        ConfigError: an unknown split.
    """

    options: ShapesOptions = field(default_factory=ShapesOptions)
    split: str = "train"
    _recent: OrderedDict[int, _Composed] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(
                [f"shapes: split {self.split!r} does not exist; choose one of {', '.join(SPLITS)}"]
            )

    def __reduce__(self) -> tuple[type[ShapesReader], tuple[ShapesOptions, str]]:
        return type(self), (self.options, self.split)

    @property
    def name(self) -> str:
        """The `--dataset` name."""
        return "shapes"

    def describe_layout(self) -> str:
        """Return one line on what is generated."""
        o = self.options
        return (
            f"shapes, generated: {o.count} images of {o.width}x{o.height} pixels, "
            f"{o.objects_min} to {o.objects_max} objects, difficulty {o.difficulty}, "
            f"seed {o.seed}, split {self.split}"
        )

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List every object of every scene, front to back; there are no rejects."""
        for index in range(self.options.count):
            scene = compose_scene(self.options, split=self.split, index=index)
            facts = SceneFacts(scene)
            stem = f"{self.split}/{index:06d}"
            rng = target_rng(0, scene.paint_key, "expressions")
            for number in range(len(scene.things)):
                descriptions = describe_object(facts, number, rng=rng)
                yield TargetRef(
                    target_id=f"{stem}#{number}",
                    dataset=self.name,
                    split=self.split,
                    image_path=f"{stem}.png",
                    image_name=f"{stem}.png",
                    image_id=None,
                    object_id=number,
                    expressions=tuple(d.text() for d in descriptions),
                    truth_ref=json.dumps({"image": index, "object": number}),
                    license=LICENSE,
                )

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Return the visible pixels of an object.

        Raises:
            TargetError: a reference that this data set does not hold.
        """
        index, number = self._parse_truth_ref(ref)
        scene = self._compose(index).scene
        if not 0 <= number < len(scene.things):
            raise TargetError(
                RejectReason.MISSING_ANNOTATION,
                f"{ref.target_id}: image {index} has objects 0 to {len(scene.things) - 1}, "
                f"not {number}; list the targets again with these options",
            )
        return TruthMasks(truth=scene.mask(number))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Paint a scene as uint8 RGB. Shape: (H, W, 3).

        Raises:
            TargetError: a path that this data set does not hold, or another size.
        """
        found = re.fullmatch(rf"{self.split}/([0-9]{{6}}|[1-9][0-9]{{6,}})\.png", image_path)
        if found is None or int(found[1]) >= self.options.count:
            raise TargetError(
                RejectReason.MISSING_IMAGE,
                f"shapes has no image {image_path!r}; expected {self.split}/000000.png to "
                f"{self.split}/{self.options.count - 1:06d}.png",
            )
        own_hw = (self.options.height, self.options.width)
        if tuple(size_hw) != own_hw:
            raise TargetError(
                RejectReason.SIZE_MISMATCH,
                f"{image_path}: the mask is {size_hw[1]}x{size_hw[0]} pixels and the image "
                f"{own_hw[1]}x{own_hw[0]}; use the options that the target was listed with",
            )
        composed = self._compose(int(found[1]))
        if composed.image is None:
            composed.image = paint_scene(composed.scene)
        return np.copy(composed.image)

    def _parse_truth_ref(self, ref: TargetRef) -> tuple[int, int]:
        try:
            parsed = json.loads(ref.truth_ref)
            index, number = parsed["image"], parsed["object"]
            is_known = (
                type(index) is int and type(number) is int and 0 <= index < self.options.count
            )
        except (ValueError, TypeError, KeyError):
            is_known, index, number = False, 0, 0
        if not is_known:
            raise TargetError(
                RejectReason.MISSING_ANNOTATION,
                f"{ref.target_id}: truth_ref is {ref.truth_ref!r}; expected "
                f'{{"image": 0 to {self.options.count - 1}, "object": number}}',
            )
        return index, number

    def _compose(self, index: int) -> _Composed:
        recent = self._recent
        # Taken out and put back, not looked up: another thread may drop it in between.
        composed = recent.pop(index, None)
        if composed is None:
            composed = _Composed(compose_scene(self.options, split=self.split, index=index))
        recent[index] = composed
        if len(recent) > _CACHED_SCENES:
            recent.popitem(last=False)
        return composed
