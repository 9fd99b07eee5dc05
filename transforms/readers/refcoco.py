"""RefCOCO, RefCOCO+, RefCOCOg and RefCLEF: refs in a pickle, masks in instances.json."""

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
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    is_id,
    load_segmentation,
    segmentation_ref,
)
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.json import need_list, read_json
from hlmat.transforms.readers.files.pickle import load_plain_pickle
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

SPLIT_BY: Mapping[str, tuple[str, ...]] = {
    "refcoco": ("unc", "google"),
    "refcoco+": ("unc", "google"),
    "refcocog": ("umd", "google"),
    "refclef": ("unc", "berkeley"),
}
"""Who made the splits; the first is the default."""


_BASES = ("", "refer_seg")
_COCO_FOLDERS = ("images/mscoco/images/train2014", "images/train2014", "train2014")


@dataclass(frozen=True)
class RefcocoReader:
    """One target per ref, with all its sentences.

    Attributes:
        name: a key of `SPLIT_BY`.
        split: as the refs have it.
        split_by: who made the split.
        root: the data root as the user gave it.
        storage: reaches `root`.
        folder: of refs and instances, relative to `root`.
        images: folder of the images, relative to `root`.
    """

    name: str
    split: str
    split_by: str
    root: str
    storage: Storage
    folder: str
    images: str

    def describe_layout(self) -> str:
        """Return one line on what was recognised, and on splits that share images."""
        remark = (
            "; the google split of RefCOCOg has training images in its validation set"
            if (self.name, self.split_by) == ("refcocog", "google")
            else ""
        )
        return f"{self.folder}/refs({self.split_by}).p, images in {self.images}{remark}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the refs of the split, sorted by image and ref id.

        Raises:
            DataError: refs or instances are damaged, or not plain data.
            ConfigError: no ref belongs to the split.
        """
        entries = [entry for entry in self._read_refs() if self._is_wanted(entry)]
        if not entries:
            raise ConfigError([self._no_such_split()])
        instances_path = posixpath.join(self.root, self.folder, "instances.json")
        instances = read_json(self.storage, instances_path)
        annotations = _by_id(need_list(instances, "annotations", path=instances_path))
        images = _by_id(need_list(instances, "images", path=instances_path))
        seen: set[object] = set()
        of_image: Counter[str] = Counter()
        for entry in sorted(entries, key=_sort_key):
            ref = self._build_ref(entry, object_id=of_image[self._image_path(entry)])
            of_image[ref.image_path] += 1
            try:
                _check_entry(entry, ref.target_id)
                if entry["ref_id"] in seen:
                    raise TargetError(
                        RejectReason.DUPLICATE_ID, f"ref id {entry['ref_id']} occurs again"
                    )
                seen.add(entry["ref_id"])
                yield _with_truth(ref, entry, annotations, images)
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a target's segmentation. Raises TargetError."""
        return load_segmentation(ref)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    @property
    def _refs_path(self) -> str:
        return posixpath.join(self.root, self.folder, f"refs({self.split_by}).p")

    def _read_refs(self) -> list[Any]:
        try:
            data = self.storage.read_bytes(self._refs_path)
        except OSError as error:
            raise DataError(f"{self._refs_path} cannot be read: {error}") from error
        content = load_plain_pickle(data, name=self._refs_path)
        if not isinstance(content, list):
            raise DataError(
                f"{self._refs_path} holds a {type(content).__name__}, expected a list of refs"
            )
        return content

    def _is_wanted(self, entry: Any) -> bool:
        # An entry without a split is reported in every split.
        split = entry.get("split") if isinstance(entry, dict) else None
        return split == self.split or not isinstance(split, str)

    def _no_such_split(self) -> str:
        entries = (e for e in self._read_refs() if isinstance(e, dict))
        there = sorted({str(entry.get("split")) for entry in entries})
        return (
            f"--split {self.split!r}: no ref of {self._refs_path} belongs to it; there are: "
            f"{', '.join(there) or 'no refs at all'}"
        )

    def _image_path(self, entry: Any) -> str:
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        if not is_id(image_id):
            return posixpath.join(self.images, "unknown")
        if self.name == "refclef":
            return posixpath.join(self.images, f"{image_id // 1000:02d}/images/{image_id}.jpg")
        return posixpath.join(self.images, f"COCO_train2014_{image_id:012d}.jpg")

    def _build_ref(self, entry: Any, *, object_id: int) -> TargetRef:
        fields = entry if isinstance(entry, dict) else {}
        image_id = fields.get("image_id")
        image_path = self._image_path(entry)
        return TargetRef(
            target_id=f"{self.name}/{self.split_by}/{self.split}/{fields.get('ref_id', 'unknown')}",
            dataset=self.name,
            split=self.split,
            image_path=image_path,
            image_name=posixpath.basename(image_path),
            image_id=image_id if is_id(image_id) else None,
            object_id=object_id,
            expressions=_sentences(fields.get("sentences")),
            truth_ref="{}",
            license=LICENSES[self.name],
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
    for base in _BASES:
        folder = posixpath.join(base, name)
        if storage.is_file(posixpath.join(root, folder, f"refs({split_by}).p")):
            images = _images_folder(name, base, root=root, storage=storage)
            split = options.split or "train"
            return RefcocoReader(name, split, split_by, root, storage, folder, images)
    raise LayoutError(
        f"{root} does not hold {name}: looked for {name}/refs({split_by}).p with "
        f"{name}/instances.json, there or in refer_seg/; found: {shown_entries(storage, root)}; "
        "check --data-root and --split-by"
    )


def _images_folder(name: str, base: str, *, root: str, storage: Storage) -> str:
    folders = ("images/saiapr_tc-12",) if name == "refclef" else _COCO_FOLDERS
    # Users often keep COCO's images beside refer_seg/ instead of in it.
    places = dict.fromkeys((base, ""))
    candidates = [posixpath.join(place, folder) for place in places for folder in folders]
    there = (f for f in candidates if storage.is_dir(posixpath.join(root, f)))
    return next(there, candidates[0])


def _by_id(entries: list[Any]) -> dict[object, dict[str, Any]]:
    return {e["id"]: e for e in entries if isinstance(e, dict) and is_id(e.get("id"))}


def _sort_key(entry: Any) -> tuple[int, int]:
    fields = entry if isinstance(entry, dict) else {}
    numbers = [fields.get(key) for key in ("image_id", "ref_id")]
    image_id, ref_id = (n if type(n) is int else -1 for n in numbers)
    return image_id, ref_id


def _sentences(content: Any) -> tuple[str, ...]:
    sentences = content if isinstance(content, list) else []
    texts = (s.get("sent") or s.get("raw") for s in sentences if isinstance(s, dict))
    return tuple(text for text in texts if isinstance(text, str) and text)


def _check_entry(entry: Any, target_id: str) -> None:
    if not isinstance(entry, dict):
        problem = f"a ref is a {type(entry).__name__}, expected a dictionary"
    elif wrong := [k for k in ("ref_id", "image_id", "ann_id") if not is_id(entry.get(k))]:
        problem = f"{target_id}: {wrong[0]} is {entry.get(wrong[0])!r}, expected a whole number"
    elif not isinstance(entry.get("split"), str):
        problem = f"{target_id}: split is {entry.get('split')!r:.40}, expected the name of a split"
    elif not _sentences(entry.get("sentences")):
        problem = f"{target_id} has no sentence"
    else:
        return
    raise TargetError(RejectReason.MALFORMED_ENTRY, problem)


def _with_truth(
    ref: TargetRef,
    entry: dict[str, Any],
    annotations: Mapping[object, dict[str, Any]],
    images: Mapping[object, dict[str, Any]],
) -> TargetRef:
    annotation, image = annotations.get(entry["ann_id"]), images.get(entry["image_id"])
    if annotation is None or image is None:
        what = f"annotation {entry['ann_id']}" if annotation is None else "its image"
        raise TargetError(
            RejectReason.MISSING_ANNOTATION, f"{ref.target_id}: instances.json lacks {what}"
        )
    size_hw = image_size(image, name=ref.target_id)
    return replace(ref, truth_ref=segmentation_ref(annotation.get("segmentation"), size_hw=size_hw))
