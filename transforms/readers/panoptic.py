"""Panoptic segmentations in COCO's format: PNG files of segment ids, and a JSON file about them.

An id is R + 256 G + 65536 B of its pixels' colour, and 0 is unlabelled, as
https://cocodataset.org/#format-data describes it.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.coco_tables import is_crowd
from hlmat.transforms.readers.files.expressions import clean_expressions
from hlmat.transforms.readers.files.ids import Table, number_of
from hlmat.transforms.readers.files.image_places import dated_splits
from hlmat.transforms.readers.files.images import load_image_file, split_suffix
from hlmat.transforms.readers.files.json import need_list, read_json
from hlmat.transforms.readers.mask_folders import load_referenced_mask, shown_entries
from hlmat.transforms.readers.object_masks import files_by_stem
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

_MAX_ID = (1 << 24) - 1


@dataclass(frozen=True)
class PanopticReader:
    """Lists the segments of each image, things and stuff alike.

    Attributes:
        name: the `--dataset` name.
        split: of the data set.
        root: the data root as the user gave it.
        storage: reaches `root`.
        annotations: the JSON file, relative to the root.
        images: folder of the images, relative to the root.
        masks: folder of the PNG files, relative to the root.
    """

    name: str
    split: str
    root: str
    storage: Storage
    annotations: str
    images: str
    masks: str

    @property
    def layout(self) -> str:
        """The recognised layout, for messages."""
        return f"segments of {self.annotations} in {self.masks}, images in {self.images}"

    def describe_layout(self) -> str:
        """Return one line on which layout was recognised, and where."""
        return self.layout

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the segments image by image; crowds and unusable entries come as a `Reject`.

        Raises:
            DataError: the JSON file cannot be read or has no panoptic annotations.
        """
        path = posixpath.join(self.root, self.annotations)
        content = read_json(self.storage, path)
        annotations = need_list(content, "annotations", path=path)
        images = Table(need_list(content, "images", path=path))
        categories = Table(need_list(content, "categories", path=path))
        files = files_by_stem(self.storage.list_dir(posixpath.join(self.root, self.images)))
        listed = [
            (self._image_file(annotation, images, files), annotation)
            for annotation in annotations
            if isinstance(annotation, dict)
        ]
        taken: set[str] = set()
        for file, annotation in sorted(listed, key=lambda entry: entry[0]):
            if file in taken:
                message = f"{self.annotations} has another annotation of {file}, which was taken"
                yield Reject(self._ref(file, annotation), RejectReason.DUPLICATE_ID, message)
                continue
            taken.add(file)
            yield from self._segments(file, annotation, categories)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a segment's mask; unlabelled pixels are ignored. Raises TargetError."""
        return load_referenced_mask(self.storage, self.root, json.loads(ref.truth_ref))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _image_file(
        self, annotation: Mapping[str, Any], images: Table, files: Mapping[str, str]
    ) -> str:
        """Return the image of an annotation, relative to the folder of the images."""
        entries = images.all_of(annotation.get("image_id"))
        names = [entry.get("file_name") for entry in entries] + [annotation.get("file_name")]
        texts = [name.replace("\\", "/") for name in names if isinstance(name, str) and name]
        by_stem = (files[split_suffix(n)[0]] for n in texts if split_suffix(n)[0] in files)
        return next(by_stem, texts[0] if texts else "unknown")

    def _segments(
        self, file: str, annotation: Mapping[str, Any], categories: Table
    ) -> Iterator[TargetRef | Reject]:
        whole = self._ref(file, annotation)
        try:
            path = join_under(self.root, whole.image_path)
        except TargetError as error:
            yield Reject(whole, error.reason, error.message)
            return
        if not self.storage.is_file(path):
            message = f"{self.images} has no image {file!r}"
            yield Reject(whole, RejectReason.MISSING_IMAGE, message)
            return
        segments, mask = annotation.get("segments_info"), annotation.get("file_name")
        if not isinstance(segments, list) or not isinstance(mask, str) or not mask:
            message = f"{self.annotations}: {file} has no segments_info, or no file_name of a PNG"
            yield Reject(whole, RejectReason.MALFORMED_ENTRY, message)
            return
        ids = [whole_number(s.get("id")) if isinstance(s, dict) else None for s in segments]
        counts: Counter[int] = Counter()
        for number, (segment, value) in enumerate(zip(segments, ids, strict=True)):
            if value is None or not 0 < value <= _MAX_ID:
                message = f"{self.annotations}: segment {number} of {file} has no id of 24 bits"
                yield Reject(
                    self._ref(file, annotation, number=number),
                    RejectReason.MALFORMED_ENTRY,
                    message,
                )
                continue
            category = next(iter(categories.all_of(segment.get("category_id"))), {})
            text = (clean_expressions([category.get("name")]) or ("the object",))[0]
            ref = self._ref(file, annotation, number=number, segment=value, text=text)
            counts[value] += 1
            if counts[value] > 1:
                message = f"{self.annotations}: {file} lists the segment {value} again"
                yield Reject(ref, RejectReason.DUPLICATE_ID, message)
            elif is_crowd(segment):
                yield Reject(ref, RejectReason.CROWD, "a crowd is not a single object")
            else:
                yield ref

    def _ref(
        self,
        file: str,
        annotation: Mapping[str, Any],
        *,
        number: int = 0,
        segment: int | None = None,
        text: str = "the object",
    ) -> TargetRef:
        reference = {"mask": posixpath.join(self.masks, str(annotation.get("file_name")))}
        if segment is not None:
            red, green, blue = segment & 255, segment >> 8 & 255, segment >> 16
            reference["values"] = f"object=#{red:02X}{green:02X}{blue:02X},void=#000000"
        stem = split_suffix(file)[0]
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{stem}" + (f":{segment}" if segment else ""),
            dataset=self.name,
            split=self.split,
            image_path=posixpath.join(self.images, file),
            image_name=posixpath.basename(file),
            image_id=number_of(annotation.get("image_id")) if self.name != "folder" else None,
            object_id=number,
            expressions=(text,),
            truth_ref=json.dumps(reference),
            license=LICENSES[self.name],
        )


def open_coco_panoptic(name: str, options: ReaderOptions) -> PanopticReader:
    """Open COCO's panoptic annotations of a split.

    Raises:
        LayoutError: the JSON file, the PNG files or the images are not there.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or "val2017"
    splits = [split] if options.annotations else [split, *dated_splits(split)]
    files = {each: f"annotations/panoptic_{each}.json" for each in splits}
    split = next((s for s in splits if storage.is_file(posixpath.join(root, files[s]))), split)
    annotations = options.annotations or files[split]
    if not storage.is_file(posixpath.join(root, annotations)):
        raise LayoutError(
            f"{posixpath.join(root, annotations)} does not exist; check --split, or name the file "
            f"with --annotations; found: {shown_entries(storage, root)}"
        )
    stem = posixpath.splitext(annotations)[0]
    masks = [stem, posixpath.basename(stem), f"masks/{posixpath.basename(stem)}", "masks"]
    images = [split, f"images/{split}", "images"]
    found = [
        next((f for f in folders if storage.is_dir(posixpath.join(root, f))), None)
        for folders in (masks, images)
    ]
    for folder, folders, kind in zip(found, (masks, images), ("PNG files", "images"), strict=True):
        if folder is None:
            raise LayoutError(
                f"{root} has no folder of {kind}: looked for {', '.join(folders)}; found: "
                f"{shown_entries(storage, root)}"
            )
    return PanopticReader(
        name, split, root, storage, annotations, images=str(found[1]), masks=str(found[0])
    )


def find_panoptic(name: str, options: ReaderOptions) -> PanopticReader | None:
    """Return a reader if the folder's masks are panoptic; None without a JSON file that says so.

    The file is ``panoptic*.json`` in the data root, in ``masks/`` or in ``annotations/``.

    Raises:
        LayoutError: there are several, and `--annotations` names none.
    """
    root, storage = options.data_root or "", options.storage
    if options.annotations is not None:
        found = [options.annotations]
        if not storage.is_file(posixpath.join(root, options.annotations)):
            raise LayoutError(f"{posixpath.join(root, options.annotations)} does not exist")
    else:
        found = [
            posixpath.join(folder, entry)
            for folder in ("", "masks", "annotations")
            for entry in storage.list_dir(posixpath.join(root, folder))
            if entry.startswith("panoptic") and entry.endswith(".json")
        ]
    if not found:
        return None
    if len(found) > 1:
        raise LayoutError(f"{root} has {' and '.join(found)}; name one with --annotations")
    inside = posixpath.join("masks", posixpath.splitext(posixpath.basename(found[0]))[0])
    masks = inside if storage.is_dir(posixpath.join(root, inside)) else "masks"
    return PanopticReader(name, "all", root, storage, found[0], images="images", masks=masks)
