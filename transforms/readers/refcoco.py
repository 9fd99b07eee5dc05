"""RefCOCO, RefCOCO+, RefCOCOg, RefCLEF, gRefCOCO and RRSIS-D: refs, and masks in instances.json.

Refs of gRefCOCO (https://github.com/henghuiding/gRefCOCO) name any number of annotations: the truth
is their union, without crowds, as its authors define it, or empty if there are none. RRSIS-D
(https://github.com/Lsan2401/RMSIN) has RefCOCO's files with its own images.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hlmat.transforms.core.errors import ConfigError, DataError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.coco_annotations import read_instances
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    load_segmentation,
    segmentation_ref,
    union_ref,
)
from hlmat.transforms.readers.files.coco_tables import CocoTables, image_name, is_crowd
from hlmat.transforms.readers.files.expressions import sentences_of
from hlmat.transforms.readers.files.ids import id_of, id_order, number_of
from hlmat.transforms.readers.files.image_places import COCO_BASES, ImagePlaces, coco_name
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.json import read_json
from hlmat.transforms.readers.files.pickle import load_plain_pickle
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

SPLIT_BY: Mapping[str, tuple[str, ...]] = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc", "google"),
    "refcocog": ("umd", "google"),
    "refclef": ("unc", "berkeley"),
    "grefcoco": ("unc",),
    "rrsisd": ("unc",),
}
"""Who made the splits; the first is the default."""

_NO_TARGET = "-1"
_BASES = ("", "refer_seg")
_COCO_FOLDERS = tuple(
    posixpath.join(base, subset)
    for subset in ("train2014", "train2017")
    for base in ("images/mscoco/images", "images", "")
)


_OTHER_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "refclef": ("images/saiapr_tc-12",),
    "rrsisd": ("images/rrsisd/JPEGImages", "rrsisd/images/rrsisd/JPEGImages", "images/rrsisd"),
}


@dataclass(frozen=True)
class RefcocoReader:
    """One target per ref, with all its sentences.

    Attributes:
        name: a key of `SPLIT_BY`.
        split: as named in the refs.
        split_by: who made the split.
        root: the data root as the user gave it.
        storage: reaches `root`.
        folder: of refs and instances, relative to `root`.
        refs: the file of the refs in it, a pickle or JSON.
        images: folder of the images, relative to `root`.
    """

    name: str
    split: str
    split_by: str
    root: str
    storage: Storage
    folder: str
    refs: str
    images: str

    def describe_layout(self) -> str:
        """Return one line on what was recognised, and on splits that share images."""
        remark = (
            "; the google split of RefCOCOg has training images in its validation set"
            if (self.name, self.split_by) == ("refcocog", "google")
            else ""
        )
        return f"{self.folder}/{self.refs}, images in {self.images}{remark}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the refs of the split, sorted by image and ref id.

        Of annotations with the same id, the first in the file counts; each repeated id is reported
        as a separate reject.

        Raises:
            DataError: refs or instances are damaged, or not plain data.
            ConfigError: no ref belongs to the split.
        """
        entries = [entry for entry in self._read_refs() if self._is_wanted(entry)]
        if not entries:
            raise ConfigError([self._no_such_split()])
        instances_path = posixpath.join(self.root, self.folder, "instances.json")
        tables = CocoTables(*read_instances(self.storage, instances_path), path=instances_path)
        listing = _Listing(tables, self._image_places(tables), is_clef=self.name == "refclef")
        seen: set[str] = set()
        reported: set[str] = set()
        of_image: Counter[str] = Counter()
        for entry in sorted(entries, key=_sort_key):
            ref = self._build_ref(entry, listing)
            ref = replace(ref, object_id=of_image[ref.image_path])
            of_image[ref.image_path] += 1
            try:
                _check_entry(entry, ref.target_id, takes_many=self._takes_many)
                if (ref_id := str(id_of(entry["ref_id"]))) in seen:
                    raise TargetError(RejectReason.DUPLICATE_ID, f"ref id {ref_id} occurs again")
                seen.add(ref_id)
                if self._takes_many:
                    yield _with_union(ref, entry, listing)
                else:
                    yield _with_truth(ref, entry, listing)
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)
                continue
            for ann_id in _annotation_ids(entry):
                yield from self._repeats(ref, ann_id, tables, reported)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a target's segmentation. Raises TargetError."""
        return load_segmentation(ref, storage=self.storage, root=self.root)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    @property
    def _refs_path(self) -> str:
        return posixpath.join(self.root, self.folder, self.refs)

    @property
    def _takes_many(self) -> bool:
        """Whether a ref names any number of annotations."""
        return self.name == "grefcoco"

    def _read_refs(self) -> list[Any]:
        content = self._read_content()
        if not isinstance(content, list):
            raise DataError(
                f"{self._refs_path} holds a {type(content).__name__}, expected a list of refs"
            )
        return content

    def _read_content(self) -> object:
        if self.refs.endswith(".json"):
            return read_json(self.storage, self._refs_path)
        try:
            data = self.storage.read_bytes(self._refs_path)
        except OSError as error:
            raise DataError(f"{self._refs_path} cannot be read: {error}") from error
        return load_plain_pickle(data, name=self._refs_path)

    def _is_wanted(self, entry: Any) -> bool:
        # An entry without a split is reported for every split.
        split = entry.get("split") if isinstance(entry, dict) else None
        return split == self.split or not isinstance(split, str)

    def _no_such_split(self) -> str:
        entries = (e for e in self._read_refs() if isinstance(e, dict))
        there = sorted({str(entry.get("split")) for entry in entries})
        return (
            f"--split {self.split!r}: no ref of {self._refs_path} belongs to it; there are: "
            f"{', '.join(there) or 'no refs at all'}"
        )

    def _image_places(self, tables: CocoTables) -> ImagePlaces:
        bases = dict.fromkeys((posixpath.dirname(self.folder), ""))
        known = _OTHER_FOLDERS.get(self.name, _COCO_FOLDERS)
        folders = [posixpath.join(base, folder) for base in bases for folder in known]
        return ImagePlaces(
            self.storage,
            self.root,
            folders=[self.images, *folders],
            names=[image_name(image) for image in tables.images],
            coco_bases=[posixpath.join(base, folder) for base in bases for folder in COCO_BASES],
        )

    def _build_ref(self, entry: Any, listing: _Listing) -> TargetRef:
        fields = entry if isinstance(entry, dict) else {}
        own_id = id_of(fields.get("ref_id"))
        image_path = listing.path_of(fields.get("image_id"))
        return TargetRef(
            target_id=f"{self.name}/{self.split_by}/{self.split}/{own_id or 'unknown'}",
            dataset=self.name,
            split=self.split,
            image_path=image_path,
            image_name=posixpath.basename(image_path),
            image_id=number_of(fields.get("image_id")),
            object_id=0,
            expressions=sentences_of(fields.get("sentences")),
            truth_ref="{}",
            license=LICENSES[self.name],
        )

    def _repeats(
        self, ref: TargetRef, ann_id: object, tables: CocoTables, reported: set[str]
    ) -> Iterator[Reject]:
        """Report an annotation id that occurs more than once, the first time that it is used."""
        again, key = len(tables.annotations.ids.positions_of(ann_id)) - 1, str(id_of(ann_id))
        if again < 1 or key in reported:
            return
        reported.add(key)
        target_id = f"{self.name}/{self.split_by}/{self.split}/annotation-{key}"
        yield Reject(
            replace(ref, target_id=target_id),
            RejectReason.DUPLICATE_ID,
            f"annotation id {key} occurs again in instances.json, {again} more "
            f"time{'s' * (again > 1)}; the first counts",
        )


def open_refcoco(name: str, options: ReaderOptions) -> RefcocoReader:
    """Open a member of the family.

    Raises:
        ConfigError: an unknown `split_by`.
        LayoutError: no refs below the data root.
    """
    split_by = options.split_by or SPLIT_BY[name][0]
    if split_by not in SPLIT_BY[name]:
        raise ConfigError(
            [f"--split-by {split_by!r}: {name} has the splits of {', '.join(SPLIT_BY[name])}"]
        )
    root, storage = options.data_root or "", options.storage
    files = (f"refs({split_by}).p",)
    if name == "grefcoco":
        files = (f"grefs({split_by}).json", f"grefs({split_by}).p")
    for base in _BASES:
        folder = posixpath.join(base, name)
        for refs in files:
            if storage.is_file(posixpath.join(root, folder, refs)):
                images = _images_folder(name, base, root=root, storage=storage)
                split = options.split or "train"
                return RefcocoReader(name, split, split_by, root, storage, folder, refs, images)
    raise LayoutError(
        f"{root} does not contain {name}: looked for {name}/{files[0]} with "
        f"{name}/instances.json, there or in refer_seg/; found: {shown_entries(storage, root)}; "
        "check --data-root and --split-by"
    )


def _images_folder(name: str, base: str, *, root: str, storage: Storage) -> str:
    folders = _OTHER_FOLDERS.get(name, _COCO_FOLDERS)
    # Users often keep COCO's images next to refer_seg/ instead of in it.
    places = dict.fromkeys((base, ""))
    candidates = [posixpath.join(place, folder) for place in places for folder in folders]
    there = (f for f in candidates if storage.is_dir(posixpath.join(root, f)))
    return next(there, candidates[0])


class _Listing:
    """The tables of instances.json, and the paths of its images."""

    def __init__(self, tables: CocoTables, places: ImagePlaces, *, is_clef: bool) -> None:
        self.tables = tables
        self._places, self._is_clef = places, is_clef
        self._paths: dict[str | None, str | TargetError] = {}

    def path_of(self, image_id: object) -> str:
        """Return an image's path, which does not exist if the image is unknown."""
        path = self._found(image_id)
        return path if isinstance(path, str) else posixpath.join(self._places.folder, "unknown")

    def check_path(self, image_id: object) -> None:
        """Raise TargetError if an image's name leads out of the data root."""
        if isinstance(problem := self._found(image_id), TargetError):
            raise problem

    def _found(self, image_id: object) -> str | TargetError:
        key = id_of(image_id)
        if key not in self._paths:
            try:
                self._paths[key] = self._find(image_id)
            except TargetError as error:
                self._paths[key] = error
        return self._paths[key]

    def _find(self, image_id: object) -> str:
        number = number_of(image_id)
        if self._is_clef and number is not None:
            folder = self._places.folders[0]
            return posixpath.join(folder, f"{number // 1000:02d}/images/{number}.jpg")
        listed = self.tables.images.all_of(image_id)
        name = image_name(listed[0]) if listed else ""
        if not name and number is not None:
            name = f"COCO_train2014_{coco_name(number)}"
        return self._places.find(name or "unknown")


def _sort_key(entry: Any) -> tuple[Any, ...]:
    fields = entry if isinstance(entry, dict) else {}
    return id_order(fields.get("image_id")), id_order(fields.get("ref_id"))


def _annotation_ids(entry: Mapping[str, Any]) -> list[Any]:
    """Return the distinct ids of the annotations that a ref names; [] if it names none."""
    listed = entry["ann_id"]
    ids = listed if isinstance(listed, list | tuple) else [listed]
    distinct = {str(id_of(each) or whole_number(each)): each for each in ids}
    return [] if list(distinct) == [_NO_TARGET] else list(distinct.values())


def _check_entry(entry: Any, target_id: str, *, takes_many: bool) -> None:
    if not isinstance(entry, dict):
        problem = f"a ref is a {type(entry).__name__}, expected a dictionary"
    elif wrong := [k for k in ("ref_id", "image_id") if id_of(entry.get(k)) is None]:
        problem = f"{target_id}: {wrong[0]} is {entry.get(wrong[0])!r:.80}, expected an id"
    elif takes_many and (doubt := _doubt_of_targets(entry)) is not None:
        problem = f"{target_id}: {doubt}"
    elif not takes_many and id_of(entry.get("ann_id")) is None:
        problem = f"{target_id}: ann_id is {entry.get('ann_id')!r:.80}, expected an id"
    elif not isinstance(entry.get("split"), str):
        problem = f"{target_id}: split is {entry.get('split')!r:.40}, expected the name of a split"
    elif not sentences_of(entry.get("sentences")):
        problem = f"{target_id} has no sentence"
    else:
        return
    raise TargetError(RejectReason.MALFORMED_ENTRY, problem)


def _doubt_of_targets(entry: dict[str, Any]) -> str | None:
    """Return why a ref's annotations are ambiguous, None if they are not."""
    listed = entry.get("ann_id")
    ids = listed if isinstance(listed, list | tuple) else [listed]
    is_none = len(ids) == 1 and str(whole_number(ids[0])) == _NO_TARGET
    if not is_none and (not ids or any(id_of(each) is None for each in ids)):
        return f"ann_id is {listed!r:.80}, expected ids, or -1 for no target"
    if isinstance(declared := entry.get("no_target"), bool) and declared is not is_none:
        return f"no_target is {str(declared).lower()}, but ann_id is {listed!r:.80}"
    return None


def _with_truth(ref: TargetRef, entry: dict[str, Any], listing: _Listing) -> TargetRef:
    image_id, tables = entry["image_id"], listing.tables
    image = tables.image_of(image_id, name=ref.target_id)
    size_hw = image_size(image, name=ref.target_id)
    annotation = tables.annotation_of(entry["ann_id"], image_id=image_id, name=ref.target_id)
    listing.check_path(image_id)
    # Without a name of its own it is an image of COCO, or of RefCLEF, which has no EXIF tags.
    fit = tables.fit_on(image, size_hw=size_hw) if image_name(image) else None
    truth_ref = segmentation_ref(annotation.get("segmentation"), size_hw=size_hw, fit=fit)
    return replace(ref, truth_ref=truth_ref)


def _with_union(ref: TargetRef, entry: dict[str, Any], listing: _Listing) -> TargetRef:
    image_id, tables, name = entry["image_id"], listing.tables, ref.target_id
    image = tables.image_of(image_id, name=name)
    size_hw = image_size(image, name=name)
    named = [
        tables.annotation_of(ann_id, image_id=image_id, name=name)
        for ann_id in _annotation_ids(entry)
    ]
    listing.check_path(image_id)
    objects = [annotation for annotation in named if not is_crowd(annotation)]
    if named and not objects:
        raise TargetError(RejectReason.CROWD, f"{name} names crowds alone, no object")
    fit = tables.fit_on(image, size_hw=size_hw) if image_name(image) else None
    parts = [annotation.get("segmentation") for annotation in objects]
    return replace(ref, truth_ref=union_ref(parts, size_hw=size_hw, fit=fit))
