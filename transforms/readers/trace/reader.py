"""A click trace JSON of the reference as a data set: its ground truth and captions, new clicks."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import DataError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage, join_under
from hlmat.transforms.readers.files.coco_segmentation import load_segmentation, segmentation_ref
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES
from hlmat.transforms.readers.trace.records import PRIVATE_KEY, iter_trace_records

_COCO_FOLDERS = (
    "",
    "train2014",
    "images",
    "images/train2014",
    "images/mscoco/images/train2014",
    "refer_seg/images/mscoco/images/train2014",
)
_FILE_FOLDERS = ("", "images")


@dataclass(frozen=True)
class TraceReader:
    """One target per record of the trace, in the trace's order, images kept together.

    Attributes:
        name: the `--dataset` name.
        split: "all".
        root: the data root as the user gave it.
        storage: reaches `root`.
        trace: the JSON file, relative to `root`.
    """

    name: str
    split: str
    root: str
    storage: Storage
    trace: str

    def describe_layout(self) -> str:
        """Return one line on what is read."""
        return f"click trace {self.trace} in {self.root}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the records, sorted by image.

        Raises:
            DataError: the file is not a trace.
        """
        path = posixpath.join(self.root, self.trace)
        try:
            data = self.storage.read_bytes(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        items = [
            self._item(record, index)
            for index, record in enumerate(iter_trace_records(data, name=self.trace))
        ]
        seen: Counter[str] = Counter()
        for item in sorted(items, key=lambda i: (i.ref if isinstance(i, Reject) else i).image_path):
            ref = item.ref if isinstance(item, Reject) else item
            seen[ref.target_id] += 1
            if seen[ref.target_id] > 1 and isinstance(item, TargetRef):
                message = f"the target {ref.target_id} occurs again; the first counts"
                yield Reject(ref, RejectReason.DUPLICATE_ID, message)
            else:
                yield item

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Decode a target's run lengths. Raises TargetError."""
        return load_segmentation(ref, storage=self.storage, root=self.root)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _item(self, record: dict[str, Any] | TargetError, index: int) -> TargetRef | Reject:
        if isinstance(record, TargetError):
            ref = self._build_ref({}, f"record {index}", image_path="unknown", image_name="unknown")
            return Reject(ref, record.reason, record.message)
        name = record["image_name"]
        target_id = (
            _own_text(record, "target_id") or f"{name}/{record['gt_ann'].get('object_id', 0)}"
        )
        file_name = f"COCO_train2014_{name:012d}.jpg" if isinstance(name, int) else name
        try:
            image_path = self._find_image(
                file_name,
                is_coco=isinstance(name, int),
                own_path=_own_text(record, "image_path"),
            )
        except TargetError as error:
            ref = self._build_ref(record, target_id, image_path="unknown", image_name=file_name)
            return Reject(ref, error.reason, error.message)
        return self._build_ref(record, target_id, image_path=image_path, image_name=file_name)

    def _find_image(self, file_name: str, *, is_coco: bool, own_path: str | None) -> str:
        folders = _COCO_FOLDERS if is_coco else _FILE_FOLDERS
        paths = [posixpath.join(folder, file_name) for folder in folders]
        if own_path is not None:
            paths.insert(0, own_path)
        for path in paths:
            join_under(self.root, path)
        there = (p for p in paths if self.storage.is_file(posixpath.join(self.root, p)))
        return next(there, paths[0])

    def _build_ref(
        self, record: dict[str, Any], target_id: str, *, image_path: str, image_name: str
    ) -> TargetRef:
        truth = record.get("gt_ann", {})
        caption = truth.get("caption", ())
        image_id = record.get("image_name")
        size_hw = (record.get("height", 0), record.get("width", 0))
        return TargetRef(
            target_id=f"{self.name}/{target_id}",
            dataset=self.name,
            split=self.split,
            image_path=image_path,
            image_name=image_name,
            image_id=image_id if isinstance(image_id, int) else None,
            object_id=truth.get("object_id", 0),
            expressions=(caption,) if isinstance(caption, str) else tuple(caption),
            truth_ref=segmentation_ref(
                truth.get("segmentation"),
                size_hw=size_hw,
                ignore=_own_text(record, "ignore_rle"),
            ),
            license=_own_text(record, "license") or LICENSES["trace"],
        )


def _own_text(record: dict[str, Any], key: str) -> str | None:
    """Return a string from the key `hlmat`, which extends the reference's fields."""
    private = record.get(PRIVATE_KEY)
    value = private.get(key) if isinstance(private, dict) else None
    return value if isinstance(value, str) else None


def open_trace(name: str, options: ReaderOptions) -> TraceReader:
    """Open a trace: the file given as `annotations`, or the only ``.json`` in the data root.

    Raises:
        LayoutError: it is not there, or there are several.
    """
    root, storage = options.data_root or "", options.storage
    trace = options.annotations
    if trace is None:
        there = [n for n in storage.list_dir(root) if n.lower().endswith(".json")]
        if len(there) != 1:
            raise LayoutError(
                f"{root} holds {len(there)} JSON files; name the trace with --annotations, "
                f"relative to --data-root; found: {shown_entries(storage, root)}"
            )
        trace = there[0]
    if not storage.is_file(posixpath.join(root, trace)):
        raise LayoutError(
            f"{root} does not contain {trace}; name the trace with --annotations, relative to "
            f"--data-root; found: {shown_entries(storage, root)}"
        )
    return TraceReader(name, "all", root, storage, trace)
