"""Parquet tables with images inside, as Hugging Face hosts data sets.

Recognised without `--columns`: the columns of lmms-lab's RefCOCO, RefCOCO+ and RefCOCOg
(https://huggingface.co/datasets/lmms-lab/RefCOCO), of jxu124's, which name COCO's images instead of
embedding them (https://huggingface.co/datasets/jxu124/refcoco), and of moondream's RefCOCO-M, with
several objects to a row (https://huggingface.co/datasets/moondream/refcoco-m).
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from hlmat.transforms.core.errors import ConfigError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.image_files import exif_orientation, image_size_hw
from hlmat.transforms.masks.images import MaskRule, decode_image, decode_mask_image
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.readers.files.coco_segmentation import polygons_text
from hlmat.transforms.readers.files.expressions import sentences_of
from hlmat.transforms.readers.files.frames import fit_of, size_drawn_at
from hlmat.transforms.readers.files.ids import id_of, number_of
from hlmat.transforms.readers.files.image_places import ImagePlaces
from hlmat.transforms.readers.files.images import read_below
from hlmat.transforms.readers.files.parquet_rows import RowCache, iterate_rows, open_table
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.table_columns import TableColumns, columns_of, segmentation_in
from hlmat.transforms.readers.terms import LICENSES

_IMAGE_FOLDERS = ("", "images", "coco", "data")
_SHARD = re.compile(r"-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})[^/]*\.parquet$")
_MOST_SHARDS, _SHOWN = 100_000, 4
_REF_NUMBER = re.compile(r"(COCO_[a-z]+20[0-9]{2}_[0-9]{12})(?:_[0-9]+)?\.")


@dataclass(frozen=True)
class ParquetReader:
    """One target per row, or per object where a row lists several.

    An image inside a table has the path FILE/ROW/NAME.

    Attributes:
        name: the `--dataset` name.
        split: as the files' names have it.
        root: the data root as the user gave it.
        storage: reaches `root`.
        files: of the split, relative to `root`, in order.
        columns: where images, masks and texts are.
    """

    name: str
    split: str
    root: str
    storage: Storage
    files: tuple[str, ...]
    columns: TableColumns
    _rows: RowCache = field(default_factory=RowCache, compare=False, repr=False)

    def describe_layout(self) -> str:
        """Return one line on what is read."""
        first, *others = self.files
        more = f" and {len(others)} more" if others else ""
        return f"Parquet {first}{more} in {self.root}: {self.columns}"

    def remarks(self) -> list[str]:
        """Return a remark if some of the files that the others' names count are missing."""
        found = [match for path in self.files if (match := _SHARD.search(path)) is not None]
        counts = {int(match["count"]) for match in found}
        if len(counts) != 1 or len(found) != len(self.files):
            return []
        (count,) = counts
        there = {int(match["number"]) for match in found}
        missing = [
            f"{number:05d}" for number in range(min(count, _MOST_SHARDS)) if number not in there
        ]
        if not missing:
            return []
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        return [
            f"{len(missing)} of the {count} files of the split {self.split} are missing: "
            f"{', '.join(missing[:_SHOWN])}{more} of {count:05d}; download them, or go on with a "
            "part of the data set"
        ]

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the rows in the order of the files.

        Raises:
            DataError: a file is damaged.
        """
        places = ImagePlaces(self.storage, self.root, folders=_IMAGE_FOLDERS)
        for path in self.files:
            file = open_table(self.storage, self.root, path)
            rows = iterate_rows(file, self.columns.listed(file.schema_arrow), name=path)
            for number, row in enumerate(rows):
                yield from self._targets_of(row, path=path, number=number, places=places)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Return a target's mask at the image's size. Raises TargetError."""
        found = json.loads(ref.truth_ref)
        if "segmentation" not in found:
            cell = self._rows.value(
                self.storage,
                self.root,
                found["file"],
                row=found["row"],
                column=str(self.columns.mask),
            )
            data = self._content(cell, RejectReason.MISSING_MASK, name=ref.target_id)
            return decode_mask_image(data, name=ref.target_id, rule=MaskRule.TWO_LEVELS)
        data = self._image_bytes(ref.image_path)
        stored_hw = image_size_hw(data, name=ref.image_path)
        size = found.get("size")
        recorded_hw = stored_hw if size is None else (size[0], size[1])
        segmentation = found["segmentation"]
        size_hw = size_drawn_at(
            stored_hw,
            exif_orientation(data),
            recorded_hw=recorded_hw,
            fit=fit_of([segmentation], recorded_hw),
            name=ref.image_path,
        )
        return TruthMasks(segmentation_to_mask(segmentation, size_hw=size_hw, name=ref.target_id))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return decode_image(self._image_bytes(image_path), name=image_path, size_hw=size_hw)

    def _image_bytes(self, image_path: str) -> bytes:
        for path in self.files:
            if image_path.startswith(f"{path}/"):
                row = int(image_path.removeprefix(f"{path}/").partition("/")[0])
                cell = self._rows.value(
                    self.storage, self.root, path, row=row, column=self.columns.image
                )
                return self._content(cell, RejectReason.MISSING_IMAGE, name=image_path)
        return read_below(
            self.storage,
            self.root,
            image_path,
            missing=RejectReason.MISSING_IMAGE,
            unreadable=RejectReason.UNREADABLE_IMAGE,
        )

    def _content(self, cell: object, missing: RejectReason, *, name: str) -> bytes:
        """Return the file of a cell: bytes, a struct that contains them, or a path.

        Raises:
            TargetError: there is none.
        """
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if isinstance(content, bytes) and content:
            return content
        path = cell.get("path") if isinstance(cell, Mapping) else None
        if not isinstance(path, str) or not path:
            raise TargetError(missing, f"{name}: the table has no file here")
        unreadable = (
            RejectReason.UNREADABLE_IMAGE
            if missing is RejectReason.MISSING_IMAGE
            else RejectReason.UNREADABLE_MASK
        )
        place = ImagePlaces(self.storage, self.root, folders=_IMAGE_FOLDERS).find(path)
        return read_below(self.storage, self.root, place, missing=missing, unreadable=unreadable)

    def _targets_of(
        self, row: Mapping[str, Any], *, path: str, number: int, places: ImagePlaces
    ) -> Iterator[TargetRef | Reject]:
        objects = row.get(self.columns.objects) if self.columns.objects else [row]
        for index, fields in enumerate(objects if isinstance(objects, list) else [None]):
            suffix = f"/{index}" if self.columns.objects else ""
            target_id = f"{self.name}/{self.split}/{posixpath.basename(path)}/{number}{suffix}"
            try:
                image_path = self._image_path(row, path=path, number=number, places=places)
                ref = self._build_ref(row, fields, target_id, image_path, index)
                truth = self._truth_of(ref, fields, path=path, number=number)
                yield replace(ref, truth_ref=_truth_text(truth))
            except TargetError as error:
                image_path = f"{path}/{number}/image"
                ref = self._build_ref(row, fields, target_id, image_path, index)
                yield Reject(ref, error.reason, error.message)

    def _image_path(
        self, row: Mapping[str, Any], *, path: str, number: int, places: ImagePlaces
    ) -> str:
        named = row.get(self.columns.image)
        if self.columns.holds_images:
            named = named.get("path") if isinstance(named, dict) else None
            names = (row.get("file_name"), named)
            bare = next((posixpath.basename(n) for n in names if isinstance(n, str) and n), "image")
            # RefCOCO's refs append the annotation's number to an image's name.
            return posixpath.join(path, str(number), _REF_NUMBER.sub(r"\1.", bare))
        if not isinstance(named, str) or not named:
            raise TargetError(
                RejectReason.MALFORMED_ENTRY,
                f"{path}, row {number}: {self.columns.image} is {named!r:.80}, expected the name "
                "of an image",
            )
        return places.find(named)

    def _build_ref(
        self,
        row: Mapping[str, Any],
        fields: Any,
        target_id: str,
        image_path: str,
        index: int,
    ) -> TargetRef:
        texts = fields.get(self.columns.text) if isinstance(fields, Mapping) else None
        image_id = row.get("image_id")
        return TargetRef(
            target_id=target_id,
            dataset=self.name,
            split=self.split,
            image_path=image_path,
            image_name=posixpath.basename(image_path),
            image_id=number_of(image_id) if id_of(image_id) else None,
            object_id=index,
            expressions=sentences_of(texts),
            truth_ref="{}",
            license=LICENSES[self.name],
        )

    def _truth_of(self, ref: TargetRef, fields: Any, *, path: str, number: int) -> dict[str, Any]:
        """Return the reference of the mask. Raises TargetError for what cannot be used."""
        place = f"{path}, row {number}"
        if not isinstance(fields, Mapping):
            raise TargetError(RejectReason.MALFORMED_ENTRY, f"{place} lists no objects")
        if not ref.expressions:
            shown = fields.get(self.columns.text)
            raise TargetError(
                RejectReason.MALFORMED_ENTRY,
                f"{place}: {self.columns.text} is {shown!r:.80}, expected text",
            )
        truth: dict[str, Any] = {"file": path, "row": number}
        if self.columns.segmentation is not None:
            truth |= segmentation_in(fields, self.columns.segmentation, place=place)
        return truth


def _truth_text(truth: dict[str, Any]) -> str:
    polygons = polygons_text(truth.get("segmentation"))
    if polygons is None or "size" in truth:
        return json.dumps(truth, separators=(",", ":"))
    place = {"file": truth["file"], "row": truth["row"]}
    return f'{json.dumps(place, separators=(",", ":"))[:-1]},"segmentation":{polygons}}}'


def open_parquet_tables(name: str, options: ReaderOptions) -> ParquetReader:
    """Open a split: `data/<split>-*.parquet` as Hugging Face names it, or `--annotations FILE`.

    Raises:
        LayoutError: no such file.
        ConfigError: it is unclear which columns hold images, masks and texts.
        DataError: a file is damaged.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or "train"
    files = _files_of(storage, root, split, options.annotations)
    if not files:
        raise LayoutError(
            f"{root} has no Parquet file of the split {split}; found: "
            f"{shown_entries(storage, root)}; in data/: "
            f"{shown_entries(storage, posixpath.join(root, 'data'))}; check --split, or name the "
            "file with --annotations"
        )
    schema: pa.Schema = open_table(storage, root, files[0]).schema_arrow
    columns = columns_of(schema, options.columns)
    if isinstance(columns, str):
        raise ConfigError([f"{files[0]}: {columns}"])
    return ParquetReader(name, split, root, storage, tuple(files), columns)


def _files_of(storage: Storage, root: str, split: str, named: str | None) -> list[str]:
    if named is not None:
        return [named] if storage.is_file(posixpath.join(root, named)) else []
    names = {"val": "val|validation", "validation": "val|validation"}.get(split, re.escape(split))
    pattern = re.compile(rf"(?:{names})(?:[-_.][0-9]+.*)?\.parquet")
    for folder in ("data", "", split, f"default/{split}"):
        files = storage.list_dir(posixpath.join(root, folder))
        is_own = folder.endswith(split) and folder != ""
        found = [f for f in files if pattern.fullmatch(f) or (is_own and f.endswith(".parquet"))]
        if found:
            return [posixpath.join(folder, f) for f in found]
    return []
