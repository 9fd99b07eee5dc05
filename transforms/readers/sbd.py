"""The Semantic Boundaries Dataset (SBD): instances and classes in MATLAB files.

B. Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011. As the release's README
describes them, ``inst/<name>.mat`` has a struct `GTinst` with `Segmentation` (0, or the number of
the instance), `Categories` (the category of each instance, 1 to 20 in VOC's order) and `Boundaries`
(a sparse matrix for each instance), and ``cls/<name>.mat`` a struct `GTcls` whose `Segmentation`
holds the categories. Boundaries are not read.
"""

from __future__ import annotations

import io
import json
import posixpath
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from hlmat.transforms.core.errors import ConfigError, LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.mask_values import MaskValues, TargetsOf
from hlmat.transforms.readers.files.images import load_image_file, read_below
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES
from hlmat.transforms.readers.text_files import read_text
from hlmat.transforms.readers.voc_names import VOC_CLASSES

_PLACES = ("", "dataset", "benchmark_RELEASE/dataset", "SBD/dataset", "SBD")
_VOID = 255
_MAX_BYTES = 64_000_000
"""Bound on a file's decompressed variables; real files have some hundred thousand bytes."""
_HEADER_BYTES, _COMPRESSED = 128, 15


@dataclass(frozen=True)
class SbdReader:
    """Lists the instances, or the classes, of each image of a split.

    Attributes:
        name: the `--dataset` name.
        split: a list's name.
        root: the data root as the user gave it.
        storage: reaches `root`.
        base: the folder that holds ``img``, relative to the root.
        targets: instances or classes.
    """

    name: str
    split: str
    root: str
    storage: Storage
    base: str
    targets: TargetsOf

    def describe_layout(self) -> str:
        """Return one line on which layout was recognised, and where."""
        return f"{self.targets} of SBD at {self.base or self.root}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the targets image by image, in the order of the split's list. Each file of masks is
        opened; one that cannot be read comes as a `Reject`.

        Raises:
            DataError: the list cannot be read.
        """
        text = read_text(self.storage, posixpath.join(self.root, self.base, f"{self.split}.txt"))
        for stem in dict.fromkeys(filter(None, map(str.strip, text.splitlines()))):
            yield from self._targets_of(stem)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's mask. Raises TargetError."""
        reference = json.loads(ref.truth_ref)
        labels, _ = self._read_mat(reference["mask"], reference["struct"])
        truth = labels == reference["value"]
        if not truth.any():
            raise TargetError(
                RejectReason.EMPTY_MASK,
                f"{reference['mask']} has no pixel of {reference['value']}",
            )
        void = labels == _VOID
        return TruthMasks(truth, void if void.any() else None)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _targets_of(self, stem: str) -> Iterator[TargetRef | Reject]:
        is_classes = self.targets is TargetsOf.CLASSES
        folder, variable = ("cls", "GTcls") if is_classes else ("inst", "GTinst")
        path = posixpath.join(self.base, folder, f"{stem}.mat")
        try:
            labels, categories = self._read_mat(path, variable)
        except TargetError as error:
            yield Reject(self._ref(stem, path, variable), error.reason, error.message)
            return
        values = [v for v in np.unique(labels).tolist() if v not in (0, _VOID)]
        if not values:
            ref = self._ref(stem, path, variable)
            yield Reject(ref, RejectReason.EMPTY_MASK, f"{path} has no object")
        for number, value in enumerate(values):
            category = value
            if not is_classes:
                category = int(categories[value - 1]) if 0 < value <= len(categories) else 0
            ref = self._ref(stem, path, variable, value=value, number=number, category=category)
            if 0 < category < len(VOC_CLASSES):
                yield ref
            else:
                message = f"{path}: object {value} has no category from 1 to 20"
                yield Reject(ref, RejectReason.MALFORMED_ENTRY, message)

    def _ref(
        self,
        stem: str,
        path: str,
        variable: str,
        *,
        value: int | None = None,
        number: int = 0,
        category: int = 0,
    ) -> TargetRef:
        is_known = 0 < category < len(VOC_CLASSES)
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{stem}" + ("" if value is None else f":{value}"),
            dataset=self.name,
            split=self.split,
            image_path=posixpath.join(self.base, "img", f"{stem}.jpg"),
            image_name=f"{stem}.jpg",
            image_id=None,
            object_id=number,
            expressions=(VOC_CLASSES[category] if is_known else "the object",),
            truth_ref=json.dumps({"mask": path, "struct": variable, "value": value}),
            license=LICENSES[self.name],
        )

    def _read_mat(self, path: str, variable: str) -> tuple[NDArray[np.integer], NDArray[Any]]:
        """Return the labels of a file, and the categories of its instances."""
        data = read_below(
            self.storage,
            self.root,
            path,
            missing=RejectReason.MISSING_MASK,
            unreadable=RejectReason.UNREADABLE_MASK,
        )
        return read_ground_truth(data, name=path, variable=variable)


def read_ground_truth(
    data: bytes, *, name: str, variable: str
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the labels of a MATLAB file and the categories of its instances.

    Args:
        data: the file's content.
        name: of the file, for messages.
        variable: `GTinst` or `GTcls`; the latter has no categories of instances.

    Returns:
        Labels of shape (H, W), and categories by number of the instance, from 1.

    Raises:
        TargetError: UNREADABLE_MASK or TOO_LARGE.
    """
    _check_size(data, name=name)
    try:
        record = loadmat(io.BytesIO(data), variable_names=[variable])[variable][0, 0]
        labels = np.asarray(record["Segmentation"])
        names = record.dtype.names or ()
        categories = np.asarray(record["Categories"]).ravel() if "Categories" in names else []
        if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "ui":
            raise ValueError(f"Segmentation is {labels.dtype} of shape {labels.shape}")
        return labels, np.asarray(categories).astype(np.int64)
    except MemoryError:
        raise
    # The reader of MATLAB files raises errors of many types.
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise TargetError(
            RejectReason.UNREADABLE_MASK,
            f"{name} has no label map {variable}.Segmentation of SBD: {cause:.200}",
        ) from error


def _check_size(data: bytes, *, name: str) -> None:
    """Refuse a file whose variables are too large when decompressed."""
    start, total = _HEADER_BYTES, len(data)
    order = ">" if data[126:128] == b"MI" else "<"
    while start + 8 <= len(data) and total <= _MAX_BYTES:
        kind, size = struct.unpack(f"{order}II", data[start : start + 8])
        start += 8
        if kind == _COMPRESSED:
            try:
                piece = data[start : start + size]
                total += len(zlib.decompressobj().decompress(piece, _MAX_BYTES))
            except zlib.error:
                return
        start += size
    if total > _MAX_BYTES:
        raise TargetError(
            RejectReason.TOO_LARGE,
            f"{name} holds more than {_MAX_BYTES:,} bytes, which no label map of SBD does",
        )


def open_sbd(name: str, options: ReaderOptions) -> SbdReader:
    """Open the release's folder `dataset`, or a parent of it.

    Raises:
        LayoutError: it is not there.
        ConfigError: `--mask-values` asks for anything but classes or instances.
    """
    root, storage = options.data_root or "", options.storage
    values = options.levels or MaskValues(TargetsOf.INSTANCES)
    if values not in (MaskValues(TargetsOf.INSTANCES), MaskValues(TargetsOf.CLASSES)):
        raise ConfigError([f"--mask-values {values}: {name} takes classes or instances alone"])
    folder = "cls" if values.targets is TargetsOf.CLASSES else "inst"
    split = options.split or "train"
    for base in _PLACES:
        wanted = [posixpath.join(root, base, part) for part in ("img", folder)]
        listing = posixpath.join(root, base, f"{split}.txt")
        if all(map(storage.is_dir, wanted)) and storage.is_file(listing):
            return SbdReader(name, split, root, storage, base, values.targets)
    raise LayoutError(
        f"{root} does not contain SBD: looked for img/, {folder}/ and {split}.txt there and in "
        f"benchmark_RELEASE/dataset; found: {shown_entries(storage, root)}"
    )
