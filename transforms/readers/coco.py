"""COCO instances JSON, and LVIS, whose files have the same shape: one target per annotation."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    is_id,
    load_segmentation,
    segmentation_ref,
)
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.json import need_list, read_json
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

_PROBED_PICTURES = 20


@dataclass(frozen=True)
class CocoReader:
    """Lists the annotations of an instances file.

    Attributes:
        name: the `--dataset` name.
        split: names the default annotation file and the image folder.
        root: the data root as the user gave it.
        storage: reaches `root`.
        annotations: the JSON file, relative to `root`.
    """

    name: str
    split: str
    root: str
    storage: Storage
    annotations: str

    def describe_layout(self) -> str:
        """Return one line on what is read."""
        return f"COCO instances {self.annotations} in {self.root}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the annotations, sorted by image and annotation id.

        Crowd annotations, which cover many objects at once, come as rejects.

        Raises:
            DataError: the file is not what it should be.
        """
        path = posixpath.join(self.root, self.annotations)
        content = read_json(self.storage, path)
        images = {
            image["id"]: image
            for image in need_list(content, "images", path=path)
            if isinstance(image, dict) and is_id(image.get("id"))
        }
        categories = {
            category["id"]: category.get("name")
            for category in need_list(content, "categories", path=path)
            if isinstance(category, dict) and is_id(category.get("id"))
        }
        folder = self._images_folder(images)
        seen: set[int] = set()
        of_image: Counter[str] = Counter()
        for entry in sorted(need_list(content, "annotations", path=path), key=annotation_order):
            fields = entry if isinstance(entry, dict) else {}
            image = images.get(_whole_number(fields, "image_id"))
            ref = self._bare_ref(fields, folder=folder, image=image)
            ref = replace(ref, object_id=of_image[ref.image_path])
            of_image[ref.image_path] += 1
            try:
                yield _checked(ref, entry, images=images, categories=categories, seen=seen)
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a target's segmentation. Raises TargetError."""
        return load_segmentation(ref)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _images_folder(self, images: Mapping[int, dict[str, Any]]) -> str:
        """Find the folder that holds the first images with a valid name."""
        candidates = [self.split, f"images/{self.split}", "images", "", "train2017", "val2017"]
        for image in islice(images.values(), _PROBED_PICTURES):
            name = _file_name(image)
            try:
                places = [join_under(self.root, posixpath.join(c, name)) for c in candidates]
            except TargetError:
                continue
            for candidate, place in zip(candidates, places, strict=True):
                if name and self.storage.is_file(place):
                    return candidate
        return self.split

    def _bare_ref(
        self, fields: Mapping[str, Any], *, folder: str, image: dict[str, Any] | None
    ) -> TargetRef:
        name = _file_name(image) if image else ""
        image_id = fields.get("image_id")
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{fields.get('id', 'unknown')}",
            dataset=self.name,
            split=self.split,
            image_path=posixpath.join(folder, name or "unknown"),
            image_name=name or "unknown",
            image_id=image_id if is_id(image_id) else None,
            object_id=0,
            expressions=(),
            truth_ref="{}",
            license=LICENSES["coco"],
        )


def open_coco(name: str, options: ReaderOptions) -> CocoReader:
    """Open an instances file.

    Raises:
        LayoutError: it is not there.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or "val2017"
    annotations = options.annotations or f"annotations/instances_{split}.json"
    if not storage.is_file(posixpath.join(root, annotations)):
        raise LayoutError(
            f"{root} does not hold {annotations}; name the instances file with --annotations, "
            f"relative to --data-root; found: {shown_entries(storage, root)}; in annotations/: "
            f"{shown_entries(storage, posixpath.join(root, 'annotations'))}"
        )
    return CocoReader(name, split, root, storage, annotations)


def _file_name(image: Mapping[str, Any]) -> str:
    """Return an image's name; LVIS has none, but an address that ends in folder and name."""
    name = image.get("file_name")
    if isinstance(name, str) and name:
        return name
    url = image.get("coco_url")
    return posixpath.join(*url.split("/")[-2:]) if isinstance(url, str) and "/" in url else ""


def _whole_number(fields: Mapping[str, Any], key: str) -> int:
    """Return an id, or one that nothing has."""
    value = fields.get(key)
    return value if type(value) is int else -1


def annotation_order(entry: Any) -> tuple[int, int]:
    """Return what annotations are sorted by: image id, then their own; -1 where there is none."""
    fields = entry if isinstance(entry, dict) else {}
    return _whole_number(fields, "image_id"), _whole_number(fields, "id")


def _checked(
    ref: TargetRef,
    entry: Any,
    *,
    images: Mapping[int, dict[str, Any]],
    categories: Mapping[int, Any],
    seen: set[int],
) -> TargetRef:
    """Complete a reference. Raises TargetError for what cannot be used."""
    if not isinstance(entry, dict) or not is_id(entry.get("id")):
        raise TargetError(
            RejectReason.MALFORMED_ENTRY, f"an annotation has no whole number as id: {entry!r:.80}"
        )
    if entry["id"] in seen:
        raise TargetError(
            RejectReason.DUPLICATE_ID, f"annotation id {entry['id']} occurs again; the first counts"
        )
    seen.add(entry["id"])
    image = images.get(_whole_number(entry, "image_id"))
    if image is None:
        raise TargetError(
            RejectReason.MISSING_ANNOTATION,
            f"annotation {entry['id']} is of image {entry.get('image_id')!r}, which is not listed",
        )
    if not _file_name(image):
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"image {image['id']} has neither a file_name nor a coco_url",
        )
    join_under("data root", ref.image_path)
    category = categories.get(_whole_number(entry, "category_id"))
    if not isinstance(category, str) or not category:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"annotation {entry['id']} has the category {entry.get('category_id')!r}, which has no "
            "name in the file",
        )
    ref = replace(ref, expressions=(category.replace("_", " "),))
    if entry.get("iscrowd"):
        raise TargetError(
            RejectReason.CROWD, f"annotation {entry['id']} covers a crowd, not one object"
        )
    size_hw = image_size(image, name=f"annotation {entry['id']}")
    return replace(ref, truth_ref=segmentation_ref(entry.get("segmentation"), size_hw=size_hw))
