"""ReasonSeg: images, each with a JSON file of polygons and a question that needs reasoning."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hlmat.transforms.core.errors import LayoutError, TargetError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.image_files import exif_orientation, image_size_hw
from hlmat.transforms.masks.rle import whole_number
from hlmat.transforms.readers.files.expressions import sentences_of
from hlmat.transforms.readers.files.frames import FIRST_SWAPPING, Fit, fit_of, undecided_turn
from hlmat.transforms.readers.files.images import (
    IMAGE_SUFFIXES,
    load_image_file,
    read_below,
    split_suffix,
)
from hlmat.transforms.readers.files.labelme import Canvas, draw_shapes
from hlmat.transforms.readers.mask_folders import shown_entries
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

# Two letters of an East Asian encoding.
_FOUR_BYTES = re.compile(rb"[\xa1-\xff]{4}")


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
        images = {
            n for names in files.values() for n in names if split_suffix(n)[1] in IMAGE_SUFFIXES
        }
        for stem, names in sorted(files.items()):
            image = min((n for n in names if split_suffix(n)[1] in IMAGE_SUFFIXES), default=None)
            ref = self._bare_ref(stem, image or f"{stem}.jpg")
            try:
                if image is None:
                    raise TargetError(
                        RejectReason.MISSING_IMAGE, f"{folder} has no image {stem}.jpg"
                    )
                content = self._read(f"{stem}.json")
                _refuse_another_image(content, image, images, stem)
                yield replace(ref, expressions=_texts(content, stem))
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
        shapes = _shapes(content, stem)
        canvas = _canvas(content, shapes, data, name=ref.image_path)
        targets = [shape for shape in shapes if _meaning(shape.get("label"), stem) == "target"]
        if not targets:
            raise TargetError(RejectReason.EMPTY_MASK, f"{stem}.json has no shape of the target")
        truth = draw_shapes(targets, canvas, name=stem)
        ignored = [shape for shape in shapes if _meaning(shape.get("label"), stem) == "ignore"]
        try:
            ignore = draw_shapes(ignored, canvas, name=stem) if ignored else None
        except TargetError as error:
            if error.reason is not RejectReason.EMPTY_MASK:
                raise
            ignore = None
        return TruthMasks(truth, None if ignore is None else ignore & ~truth)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB, turned by its EXIF tag as labelme shows it.

        Raises:
            TargetError: as for `load_image_file`.
        """
        return load_image_file(
            self.storage, self.root, image_path, size_hw=size_hw, turns_if_same_size=True
        )

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
            # A few files of the data set are in cp1252.
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = _western(data, path)
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
        f"{root} does not contain ReasonSeg, split {split}: looked for ReasonSeg/{split}/ and "
        f"{split}/; found: {shown_entries(storage, root)}; check --data-root and --split"
    )


def _texts(content: dict[str, Any], stem: str) -> tuple[str, ...]:
    text = content.get("text")
    found = sentences_of(text)
    if not found:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY, f"{stem}.json has the text {text!r:.80}, expected text"
        )
    return found


def _refuse_another_image(
    content: dict[str, Any], image: str, images: Collection[str], stem: str
) -> None:
    """Raise TargetError if labelme drew the shapes on another image of the folder."""
    path = content.get("imagePath")
    drawn_on = posixpath.basename(path.replace("\\", "/")) if isinstance(path, str) else image
    if drawn_on != image and drawn_on in images:
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"{stem}.json has the imagePath {path!r:.80}, another image of its folder, expected "
            f"{image!r}; give the JSON file the name of the image that its shapes were drawn on, "
            "or correct imagePath",
        )


def _canvas(
    content: dict[str, Any], shapes: list[dict[str, Any]], data: bytes, *, name: str
) -> Canvas:
    """Return the canvas of the shapes: the image as labelme shows it, or a scaled copy.

    labelme turns an image by its EXIF tag before it records its size, and OpenCV, with which the
    authors read their images, turns it as well.

    Raises:
        TargetError: SIZE_MISMATCH: the recorded size is not that of this image at any scale, or
            may be that of the image before or after turning.
    """
    stored_hw = image_size_hw(data, name=name)
    orientation = exif_orientation(data)
    shown_hw = stored_hw if orientation < FIRST_SWAPPING else (stored_hw[1], stored_hw[0])
    recorded_hw = _recorded_size(content)
    if shown_hw != stored_hw and recorded_hw in (None, stored_hw, shown_hw):
        fit = fit_of([_flat(shape) for shape in shapes], recorded_hw or shown_hw)
        swapped = {stored_hw: shown_hw, shown_hw: stored_hw}
        if fit is Fit.SWAPPED:
            return Canvas(swapped[recorded_hw or shown_hw])
        if recorded_hw == stored_hw and fit is Fit.EITHER:
            raise undecided_turn(name, orientation)
    if recorded_hw is None:
        return Canvas(shown_hw)
    if recorded_hw == stored_hw:
        return Canvas(stored_hw)
    scale_y, scale_x = (
        size / recorded for size, recorded in zip(shown_hw, recorded_hw, strict=True)
    )
    # Each side of a reduced image is rounded to whole pixels.
    sides_hw = shown_hw if scale_x < 1 else recorded_hw
    if abs(scale_x / scale_y - 1) * min(sides_hw) > 1:
        raise TargetError(
            RejectReason.SIZE_MISMATCH,
            f"{name} has {shown_hw[1]} x {shown_hw[0]} pixels, its JSON file records "
            f"{recorded_hw[1]} x {recorded_hw[0]}, which is not a scaled copy of it; put the image "
            "there that the shapes were drawn on",
        )
    return Canvas(shown_hw, (scale_x, scale_y))


def _recorded_size(content: dict[str, Any]) -> tuple[int, int] | None:
    """Return (height, width) as the file records it, None if it does not."""
    height, width = (whole_number(content.get(f"image{side}")) for side in ("Height", "Width"))
    return None if height is None or width is None or height < 1 or width < 1 else (height, width)


def _flat(shape: dict[str, Any]) -> list[list[Any]]:
    points = shape.get("points")
    pairs = points if isinstance(points, list) else []
    return [[v for point in pairs if isinstance(point, list) for v in point[:2]]]


def _shapes(content: dict[str, Any], stem: str) -> list[dict[str, Any]]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list):
        raise TargetError(
            RejectReason.MALFORMED_ENTRY,
            f"{stem}.json: shapes is a {type(shapes).__name__}, expected a list",
        )
    for shape in shapes:
        if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
            raise TargetError(
                RejectReason.MALFORMED_SEGMENTATION, f"{stem}.json: a shape has no list of points"
            )
    return shapes


def _meaning(label: Any, name: str) -> str:
    """Return target, ignore or flag (a label that the authors no longer use)."""
    text = label.strip().casefold() if isinstance(label, str) else ""
    if text in ("target", "flag"):
        return text
    if "ignore" in text:
        return "ignore"
    raise TargetError(
        RejectReason.MALFORMED_ENTRY,
        f"{name}.json: a shape has the label {label!r:.40}, expected target, ignore or flag",
    )


def _western(data: bytes, path: str) -> str:
    """Decode cp1252. Raises TargetError for a text that must be in another encoding."""
    try:
        if _FOUR_BYTES.search(data) is None:
            return data.decode("cp1252")
    except UnicodeDecodeError:
        pass
    raise TargetError(
        RejectReason.MALFORMED_ENTRY,
        f"{path} is neither in UTF-8 nor in the Western European encoding cp1252; save it as UTF-8",
    )
