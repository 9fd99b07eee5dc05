"""COCO instances JSON, and LVIS, whose files have the same shape: one target per annotation."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.files.coco_annotations import read_instances
from hlmat.transforms.readers.files.coco_captions import caption_texts
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    load_segmentation,
    segmentation_ref,
)
from hlmat.transforms.readers.files.coco_tables import CocoTables, image_name, is_crowd
from hlmat.transforms.readers.files.expressions import sentences_of
from hlmat.transforms.readers.files.frames import Fit
from hlmat.transforms.readers.files.ids import Entry, id_of, id_order, number_of
from hlmat.transforms.readers.files.image_places import ImagePlaces, dated_splits
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.polygon_units import (
    apart_remark,
    check_units,
    is_apart,
    percent_remark,
)
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

_DEFAULT_SPLIT = "val2017"
_SHOWN = 4
_ROBOFLOW = "_annotations.coco.json"
_EXPORTS = {
    "default": "annotations/instances_default.json",
    "all": "result.json",
    "exported": _ROBOFLOW,
}
"""Single-split files of CVAT, Label Studio and Roboflow, by the split's name."""


@dataclass(frozen=True)
class CocoReader:
    """Lists the annotations of an instances file.

    Attributes:
        name: the `--dataset` name.
        split: names the default annotation file and the image folder.
        root: the data root as the user gave it.
        storage: reaches `root`.
        annotations: the JSON file, relative to `root`.
        unread: other instances files that may be meant.
    """

    name: str
    split: str
    root: str
    storage: Storage
    annotations: str
    unread: list[str] = field(default_factory=list, repr=False, compare=False)
    _remarks: list[str] = field(default_factory=list, repr=False, compare=False)

    def describe_layout(self) -> str:
        """Return one line on what is read."""
        return f"COCO instances {self.annotations} in {self.root}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the annotations, sorted by image and annotation id.

        Crowd annotations, which cover many objects at once, come as rejects. Of annotations with
        the same id, the first in the file counts; the others are rejects. Entries of `images` with
        the same file are one image.

        Raises:
            DataError: the file is malformed, or changes while it is read.
        """
        path = posixpath.join(self.root, self.annotations)
        content, annotations = read_instances(self.storage, path, tables=("images", "categories"))
        tables = CocoTables(content, annotations, path=path)
        remark = percent_remark(annotations, tables.images)
        self._remarks[:] = [f"{path}: {remark}"] if remark else []
        listing = _Listing(tables, self._image_places(tables))
        is_first = annotations.ids.is_first
        image_path, object_id = None, 0
        for position in listing.order().tolist():
            entry = annotations[position]
            fields = entry if isinstance(entry, dict) else {}
            own_id = id_of(fields.get("id"))
            place = listing.place_of(fields.get("image_id"))
            # All annotations of an image are consecutive.
            object_id = object_id + 1 if place.path == image_path else 0
            image_path = place.path
            try:
                truth = _truth_of(
                    entry, own_id, listing, image_key=place.key, is_first=bool(is_first[position])
                )
                yield self._ref(own_id, place, object_id, truth)
            except TargetError as error:
                ref = self._ref(own_id, place, object_id, _NO_TRUTH)
                yield Reject(ref, error.reason, error.message)
        if (remark := apart_remark(listing.apart)) is not None:
            self._remarks.append(f"{path}: {remark}")
        if listing.unused_captions:
            self._remarks.append(_remark_on_captions(path, listing.unused_captions))

    def remarks(self) -> list[str]:
        """Return a remark for each file that is not read and on suspicious polygons."""
        unread = [
            f"{path} is not read: {self.annotations} is; name it with --annotations for a run of "
            "its own"
            for path in self.unread
        ]
        return [*unread, *self._remarks]

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a target's segmentation. Raises TargetError."""
        return load_segmentation(ref, storage=self.storage, root=self.root)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _image_places(self, tables: CocoTables) -> ImagePlaces:
        beside, last = posixpath.split(posixpath.dirname(self.annotations))
        # Exports place their file next to the images, or next to their folder.
        base = beside if last == "annotations" else posixpath.join(beside, last)
        file = posixpath.basename(self.annotations).removesuffix(".json")
        parts = dict.fromkeys((self.split, file.removeprefix("instances_")))
        of_parts = [folder for part in parts for folder in (part, f"images/{part}")]
        below = [*of_parts, "images", "", "train2017", "val2017"]
        folders = [posixpath.join(base, folder) for folder in below] if base else []
        folders = [base, *folders] if base and last != "annotations" else folders
        names = [image_name(image) for image in tables.images]
        return ImagePlaces(
            self.storage,
            self.root,
            folders=[posixpath.normpath(f) if f else "" for f in (*folders, *below)],
            names=[name for name in names if name],
        )

    def _ref(self, own_id: str | None, place: _Place, object_id: int, truth: _Truth) -> TargetRef:
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{own_id or 'unknown'}",
            dataset=self.name,
            split=self.split,
            image_path=place.path,
            image_name=place.name or "unknown",
            image_id=place.number,
            object_id=object_id,
            expressions=truth.expressions,
            truth_ref=truth.text,
            license=LICENSES["coco"],
        )


class _Truth(NamedTuple):
    """What an annotation says: its expressions and its `truth_ref`."""

    expressions: tuple[str, ...]
    text: str


_NO_TRUTH = _Truth((), "{}")


class _Place(NamedTuple):
    """Where an image is: its path, its name in the file, its id as text and as number."""

    path: str
    name: str
    key: str | None
    number: int | None


class _UsableImage(NamedTuple):
    """An image that annotations may have, its size if the file has one, and how shapes fit it."""

    key: str | None
    entry: Entry
    name: str
    size_hw: tuple[int, int] | None
    fit: Fit | None


def open_coco(name: str, options: ReaderOptions) -> CocoReader:
    """Open an instances file: that of COCO, or one that CVAT, Label Studio or Roboflow exported.

    Raises:
        LayoutError: it is not there.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or _DEFAULT_SPLIT
    places = [(split, f"annotations/instances_{split}.json"), (split, f"{split}/{_ROBOFLOW}")]
    places += [(dated, f"annotations/instances_{dated}.json") for dated in dated_splits(split)]
    if split in ("val", "validation"):
        places.append(("valid", f"valid/{_ROBOFLOW}"))
    if split == _DEFAULT_SPLIT:
        places += [*_EXPORTS.items(), ("train", f"train/{_ROBOFLOW}")]
    elif split in _EXPORTS:
        places.append((split, _EXPORTS[split]))
    if options.annotations:
        places = [(split, options.annotations)]
    for found, file in places:
        if storage.is_file(posixpath.join(root, file)):
            reader = CocoReader(name, found, root, storage, file)
            if file in _EXPORTS.values():
                reader.unread.extend(_other_instances(storage, root, file))
            return reader
    raise LayoutError(
        f"{root} does not contain {places[0][1]}; name the instances file with --annotations, "
        f"relative to --data-root; found: {shown_entries(storage, root)}; in annotations/: "
        f"{shown_entries(storage, posixpath.join(root, 'annotations'))}"
    )


def _other_instances(storage: Storage, root: str, file: str) -> list[str]:
    """Return the other instances files of an export, such as those of its other jobs."""
    folder = posixpath.dirname(file)
    names = storage.list_dir(posixpath.join(root, folder))
    found = [n for n in names if n.startswith("instances") and n.endswith(".json")]
    return [path for name in found if (path := posixpath.join(folder, name)) != file]


def _remark_on_captions(path: str, names: Iterable[str]) -> str:
    images = list(names)
    count = f"the caption of {len(images)} images is" if len(images) > 1 else "a caption is"
    return (
        f"{path}: {count} not used, since several annotations have no caption of their own there: "
        f"{', '.join(images[:_SHOWN])}; give annotations a caption, or tokens_positive"
    )


class _Listing:
    """Cross-references in an instances file: images, their paths, annotations per image."""

    def __init__(self, tables: CocoTables, places: ImagePlaces) -> None:
        self.tables = tables
        self._unknown = posixpath.join(places.folder, "unknown")
        self._paths: dict[str | None, str] = {}
        self._problems: dict[str | None, TargetError] = {}
        first: dict[str, tuple[int, int, str]] = {}
        for image in sorted(tables.images, key=lambda entry: id_order(entry.get("id"))):
            key, name = id_of(image.get("id")), image_name(image)
            try:
                path = places.find(name) if name else self._unknown
            except TargetError as error:
                self._problems[key] = error
                path = self._unknown
            self._paths[key] = path
            first.setdefault(path, id_order(key))
        self._first = first
        self.unused_captions: dict[str, None] = {}
        self.apart: list[str] = []
        # Those of the last annotation, whose image the next one usually has.
        self._place: _Place | None = None
        self._image: _UsableImage | None = None

    def place_of(self, image_id: object) -> _Place:
        """Return where an image is according to its first entry."""
        if self._place is not None and type(image_id) is int and image_id == self._place.number:
            return self._place
        found = self.tables.images.all_of(image_id)
        name = image_name(found[0]) if found else ""
        key, number = id_of(image_id), number_of(image_id)
        self._place = _Place(self.path_of(image_id), name, key, number)
        return self._place

    def image_of(self, image_id: object, *, key: str | None, name: str) -> _UsableImage:
        """Return the image of an annotation.

        Args:
            image_id: as the file has it.
            key: the same as `id_of` returns it.
            name: of the annotation, for messages.

        Raises:
            TargetError: it cannot be used.
        """
        if self._image is None or self._image.key != key:
            entry = self.tables.image_of(image_id, name=name)
            if not image_name(entry):
                raise TargetError(
                    RejectReason.MALFORMED_ENTRY,
                    f"image {entry['id']} has neither a file_name nor a coco_url",
                )
            if (problem := self._problems.get(key)) is not None:
                raise problem
            size_hw = fit = None
            with suppress(TargetError):
                size_hw = image_size(entry, name=name)
                fit = self.tables.fit_on(entry, size_hw=size_hw)
            self._image = _UsableImage(key, entry, image_name(entry), size_hw, fit)
        return self._image

    def path_of(self, image_id: object) -> str:
        """Return an image's path."""
        return self._paths.get(id_of(image_id), self._unknown)

    def annotations_of(self, image: Entry) -> int:
        """Return how many annotations an entry of an image has."""
        return len(self.tables.annotations.image_ids.positions_of(image.get("id")))

    def order(self) -> npt.NDArray[np.int64]:
        """Return the positions of all annotations by the first id of their image's file, then by
        both ids."""
        ids, image_ids = self.tables.annotations.ids, self.tables.annotations.image_ids
        codes, of_annotation = np.unique(image_ids.codes, return_inverse=True)
        images = [image_ids.id_of_code(int(code)) for code in codes]
        in_order = sorted(range(len(images)), key=lambda place: self._order_of(images[place]))
        ranks = np.empty(len(images), np.int64)
        ranks[in_order] = np.arange(len(images))
        return np.lexsort([*ids.sort_keys(), ranks[of_annotation]])

    def _order_of(self, image_id: str | None) -> tuple[Any, ...]:
        path, own = self.path_of(image_id), id_order(image_id)
        return (self._first.get(path, own), path, own)


def _truth_of(
    entry: Any, own_id: str | None, listing: _Listing, *, image_key: str | None, is_first: bool
) -> _Truth:
    """Check an annotation. Raises TargetError for what cannot be used."""
    tables = listing.tables
    if own_id is None:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"an annotation has neither a whole number nor a text as id: {entry!r:.80}",
        )
    if not is_first:
        raise TargetError(
            RejectReason.DUPLICATE_ID, f"annotation id {own_id} occurs again; the first counts"
        )
    name = f"annotation {own_id}"
    image = listing.image_of(entry.get("image_id"), key=image_key, name=name)
    caption = image.entry.get("caption")
    of_image = 0 if caption is None else listing.annotations_of(image.entry)
    texts = caption_texts(entry, image.entry, of_image=of_image, name=name)
    if caption is not None and not texts and sentences_of(caption):
        listing.unused_captions[image.name] = None
    texts = texts or tables.category_text(entry.get("category_id"), name=name)
    if is_crowd(entry):
        raise TargetError(RejectReason.CROWD, f"{name} covers a crowd, not one object")
    size_hw = image.size_hw or image_size(image.entry, name=name)
    check_units(entry, size_hw=size_hw, name=name)
    text = segmentation_ref(entry.get("segmentation"), size_hw=size_hw, fit=image.fit)
    if is_apart(entry):
        listing.apart.append(own_id)
    return _Truth(texts, text)
