"""PASCAL VOC and data in its layout: objects of `SegmentationObject`, or classes."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.errors import ConfigError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.levels import lossless
from hlmat.transforms.masks.mask_values import MaskValues, TargetsOf
from hlmat.transforms.masks.valued_masks import list_levels
from hlmat.transforms.readers.class_names import ClassNames, read_class_names
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.level_targets import LevelTargets, load_levels
from hlmat.transforms.readers.mask_folders import load_referenced_mask, shown_entries
from hlmat.transforms.readers.object_masks import files_by_stem
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES
from hlmat.transforms.readers.text_files import read_text
from hlmat.transforms.readers.voc_names import VOC_VOID, voc_class_names

IMAGES, CLASSES, OBJECTS = "JPEGImages", "SegmentationClass", "SegmentationObject"
LISTS = "ImageSets/Segmentation"
EVERY_MASK = "all"
"""The split of all images that have a mask, ignoring the lists."""
_PLACES = ("", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007")


@dataclass(frozen=True)
class VocReader:
    """Lists the objects, or the classes, of each image of a split.

    Attributes:
        name: the `--dataset` name.
        split: a list's name, or "all".
        root: the data root as the user gave it.
        storage: reaches `root`.
        base: the folder that holds ``JPEGImages``, relative to the root.
        values: what the levels of the masks mean; its targets are classes or instances.
        names: of the classes.
    """

    name: str
    split: str
    root: str
    storage: Storage
    base: str
    values: MaskValues
    names: ClassNames

    def describe_layout(self) -> str:
        """Return one line on which layout was recognised, and where."""
        return f"{self.values.targets} of {self._masks} at {self.base or self.root}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the targets image by image, in the order of the split's list; an image without a
        mask comes as a `Reject`.

        Raises:
            DataError: the list cannot be read.
        """
        images = files_by_stem(self.storage.list_dir(self._path(IMAGES)))
        masks = files_by_stem(self.storage.list_dir(self._path(self._masks)))
        classes = files_by_stem(self.storage.list_dir(self._path(CLASSES)))
        for stem in self._stems(masks):
            ref = self._ref(stem, images.get(stem), masks.get(stem))
            if stem not in images:
                reason = RejectReason.MISSING_IMAGE
                yield Reject(ref, reason, f"{IMAGES} has no image with the stem {stem!r}")
            elif stem not in masks:
                reason = RejectReason.MISSING_MASK
                yield Reject(ref, reason, f"{self._masks} has no mask with the stem {stem!r}")
            elif self.values.targets is TargetsOf.CLASSES:
                levels = LevelTargets(self.values, self.names)
                yield from levels.targets_of(ref, storage=self.storage, root=self.root)
            else:
                yield from self._objects(ref, classes.get(stem))

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's mask. Raises TargetError."""
        return load_referenced_mask(self.storage, self.root, json.loads(ref.truth_ref))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    @property
    def _masks(self) -> str:
        return CLASSES if self.values.targets is TargetsOf.CLASSES else OBJECTS

    def _path(self, name: str) -> str:
        return posixpath.join(self.root, self.base, name)

    def _stems(self, masks: Mapping[str, str]) -> list[str]:
        if self.split == EVERY_MASK:
            return sorted(masks)
        text = read_text(self.storage, self._path(f"{LISTS}/{self.split}.txt"))
        stems = []
        for line in filter(None, map(str.strip, text.splitlines())):
            # The list of a class has 1, 0 (hard to see) or -1 (not there) after each name.
            name, *number = line.split()
            if line in masks or len(number) != 1 or number[0] not in ("1", "0", "-1"):
                stems.append(line)
            elif number[0] != "-1":
                stems.append(name)
        return list(dict.fromkeys(stems))

    def _ref(self, stem: str, image: str | None, mask: str | None) -> TargetRef:
        image = image or f"{stem}.jpg"
        path = posixpath.join(self.base, self._masks, mask or f"{stem}.png")
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{stem}",
            dataset=self.name,
            split=self.split,
            image_path=posixpath.join(self.base, IMAGES, image),
            image_name=image,
            image_id=None,
            object_id=0,
            expressions=("the object",),
            truth_ref=json.dumps({"mask": path}),
            license=LICENSES[self.name],
        )

    def _objects(self, ref: TargetRef, class_mask: str | None) -> Iterator[TargetRef | Reject]:
        """Yield the objects of an image, each named by the class of most of its pixels."""
        mask = json.loads(ref.truth_ref)["mask"]
        try:
            objects = load_levels(self.storage, self.root, mask)
            found = list_levels(objects, self.values, name=mask)
        except TargetError as error:
            yield Reject(ref, error.reason, error.message)
            return
        pixels = lossless(objects).codes
        named: Mapping[int, str] = {}
        classes = None
        if class_mask is not None:
            path = posixpath.join(self.base, CLASSES, class_mask)
            try:
                classes, named = self._classes(path)
                if classes.shape != pixels.shape:
                    raise TargetError(
                        RejectReason.SIZE_MISMATCH, f"{path} and {mask} have different sizes"
                    )
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)
                return
        for number, (label, code) in enumerate(found.items()):
            name = None if classes is None else _most_frequent(classes[pixels == code], named)
            values = str(self.values.of_level(label))
            yield replace(
                ref,
                target_id=f"{ref.target_id}:{label}",
                object_id=number,
                expressions=(name,) if name else ref.expressions,
                truth_ref=json.dumps({"mask": mask, "values": values}),
            )

    def _classes(self, path: str) -> tuple[NDArray[np.integer], dict[int, str]]:
        """Return the levels of a mask of classes, and the names of those that are classes."""
        levels = lossless(load_levels(self.storage, self.root, path))
        found = list_levels(levels, self.values, name=path, is_background=self.names.is_background)
        named = {c: self.names.name_of(levels, c) or label for label, c in found.items()}
        return levels.codes, named


def _most_frequent(codes: NDArray[np.integer], named: Mapping[int, str]) -> str | None:
    """Return the class of most pixels; None if no pixel has one."""
    values, counts = np.unique(codes, return_counts=True)
    sizes = dict(zip(values.tolist(), counts.tolist(), strict=True))
    best = max((c for c in sizes if c in named), key=lambda code: sizes[code], default=None)
    return None if best is None else named[best]


def open_voc(name: str, options: ReaderOptions) -> VocReader:
    """Open data in the layout of PASCAL VOC.

    Objects are read if there is a folder of them, else classes; `--mask-values classes` or
    `instances` decides otherwise. 255 is void.

    Raises:
        LayoutError: the folders or the split's list are missing.
        ConfigError: `--mask-values` asks for one object.
        DataError: the names of classes cannot be read.
    """
    root, storage = options.data_root or "", options.storage
    base = _find_base(storage, root)
    is_dir = partial(_is_dir, storage, root, base)
    values = options.levels or MaskValues.parse("instances" if is_dir(OBJECTS) else "classes")
    if values.targets is TargetsOf.OBJECT:
        raise ConfigError(
            [
                f"--mask-values {values}: {name} defines the targets itself; give classes or "
                "instances, or read the masks with --dataset folder"
            ]
        )
    if not values.void:
        values = replace(values, void=MaskValues.parse(f"void={VOC_VOID}").void)
    masks = CLASSES if values.targets is TargetsOf.CLASSES else OBJECTS
    if not is_dir(masks):
        where = posixpath.join(root, base)
        raise LayoutError(f"{where} has no {masks}/; leave --mask-values {values.targets} out")
    split = options.split or "train"
    if split != EVERY_MASK and not storage.is_file(
        posixpath.join(root, base, LISTS, f"{split}.txt")
    ):
        there = storage.list_dir(posixpath.join(root, base, LISTS))
        splits = [entry.removesuffix(".txt") for entry in there if entry.endswith(".txt")]
        raise LayoutError(
            f"{posixpath.join(root, base, LISTS)} has no {split}.txt; --split can be "
            f"{', '.join([*splits, EVERY_MASK])} here"
        )
    own = read_class_names(storage, posixpath.join(root, base))
    return VocReader(
        name, split, root, storage, base, values, own if own.path else voc_class_names()
    )


def _is_dir(storage: Storage, root: str, base: str, name: str) -> bool:
    return storage.is_dir(posixpath.join(root, base, name))


def _find_base(storage: Storage, root: str) -> str:
    below = [entry for entry in storage.list_dir(root) if entry.endswith("/")]
    for place in (*_PLACES, *(entry.rstrip("/") for entry in below)):
        is_dir = partial(_is_dir, storage, root, place)
        if is_dir(IMAGES) and (is_dir(CLASSES) or is_dir(OBJECTS)):
            return place
    raise LayoutError(
        f"{root} is not in the layout of VOC: looked for {IMAGES}/ with {CLASSES}/ or {OBJECTS}/ "
        f"there, in VOCdevkit/VOC2012 and one level deeper; found: {shown_entries(storage, root)}"
    )
