"""ReasonSeg: images, each with a JSON file of polygons and a question that needs reasoning."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, Mask, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import image_size_hw
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.readers.files.images import (
    IMAGE_SUFFIXES,
    load_image_file,
    read_below,
    split_suffix,
)
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES


@dataclass(frozen=True)
class ReasonSegReader:
    """One target per image: the union of its shapes labelled ``target``.

    Attributes:
        name: the `--dataset` name.
        split: train, val or test.
        root: the data root as the user gave it.
        storage: reaches `root`.
        folder: of images and JSON files, relative to `root`.
    """

    name: str
    split: str
    root: str
    storage: Storage
    folder: str

    def describe_layout(self) -> str:
        """Return one line on what was recognised."""
        return f"ReasonSeg in {posixpath.join(self.root, self.folder)}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List the images, sorted by name; read the expressions from the JSON file of each."""
        folder = posixpath.join(self.root, self.folder)
        files: dict[str, set[str]] = {}
        for name in self.storage.list_dir(folder):
            stem, suffix = split_suffix(name)
            if suffix in (*IMAGE_SUFFIXES, ".json"):
                files.setdefault(stem, set()).add(name)
        for stem, names in sorted(files.items()):
            image = min((n for n in names if split_suffix(n)[1] in IMAGE_SUFFIXES), default=None)
            ref = self._bare_ref(stem, image or f"{stem}.jpg")
            try:
                if image is None:
                    raise TargetError(
                        RejectReason.MISSING_IMAGE, f"{folder} holds no image {stem}.jpg"
                    )
                yield replace(ref, expressions=_texts(self._read(f"{stem}.json"), stem))
            except TargetError as error:
                yield Reject(ref, error.reason, error.message)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Rasterise a target's shapes at the image's size. Raises TargetError."""
        stem = json.loads(ref.truth_ref)["stem"]
        data = read_below(
            self.storage,
            self.root,
            ref.image_path,
            missing=RejectReason.MISSING_IMAGE,
            unreadable=RejectReason.UNREADABLE_IMAGE,
        )
        content = self._read(f"{stem}.json")
        size_hw = _labelled_size(content, image_size_hw(data, name=ref.image_path))
        shapes = _shapes(content, stem)
        truth = _union(shapes, "target", size_hw=size_hw, name=stem)
        if truth is None:
            raise TargetError(RejectReason.EMPTY_MASK, f"{stem}.json has no shape of the target")
        try:
            ignore = _union(shapes, "ignore", size_hw=size_hw, name=stem)
        except TargetError as error:
            if error.reason is not RejectReason.EMPTY_MASK:
                raise
            ignore = None
        return TruthMasks(truth, None if ignore is None else ignore & ~truth)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _read(self, name: str) -> dict[str, Any]:
        path = posixpath.join(self.folder, name)
        data = read_below(
            self.storage,
            self.root,
            path,
            missing=RejectReason.MISSING_ANNOTATION,
            unreadable=RejectReason.MALFORMED_ENTRY,
        )
        try:
            # A few files of the data set are in the old Western European encoding.
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TargetError(
                RejectReason.MALFORMED_ENTRY, f"{path} is not JSON: {error}"
            ) from error
        if not isinstance(content, dict):
            raise TargetError(
                RejectReason.MALFORMED_ENTRY,
                f"{path} holds a {type(content).__name__}, expected an object",
            )
        return content

    def _bare_ref(self, stem: str, image: str) -> TargetRef:
        return TargetRef(
            target_id=f"{self.name}/{self.split}/{stem}",
            dataset=self.name,
            split=self.split,
            image_path=posixpath.join(self.folder, image),
            image_name=image,
            image_id=None,
            object_id=0,
            expressions=(),
            truth_ref=json.dumps({"stem": stem}),
            license=LICENSES["reasonseg"],
        )


def open_reasonseg(name: str, options: ReaderOptions) -> ReasonSegReader:
    """Open a split; the data root holds ``ReasonSeg/`` or is that folder.

    Raises:
        LayoutError: it is not there.
    """
    root, storage, split = options.data_root or "", options.storage, options.split or "train"
    for folder in (f"ReasonSeg/{split}", split):
        if storage.is_dir(posixpath.join(root, folder)):
            return ReasonSegReader(name, split, root, storage, folder)
    raise LayoutError(
        f"{root} does not hold ReasonSeg, split {split}: looked for ReasonSeg/{split}/ and "
        f"{split}/; found: {shown_entries(storage, root)}; check --data-root and --split"
    )


def _texts(content: dict[str, Any], stem: str) -> tuple[str, ...]:
    text = content.get("text")
    texts = text if isinstance(text, list) else [text]
    found = tuple(t.strip() for t in texts if isinstance(t, str) and t.strip())
    if not found:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY, f"{stem}.json has the text {text!r:.80}, expected words"
        )
    return found


def _labelled_size(content: dict[str, Any], stored_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size that the shapes were drawn at: the stored one, or that turned by EXIF."""
    drawn = (content.get("imageHeight"), content.get("imageWidth"))
    turned_hw = (stored_hw[1], stored_hw[0])
    return turned_hw if drawn == turned_hw else stored_hw


def _shapes(content: dict[str, Any], stem: str) -> list[Any]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"{stem}.json: shapes is a {type(shapes).__name__}, expected a list",
        )
    return shapes


def _union(shapes: list[Any], label: str, *, size_hw: tuple[int, int], name: str) -> Mask | None:
    """Return the union of the shapes with a label, None if there are none."""
    polygons = []
    for shape in shapes:
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise TargetError(
                RejectReason.MALFORMED_SEGMENTATION, f"{name}.json: a shape has no list of points"
            )
        if _meaning(shape.get("label"), name) == label:
            polygons.append([v for point in shape["points"] for v in _pair(point, name)])
    return segmentation_to_mask(polygons, size_hw=size_hw, name=name) if polygons else None


def _meaning(label: Any, name: str) -> str:
    """Return target, ignore or flag (a mark that its authors have given up)."""
    text = label.strip().casefold() if isinstance(label, str) else ""
    if text in ("target", "flag"):
        return text
    if "ignore" in text:
        return "ignore"
    raise TargetError(
        RejectReason.MALFORMED_ENTRY,
        f"{name}.json: a shape has the label {label!r:.40}, expected target, ignore or flag",
    )


def _pair(point: Any, name: str) -> list[Any]:
    if not isinstance(point, list) or len(point) != 2:
        raise TargetError(
            RejectReason.MALFORMED_SEGMENTATION, f"{name}.json: {point!r:.40} is no point [x, y]"
        )
    return point
