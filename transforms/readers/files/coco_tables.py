"""The tables of an instances file: images, annotations and categories, with doubtful ids named."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.readers.files.coco_annotations import CocoAnnotations
from hlmat.transforms.readers.files.expressions import clean_expressions
from hlmat.transforms.readers.files.frames import Fit, fit_of
from hlmat.transforms.readers.files.ids import Entry, Table, id_of
from hlmat.transforms.readers.files.image_places import is_coco_name
from hlmat.transforms.readers.files.json import need_list


class CocoTables:
    """An instances file, looked up by ids.

    A repeated id is ambiguous: images and categories with such an id are refused unless their
    entries agree. Of annotations, the first in the file counts.

    Args:
        content: of the JSON file, except for the annotations.
        annotations: of the file.
        path: for messages.

    Raises:
        DataError: a table is missing.
    """

    def __init__(self, content: object, annotations: CocoAnnotations, *, path: str) -> None:
        self.images = Table(need_list(content, "images", path=path))
        categories = content.get("categories", []) if isinstance(content, Mapping) else []
        self.categories = Table(categories if isinstance(categories, list) else [])
        self.annotations = annotations
        self._fits: dict[str | None, Fit] = {}
        self._texts: dict[str | None, tuple[str, ...]] = {}

    def image_of(self, image_id: object, *, name: str) -> Entry:
        """Return the entry of an image.

        Args:
            image_id: as the file has it.
            name: of the target, for messages.

        Raises:
            TargetError: MISSING_ANNOTATION if it is not listed, DUPLICATE_ID if entries with this
                id differ.
        """
        found = self.images.all_of(image_id)
        if not found:
            raise TargetError(
                RejectReason.MISSING_ANNOTATION,
                f"{name} is of image {image_id!r:.80}, which is not listed",
            )
        if len(found) > 1 and len({_image_facts(entry) for entry in found}) > 1:
            names = ", ".join(dict.fromkeys(f"{image_name(entry)!r:.80}" for entry in found[:4]))
            raise TargetError(
                RejectReason.DUPLICATE_ID,
                f"{name} is of image {image_id!r:.80}, an id that {len(found)} entries have "
                f"({names}), so the annotation is ambiguous; give each image a unique id",
            )
        return found[0]

    def annotation_of(self, annotation_id: object, *, image_id: object, name: str) -> Entry:
        """Return the first annotation with an id, which must belong to the given image.

        Raises:
            TargetError: MISSING_ANNOTATION.
        """
        found = self.annotations.ids.positions_of(annotation_id)
        if not len(found):
            raise TargetError(
                RejectReason.MISSING_ANNOTATION,
                f"{name}: instances.json lacks annotation {annotation_id!r:.80}",
            )
        annotation: Entry = self.annotations[int(found[0])]
        if id_of(annotation.get("image_id")) != id_of(image_id):
            again = ", and the id occurs again" if len(found) > 1 else ""
            raise TargetError(
                RejectReason.MISSING_ANNOTATION,
                f"{name}: annotation {annotation_id!r:.80} is of image "
                f"{annotation.get('image_id')!r:.80}, not of image {image_id!r:.80}{again}",
            )
        return annotation

    def fit_on(self, image: Entry, *, size_hw: tuple[int, int]) -> Fit | None:
        """Return how all shapes of an image fit its recorded size.

        None for an image with one of COCO's names: its shapes were drawn on the stored image.
        """
        if is_coco_name(image_name(image)):
            return None
        key = id_of(image.get("id"))
        if key not in self._fits:
            of_image = self.annotations.image_ids.positions_of(key)
            entries = map(self.annotations.__getitem__, of_image.tolist())
            self._fits[key] = fit_of((entry.get("segmentation") for entry in entries), size_hw)
        return self._fits[key]

    def category_text(self, category_id: object, *, name: str) -> tuple[str, ...]:
        """Return a category's name as an expression.

        Raises:
            TargetError: MALFORMED_ENTRY if it has none, DUPLICATE_ID if it has several.
        """
        key = id_of(category_id)
        if (known := self._texts.get(key)) is not None:
            return known
        found = [entry.get("name") for entry in self.categories.all_of(category_id)]
        texts = clean_expressions(n.replace("_", " ") for n in found if isinstance(n, str))
        if len(texts) > 1:
            raise TargetError(
                RejectReason.DUPLICATE_ID,
                f"{name} has the category {category_id!r:.80}, an id of several: "
                f"{', '.join(texts[:4])}; give each category its own id",
            )
        if not texts:
            raise TargetError(
                RejectReason.MALFORMED_ENTRY,
                f"{name} has the category {category_id!r:.80}, which has no name in the file",
            )
        self._texts[key] = texts
        return texts


def image_name(image: Mapping[str, Any]) -> str:
    """Return an image's name; LVIS only has a URL that ends in folder and name."""
    name = image.get("file_name")
    if isinstance(name, str) and name.strip():
        return name
    url = image.get("coco_url")
    return posixpath.join(*url.split("/")[-2:]) if isinstance(url, str) and "/" in url else ""


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation covers a crowd; some tools write the number as text.

    >>> is_crowd({"iscrowd": 1}), is_crowd({"iscrowd": "0"}), is_crowd({})
    (True, False, False)
    """
    value = entry.get("iscrowd")
    if isinstance(value, str):
        return value.strip().casefold() not in ("", "0", "0.0", "false", "no")
    return bool(value)


def _image_facts(image: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the fields on which all entries of an image agree."""
    return (image_name(image), *(repr(image.get(key)) for key in ("height", "width", "caption")))
