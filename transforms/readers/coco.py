"""COCO instances JSON, and LVIS, whose files have the same shape: one target per annotation."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.files.coco_captions import caption_texts
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    load_segmentation,
    segmentation_ref,
)
from hlmat.transforms.readers.files.coco_tables import CocoTables, image_name
from hlmat.transforms.readers.files.expressions import sentences_of
from hlmat.transforms.readers.files.ids import Entry, id_of, id_order, number_of
from hlmat.transforms.readers.files.image_places import ImagePlaces, dated_splits
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.json import need_list, read_json
from hlmat.transforms.readers.files.polygon_units import check_units, percent_remark
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
            DataError: the file is malformed.
        """
        path = posixpath.join(self.root, self.annotations)
        content = read_json(self.storage, path)
        need_list(content, "images", path=path)
        need_list(content, "categories", path=path)
        tables = CocoTables(content, path=path)
        remark = percent_remark(tables.annotation_entries, tables.images)
        self._remarks[:] = [f"{path}: {remark}"] if remark else []
        listing = _Listing(tables, self._image_places(tables))
        of_image: Counter[str] = Counter()
        for entry in sorted(tables.annotation_entries, key=listing.order):
            image_path = listing.path_of(_fields(entry))
            ref = self._bare_ref(
                entry, listing, image_path=image_path, object_id=of_image[image_path]
            )
            of_image[image_path] += 1
            try:
                yield _checked(ref, entry, listing)
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)
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

    def _bare_ref(
        self, entry: Any, listing: _Listing, *, image_path: str, object_id: int
    ) -> TargetRef:
        fields = _fields(entry)
        image = listing.image_of(fields)
        name = image_name(image) if image is not None else ""
        own_id = id_of(fields.get("id"))
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{own_id or 'unknown'}",
            dataset=self.name,
            split=self.split,
            image_path=image_path,
            image_name=name or "unknown",
            image_id=number_of(fields.get("image_id")),
            object_id=object_id,
            expressions=(),
            truth_ref="{}",
            license=LICENSES["coco"],
        )


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
        ids = (id_of(_fields(entry).get("image_id")) for entry in tables.annotation_entries)
        self._annotations_of = Counter(ids)
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

    def image_of(self, fields: Mapping[str, Any]) -> Entry | None:
        """Return the first entry of an annotation's image, or None."""
        found = self.tables.images.all_of(fields.get("image_id"))
        return found[0] if found else None

    def path_of(self, fields: Mapping[str, Any]) -> str:
        """Return the path of an annotation's image."""
        return self._paths.get(id_of(fields.get("image_id")), self._unknown)

    def check_path(self, fields: Mapping[str, Any]) -> None:
        """Raise TargetError if the name of an annotation's image leads out of the data root."""
        if (problem := self._problems.get(id_of(fields.get("image_id")))) is not None:
            raise problem

    def annotations_of(self, image: Entry) -> int:
        """Return how many annotations an entry of an image has."""
        return self._annotations_of[id_of(image.get("id"))]

    def order(self, entry: Any) -> tuple[Any, ...]:
        """Return the sort key of annotations: the first id of their image's file, then both ids."""
        fields = _fields(entry)
        image_id = id_order(fields.get("image_id"))
        path = self.path_of(fields)
        return (self._first.get(path, image_id), path, image_id, id_order(fields.get("id")))


def _fields(entry: Any) -> Mapping[str, Any]:
    return entry if isinstance(entry, dict) else {}


def _checked(ref: TargetRef, entry: Any, listing: _Listing) -> TargetRef:
    """Complete a reference. Raises TargetError for what cannot be used."""
    tables = listing.tables
    own_id = id_of(_fields(entry).get("id"))
    if own_id is None:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"an annotation has neither a whole number nor a text as id: {entry!r:.80}",
        )
    if tables.annotations.all_of(own_id)[0] is not entry:
        raise TargetError(
            RejectReason.DUPLICATE_ID, f"annotation id {own_id} occurs again; the first counts"
        )
    name = f"annotation {own_id}"
    image = tables.image_of(entry.get("image_id"), name=name)
    if not image_name(image):
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"image {image['id']} has neither a file_name nor a coco_url",
        )
    listing.check_path(entry)
    texts = caption_texts(entry, image, of_image=listing.annotations_of(image), name=name)
    if not texts and sentences_of(image.get("caption")):
        listing.unused_captions[image_name(image)] = None
    texts = texts or tables.category_text(entry.get("category_id"), name=name)
    if entry.get("iscrowd"):
        raise TargetError(RejectReason.CROWD, f"{name} covers a crowd, not one object")
    size_hw = image_size(image, name=name)
    check_units(entry, size_hw=size_hw, name=name)
    fit = tables.fit_on(image, size_hw=size_hw)
    truth_ref = segmentation_ref(entry.get("segmentation"), size_hw=size_hw, fit=fit)
    return replace(ref, expressions=texts, truth_ref=truth_ref)
