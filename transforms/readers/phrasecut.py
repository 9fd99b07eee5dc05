"""PhraseCut (https://github.com/ChenyunWu/PhraseCutDataset): phrases and the regions they name.

Its images are those of Visual Genome.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hlmat.transforms.core.errors import DataError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.files.coco_segmentation import (
    image_size,
    load_segmentation,
    segmentation_ref,
)
from hlmat.transforms.readers.files.expressions import clean_expressions
from hlmat.transforms.readers.files.ids import Table, id_of, id_order, number_of
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.files.json import read_json
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

_BASES = ("", "VGPhraseCut_v0", "data/VGPhraseCut_v0")
_IMAGES = "image_data_split3000.json"
_FOLDERS = ("images", "VG_100K", "VG_100K_2", "images/VG_100K", "images/VG_100K_2")


@dataclass(frozen=True)
class PhraseCutReader:
    """One target per phrase: the union of the regions that it names.

    Attributes:
        name: the `--dataset` name.
        split: train, val, test or miniv.
        root: the data root as the user gave it.
        storage: reaches `root`.
        folder: of the JSON files, relative to `root`.
    """

    name: str
    split: str
    root: str
    storage: Storage
    folder: str

    def describe_layout(self) -> str:
        """Return one line on what was recognised."""
        return f"PhraseCut in {posixpath.join(self.root, self.folder)}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the phrases of the split, sorted by image and task id.

        Raises:
            DataError: a file is malformed.
        """
        tasks = self._read_list(f"refer_{self.split}.json")
        sizes = Table(
            {**entry, "id": entry.get("image_id")}
            for entry in self._read_list(_IMAGES)
            if isinstance(entry, dict)
        )
        paths = self._image_paths()
        seen: set[str] = set()
        of_image: Counter[str] = Counter()
        for task in sorted(tasks, key=_order):
            fields = task if isinstance(task, dict) else {}
            ref = self._build_ref(fields, paths)
            ref = replace(ref, object_id=of_image[ref.image_path])
            of_image[ref.image_path] += 1
            try:
                yield replace(ref, truth_ref=_truth_of(ref, fields, sizes, seen))
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a phrase's regions. Raises TargetError."""
        return load_segmentation(ref, storage=self.storage, root=self.root)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _read_list(self, file: str) -> list[Any]:
        path = posixpath.join(self.root, self.folder, file)
        content = read_json(self.storage, path)
        if not isinstance(content, list):
            raise DataError(
                f"{path} is a {type(content).__name__}, expected a list; check that "
                "this is the right file"
            )
        return content

    def _image_paths(self) -> Mapping[str, str]:
        """Return the paths of the images that are there, by name."""
        folders = [posixpath.join(self.folder, f) for f in _FOLDERS] + list(_FOLDERS)
        found: dict[str, str] = {}
        for folder in dict.fromkeys(folders):
            for name in self.storage.list_dir(posixpath.join(self.root, folder)):
                found.setdefault(name, posixpath.join(folder, name))
        return found

    def _build_ref(self, fields: Mapping[str, Any], paths: Mapping[str, str]) -> TargetRef:
        number = number_of(fields.get("image_id"))
        name = "unknown" if number is None else f"{number}.jpg"
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{id_of(fields.get('task_id')) or 'unknown'}",
            dataset=self.name,
            split=self.split,
            image_path=paths.get(name, posixpath.join(self.folder, "images", name)),
            image_name=name,
            image_id=number,
            object_id=0,
            expressions=clean_expressions([fields.get("phrase")]),
            truth_ref="{}",
            license=LICENSES[self.name],
        )


def open_phrasecut(name: str, options: ReaderOptions) -> PhraseCutReader:
    """Open a split.

    Raises:
        LayoutError: it is not there.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or "train"
    for folder in _BASES:
        if storage.is_file(posixpath.join(root, folder, f"refer_{split}.json")):
            return PhraseCutReader(name, split, root, storage, folder)
    raise LayoutError(
        f"{root} does not contain PhraseCut: looked for refer_{split}.json, there or in "
        f"VGPhraseCut_v0/; found: {shown_entries(storage, root)}; check --data-root and --split"
    )


def _order(task: Any) -> tuple[Any, ...]:
    fields = task if isinstance(task, dict) else {}
    return id_order(fields.get("image_id")), id_order(fields.get("task_id"))


def _truth_of(ref: TargetRef, fields: Mapping[str, Any], sizes: Table, seen: set[str]) -> str:
    """Return the `truth_ref` of a phrase. Raises TargetError for what cannot be used."""
    name, task_id = ref.target_id, id_of(fields.get("task_id"))
    if task_id is None or ref.image_id is None or not ref.expressions:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"a task has the task_id {fields.get('task_id')!r:.40}, the image_id "
            f"{fields.get('image_id')!r:.40} and the phrase {fields.get('phrase')!r:.40}; expected "
            "two ids and words",
        )
    if task_id in seen:
        raise TargetError(RejectReason.DUPLICATE_ID, f"task id {task_id} occurs again")
    seen.add(task_id)
    listed = sizes.all_of(ref.image_id)
    if not listed:
        raise TargetError(
            RejectReason.MISSING_ANNOTATION, f"{name}: {_IMAGES} lacks image {ref.image_id}"
        )
    polygons = fields.get("Polygons")
    flat = [
        [value for point in polygon for value in _pair(point, name)]
        for region in _items(polygons, name)
        for polygon in _items(region, name)
    ]
    return segmentation_ref(flat, size_hw=image_size(listed[0], name=name))


def _items(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION,
            f"{name}: Polygons hold a {type(value).__name__}, expected lists of points",
        )
    return value


def _pair(point: object, name: str) -> list[Any]:
    if not isinstance(point, list) or len(point) != 2:
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION, f"{name}: {point!r:.40} is not a point [x, y]"
        )
    return point
