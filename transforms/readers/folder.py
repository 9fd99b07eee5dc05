"""A user's own data: a folder of images, a folder of masks, optional captions."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.readers.files.images import split_suffix
from hlmat.transforms.readers.level_targets import LevelTargets
from hlmat.transforms.readers.mask_folders import PairedFilesReader, PairedFolders, shown_entries
from hlmat.transforms.readers.object_masks import is_object_folder
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES

IMAGES, MASKS = "images", "masks"
CAPTIONS_CSV, CAPTIONS_JSONL = "captions.csv", "captions.jsonl"
FILE_COLUMNS = ("file", "file_name", "filename", "image", "name")
CAPTION_COLUMNS = ("caption", "text", "expression")
"""What the two columns of captions may be called; further columns are left alone."""

_Captions = dict[str, list[tuple[int, str]]]


def the_object(stem: str) -> str:
    """Return the text of a target without a caption."""
    return "the object"


@dataclass(frozen=True)
class FolderReader:
    """Pairs of ``images/`` and ``masks/``, sub-folders included, with captions by file name.

    Attributes:
        pairs: the pairs without their captions.
        captions: path of the captions relative to the data root, or None.
    """

    pairs: PairedFilesReader
    captions: str | None

    @property
    def name(self) -> str:
        """The `--dataset` name."""
        return self.pairs.name

    @property
    def split(self) -> str:
        """The data set's own name of the split."""
        return self.pairs.split

    def describe_layout(self) -> str:
        """Return one line on what was recognised."""
        return f"{self.pairs.layout}, captions: {self.captions or 'none'}"

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List every pair with its captions.

        Raises:
            DataError: the captions are malformed, or name a file that is not there; raised
                before the first target, so that a limited run sees it as well.
        """
        captions = self._read_captions()
        unused = set(captions)
        items: list[TargetRef | Reject] = []
        for item in self.pairs.read_targets():
            ref = item.ref if isinstance(item, Reject) else item
            file = posixpath.relpath(ref.image_path, IMAGES)
            keys = {file, split_suffix(file)[0]}
            unused -= keys
            rows = sorted(row for key in keys for row in captions.get(key, ()))
            if rows:
                ref = replace(ref, expressions=tuple(caption for _, caption in rows))
            items.append(replace(item, ref=ref) if isinstance(item, Reject) else ref)
        if unused:
            lines = sorted((captions[name][0][0], name) for name in unused)
            shown = ", ".join(f"{name!r} (line {line})" for line, name in lines[:5])
            more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
            raise DataError(
                f"{self.captions} has captions for files that are not in {IMAGES}/: {shown}{more}; "
                "fix the names or remove the lines"
            )
        yield from items

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's mask. Raises TargetError."""
        return self.pairs.load_truth(ref)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return self.pairs.load_image(image_path, size_hw=size_hw)

    def _read_captions(self) -> _Captions:
        """Return (line number, caption) of each row by file name."""
        if self.captions is None:
            return {}
        path = posixpath.join(self.pairs.root, self.captions)
        try:
            text = self.pairs.storage.read_bytes(path).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
        rows = _csv_rows(text, path) if path.endswith(".csv") else _jsonl_rows(text, path)
        captions: _Captions = {}
        for number, file, caption in rows:
            captions.setdefault(file, []).append((number, caption))
        return captions


def open_folder(name: str, options: ReaderOptions) -> FolderReader:
    """Open a folder with ``images/`` and ``masks/``.

    Raises:
        LayoutError: one of the two is not there.
    """
    root, storage = options.data_root or "", options.storage
    absent = [f"{n}/" for n in (IMAGES, MASKS) if not storage.is_dir(posixpath.join(root, n))]
    if absent:
        raise LayoutError(
            f"{root} is not a folder data set: {' and '.join(absent)} missing; expected {IMAGES}/ "
            f"and {MASKS}/ with files of the same stems, and {CAPTIONS_CSV} or {CAPTIONS_JSONL} if "
            f"there are captions; found: {shown_entries(storage, root)}"
        )
    groups = ["", *sorted(_sub_folders(storage, root))]
    folders = tuple(
        PairedFolders(
            dataset=name,
            split="all",
            images=posixpath.join(IMAGES, group) if group else IMAGES,
            masks=posixpath.join(MASKS, group) if group else MASKS,
            rule=MaskRule.TWO_LEVELS,
            text=the_object,
            license=LICENSES["folder"],
            group=group,
            has_objects=True,
        )
        for group in groups
    )
    there = [n for n in (CAPTIONS_CSV, CAPTIONS_JSONL) if storage.is_file(posixpath.join(root, n))]
    if len(there) == 2:
        raise LayoutError(f"{root} has both {CAPTIONS_CSV} and {CAPTIONS_JSONL}; keep one of them")
    layout = f"images and masks in {root}"
    levels = LevelTargets.of(options)
    pairs = PairedFilesReader(name, "all", root, storage, folders, layout, levels)
    return FolderReader(pairs, there[0] if there else None)


def _sub_folders(storage: Storage, root: str) -> set[str]:
    """Return the folders below images/ and below masks/, relative to these; those that hold the
    objects of one image are none of their own."""
    found: set[str] = set()
    for top in (IMAGES, MASKS):
        waiting = [""]
        while waiting:
            group = waiting.pop()
            beside = posixpath.join(root, IMAGES, group)
            for name in storage.list_dir(posixpath.join(root, top, group)):
                if not name.endswith("/"):
                    continue
                if top == MASKS and is_object_folder(storage, beside, name.rstrip("/")):
                    continue
                below = posixpath.join(group, name.rstrip("/"))
                found.add(below)
                waiting.append(below)
    return found


def _csv_rows(text: str, path: str) -> Iterator[tuple[int, str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns = reader.fieldnames or []
        if _first_of(FILE_COLUMNS, columns) is None or _first_of(CAPTION_COLUMNS, columns) is None:
            raise DataError(
                f"{path}: expected the columns 'file' and 'caption' in the first line, found "
                f"{', '.join(columns) or 'nothing'}"
            )
        for row in reader:
            yield _checked_row(row, path, reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from error


def _jsonl_rows(text: str, path: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        yield _checked_row(row, path, number)


def _first_of(names: Sequence[str], there: Collection[str]) -> str | None:
    return next((name for name in names if name in there), None)


def _checked_row(row: object, path: str, number: int) -> tuple[int, str, str]:
    fields = row if isinstance(row, dict) else {}
    file = fields.get(_first_of(FILE_COLUMNS, fields))
    caption = fields.get(_first_of(CAPTION_COLUMNS, fields))
    if not isinstance(file, str) or not isinstance(caption, str) or not file or not caption.strip():
        raise DataError(
            f"{path}, line {number}: expected texts for 'file' and 'caption', got {file!r} and "
            f"{caption!r}"
        )
    return number, posixpath.normpath(file), caption.strip()
