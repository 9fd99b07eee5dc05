"""Assign captions to the targets whose image or mask they name."""

from __future__ import annotations

import json
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.caption_files import CaptionFiles, CaptionRow, read_captions
from hlmat.transforms.readers.files.images import split_suffix

_NAMED = 5
_TOPS = ("images", "masks")


@dataclass(frozen=True)
class Captioned:
    """Targets with their captions.

    Attributes:
        items: in their original order.
        files: those that gave captions, relative to the data root.
        targets: how many targets there are, rejects left out.
        captioned: how many of them have a caption.
        remarks: on the captions, a sentence each.
    """

    items: tuple[TargetRef | Reject, ...]
    files: tuple[str, ...]
    targets: int
    captioned: int
    remarks: tuple[str, ...]


def give_captions(
    items: Sequence[TargetRef | Reject], captions: CaptionFiles, *, storage: Storage, root: str
) -> Captioned:
    """Assign each caption to the target whose mask, or else whose image, its row names.

    Names are relative to the data root, to images/ or masks/, or to the folder of the caption file,
    with or without suffix. A target with several rows gets several expressions, without
    repetitions. An image with several targets has no caption; the rows must name masks.

    Args:
        items: the targets, whose `truth_ref` names a mask.
        captions: the files.
        storage: reaches `root`.
        root: the data root.

    Raises:
        DataError: a file is malformed, or none of its rows names an existing file.
    """
    index = _Index(items)
    texts: dict[int, list[str]] = {}
    files: list[str] = []
    remarks = [f"{path} is not read: {why}" for path, why in captions.unused]
    for path in captions.used:
        rows = read_captions(storage, root, path)
        if rows is None:
            remarks.append(f"{path} is not used: it has no column of files and of captions")
            continue
        files.append(path)
        blank = [row for row in rows if not row.texts]
        unknown: list[CaptionRow] = []
        shared: list[CaptionRow] = []
        for row in rows:
            found = index.find(row, folder=posixpath.dirname(path))
            if found is None:
                unknown.append(row)
            elif len(found) > 1 and row.texts:
                shared.append(row)
            else:
                texts.setdefault(found[0], []).extend(row.texts)
        if rows and len(unknown) == len(rows):
            raise DataError(
                f"{posixpath.join(root, path)} has captions for files that are not in images/: "
                f"{_shown(unknown)}; fix the names or remove the file"
            )
        if unknown:
            remarks.append(
                f"{path} has captions for files that are not there, {_count(unknown)}: "
                f"{_shown(unknown)}"
            )
        if shared:
            remarks.append(
                f"{path} has captions for images with several targets, {_count(shared)}, which are "
                f"not used: {_shown(shared)}; name the mask of each target instead"
            )
        if blank:
            remarks.append(f"{path} has no text in {_count(blank)}: {_shown(blank)}")
    given = [_with_texts(item, texts.get(number, ())) for number, item in enumerate(items)]
    targets = [number for number, item in enumerate(items) if isinstance(item, TargetRef)]
    captioned = sum(bool(texts.get(number)) for number in targets)
    if files and captioned < len(targets):
        remarks.append(f"{len(targets) - captioned} of {len(targets)} targets have no caption")
    return Captioned(tuple(given), tuple(files), len(targets), captioned, tuple(remarks))


class _Index:
    """The targets by the names of their masks and images.

    Args:
        items: the targets.
    """

    def __init__(self, items: Sequence[TargetRef | Reject]) -> None:
        self._masks: dict[str, list[int]] = {}
        self._images: dict[str, list[int]] = {}
        for number, item in enumerate(items):
            ref = item.ref if isinstance(item, Reject) else item
            mask = json.loads(ref.truth_ref)["mask"]
            for names, path in ((self._masks, mask), (self._images, ref.image_path)):
                for key in _keys(path):
                    of_key = names.setdefault(key, [])
                    # A reject counts only if there is no target.
                    if of_key and isinstance(items[of_key[0]], Reject):
                        of_key.clear()
                    if not of_key or isinstance(item, TargetRef):
                        of_key.append(number)

    def find(self, row: CaptionRow, *, folder: str) -> list[int] | None:
        """Return the targets that a row describes; None if the file does not exist.

        Args:
            row: of a caption file.
            folder: of that file, relative to the data root.
        """
        for name in filter(None, (row.mask, row.image)):
            found: list[int] | None = None
            for key in _spellings(name, folder=folder):
                for names in (self._masks, self._images):
                    there = names.get(key)
                    if there is not None and (found is None or len(there) < len(found)):
                        found = there
                if found is not None:
                    return found
        return None


def _keys(path: str) -> Iterator[str]:
    """Yield the names of a file: its path from the data root and from images/ or masks/, with and
    without suffix."""
    top, _, inside = path.partition("/")
    for name in (path, inside) if top in _TOPS and inside else (path,):
        normal = unicodedata.normalize("NFC", name)
        yield normal
        yield split_suffix(normal)[0]


def _spellings(name: str, *, folder: str) -> Iterator[str]:
    """Yield the paths that a name may mean, most likely first."""
    normal = posixpath.normpath(unicodedata.normalize("NFC", name).replace("\\", "/"))
    yield posixpath.join(folder, normal)
    yield normal
    # Written on another machine, with the full path.
    for top in _TOPS:
        _, found, inside = f"/{normal}".rpartition(f"/{top}/")
        if found:
            yield f"{top}/{inside}"


def _with_texts(item: TargetRef | Reject, texts: Sequence[str]) -> TargetRef | Reject:
    if not texts:
        return item
    ref = item.ref if isinstance(item, Reject) else item
    ref = replace(ref, expressions=tuple(dict.fromkeys(texts)))
    return replace(item, ref=ref) if isinstance(item, Reject) else ref


def _count(rows: Sequence[CaptionRow]) -> str:
    return "1 row" if len(rows) == 1 else f"{len(rows)} rows"


def _shown(rows: Iterable[CaptionRow]) -> str:
    """Return the first rows by file and line."""
    every = list(rows)
    shown = ", ".join(f"{row.file!r} ({row.line})" for row in every[:_NAMED])
    return shown + (f" and {len(every) - _NAMED} more" if len(every) > _NAMED else "")
