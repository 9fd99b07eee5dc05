"""Caption files: CSV, JSON and JSON lines that map images or masks to captions."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import DataError, LayoutError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.files.expressions import clean_expressions, sentences_of
from hlmat.transforms.readers.files.images import is_image_name, split_suffix
from hlmat.transforms.readers.text_files import read_text

MASK_COLUMNS = ("mask_file_name", "mask_file", "mask_path", "mask")
FILE_COLUMNS = (
    *("file", "file_name", "filename", "image_file_name", "image_file", "image_path", "image"),
    *("img", "path", "name"),
)
CAPTION_COLUMNS = (
    *("caption", "captions", "text", "texts", "expression", "expressions"),
    *("sentence", "sentences", "sent", "raw"),
)
"""Accepted names of the caption column; other columns are ignored."""
LESS_TELLING_COLUMNS = ("description", "descriptions", "prompt", "phrase")
"""Accepted names if none of `CAPTION_COLUMNS` is there."""

_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
_STEMS = ("captions", "metadata")
_OTHER_SUFFIXES = (
    *(*_SUFFIXES, ".ndjson", ".parquet", ".arrow", ".feather", ".txt", ".xlsx", ".xls", ".ods"),
    *(".yaml", ".yml", ".xml", ".pkl", ".pickle"),
)
_TELLING = re.compile("caption|metadata|text|expression|sentence|prompt|description|annotation")
_WHERE_CAPTIONS_ARE = "captions are read from captions or metadata with .csv, .tsv, .json or .jsonl"


@dataclass(frozen=True)
class CaptionRow:
    """A row of a caption file.

    Attributes:
        line: its place for messages: "line 3", "entry 3".
        mask, image: the files that it names; None where it has no such column.
        texts: none if its caption is blank.
    """

    line: str
    mask: str | None
    image: str | None
    texts: tuple[str, ...]

    @property
    def file(self) -> str:
        """The file that it is about."""
        return self.mask or self.image or ""


@dataclass(frozen=True)
class CaptionFiles:
    """The caption files of a data set, by path relative to the data root.

    Attributes:
        used: those that are read.
        unused: others that may contain captions, with the reason.
    """

    used: tuple[str, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()


def find_caption_files(
    storage: Storage, root: str, *, folders: Iterable[str], known: Collection[str] = ()
) -> CaptionFiles:
    """Find the caption files of a data set.

    These are ``captions.*`` in the first folder that has one; without any, ``metadata.*`` in each
    folder, as the ImageFolder of Hugging Face has them.

    Args:
        storage: reaches `root`.
        root: the data root.
        folders: where they may be, relative to the root.
        known: names of files with another meaning.

    Raises:
        LayoutError: a folder has two with the same stem.
    """
    found: dict[str, list[str]] = {stem: [] for stem in _STEMS}
    doubled: dict[str, str] = {}
    unused: list[tuple[str, str]] = []
    for folder in folders:
        names = storage.list_dir(posixpath.join(root, folder))
        read: set[str] = set()
        for stem in _STEMS:
            of_stem = [f"{stem}{suffix}" for suffix in _SUFFIXES if f"{stem}{suffix}" in names]
            if len(of_stem) > 1:
                where = posixpath.join(root, folder).rstrip("/")
                doubled.setdefault(
                    stem, f"{where} has both {' and '.join(of_stem)}; keep one of them"
                )
            found[stem] += [posixpath.join(folder, name) for name in of_stem]
            read.update(of_stem)
        unused += _other_files(names, folder, read.union(known))
        unused += _texts_beside_images(names, folder)
        if not folder:
            unused += [
                (name, _WHERE_CAPTIONS_ARE)
                for name in names
                if name.endswith("/") and _TELLING.search(name.casefold())
            ]
    captions, metadata = found["captions"], found["metadata"]
    for stem in _STEMS if not captions else _STEMS[:1]:
        if stem in doubled:
            raise LayoutError(doubled[stem])
    used = captions[:1] or metadata
    unused += [(path, f"{used[0]} is") for path in (*captions[1:], *metadata) if path not in used]
    return CaptionFiles(tuple(used), tuple(unused))


def _other_files(
    names: Iterable[str], folder: str, known: Collection[str]
) -> list[tuple[str, str]]:
    found = []
    for name in names:
        stem, suffix = posixpath.splitext(name.casefold())
        if name not in known and suffix in _OTHER_SUFFIXES and _TELLING.search(stem):
            found.append((posixpath.join(folder, name), _WHERE_CAPTIONS_ARE))
    return found


def _texts_beside_images(names: Iterable[str], folder: str) -> list[tuple[str, str]]:
    """Return the first text file with the stem of an image, and how many there are."""
    stems = {split_suffix(name)[0] for name in names if is_image_name(name)}
    texts = sorted(n for n in names if n.endswith(".txt") and split_suffix(n)[0] in stems)
    if not texts:
        return []
    files = "1 text file has" if len(texts) == 1 else f"{len(texts)} text files have"
    why = f"{_WHERE_CAPTIONS_ARE}, and {files} the name of an image"
    return [(posixpath.join(folder, texts[0]), why)]


def read_captions(storage: Storage, root: str, path: str) -> list[CaptionRow] | None:
    """Read a caption file; None if it is a metadata file without captions.

    A CSV file has a header; commas, semicolons or tabs separate its columns. JSON is a list of
    rows, an object of captions by file, or COCO's captions (`images` and `annotations`).

    Args:
        storage: reaches `root`.
        root: the data root.
        path: of the file, relative to the root.

    Raises:
        DataError: the file cannot be read, a row names no file, or a caption is not text.
    """
    full_path = posixpath.join(root, path)
    text = read_text(storage, full_path)
    is_optional = posixpath.basename(path).startswith("metadata.")
    match posixpath.splitext(path)[1]:
        case ".csv" | ".tsv":
            header, rows = _csv_rows(text, full_path)
        case ".jsonl":
            header, rows = [], list(_jsonl_rows(text, full_path))
        case _:
            header, rows = [], list(_json_rows(text, full_path))
    entries = [(line, _lowered(row)) for line, row in rows]
    columns = _lowered(dict.fromkeys(header)).keys() | {key for _, row in entries for key in row}
    captions = (*CAPTION_COLUMNS, *LESS_TELLING_COLUMNS)
    for names, kind in ((captions, "caption"), ((*MASK_COLUMNS, *FILE_COLUMNS), "file")):
        if not columns.intersection(names):
            if is_optional:
                return None
            raise DataError(
                f"{full_path}: expected the columns 'file' and 'caption', found "
                f"{', '.join(sorted(columns)) or 'nothing'}; name the {kind} column "
                f"{', '.join(names[:-1])} or {names[-1]}"
            )
    return [_row(row, line, full_path) for line, row in entries]


def _lowered(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {" ".join(str(key).split()).casefold().replace(" ", "_"): v for key, v in row.items()}


def _csv_rows(text: str, path: str) -> tuple[list[str], list[tuple[str, Mapping[Any, Any]]]]:
    """Return the header and the rows."""
    first, _, rest = text.partition("\n")
    # Excel reads and writes this line to declare a separator other than the locale's.
    named = re.fullmatch(r"sep=([,;\t|])\r?", first)
    text = rest if named else text
    delimiter = named[1] if named else max(",;\t", key=first.count)
    skipped = 1 if named else 0
    rows: list[tuple[str, Mapping[Any, Any]]] = []
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
        header = list(reader.fieldnames or [])
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path}, line {reader.line_num + skipped} has more columns than the "
                    "first line; put quotes around a caption with commas"
                )
            rows.append((f"line {reader.line_num + skipped}", row))
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}") from error
    return header, rows


def _jsonl_rows(text: str, path: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        yield f"line {number}", _mapping(row, f"line {number}", path)


def _json_rows(text: str, path: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if isinstance(content, dict):
        if isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
            yield from _coco_rows(content, path)
            return
        for number, (file, value) in enumerate(content.items(), start=1):
            row = value if isinstance(value, dict) else {"caption": value}
            yield f"entry {number}", {**row, "file": file}
        return
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of rows or captions by file, found {text[:40]!r}")
    for number, row in enumerate(content, start=1):
        yield f"entry {number}", _mapping(row, f"entry {number}", path)


def _coco_rows(content: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    names: dict[str, object] = {}
    for image in content["images"]:
        if isinstance(image, dict):
            names[str(image.get("id"))] = image.get("file_name")
    for number, annotation in enumerate(content["annotations"], start=1):
        row = _mapping(annotation, f"annotation {number}", path)
        yield f"annotation {number}", {**row, "file": names.get(str(row.get("image_id")))}


def _mapping(row: object, line: str, path: str) -> Mapping[Any, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{path}, {line}: expected texts for 'file' and 'caption', got {row!r:.60}")
    return row


def _row(row: Mapping[str, Any], line: str, path: str) -> CaptionRow:
    mask, image = _first_text(row, MASK_COLUMNS), _first_text(row, FILE_COLUMNS)
    columns = CAPTION_COLUMNS if any(c in row for c in CAPTION_COLUMNS) else LESS_TELLING_COLUMNS
    values = [row[column] for column in columns if row.get(column) is not None]
    wrong = next((value for value in values if not _is_text(value)), None)
    if wrong is not None or (mask is None and image is None and any(values)):
        raise DataError(
            f"{path}, {line}: expected texts for 'file' and 'caption', got {mask or image!r} and "
            f"{wrong if wrong is not None else values[0]!r:.60}"
        )
    texts = next(filter(None, map(_texts, values)), ())
    return CaptionRow(line, mask, image, texts)


def _first_text(row: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    texts = (row[c].strip() for c in columns if isinstance(row.get(c), str))
    return next((text for text in texts if text), None)


def _is_text(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | dict) for each in value)
    return isinstance(value, str)


def _texts(value: str | list[Any]) -> tuple[str, ...]:
    """Return the captions of a cell: a text, or a list, which CSV has as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return clean_expressions([value])
    return sentences_of(value)
