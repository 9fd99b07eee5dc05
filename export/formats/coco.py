"""Masks as a COCO instances file, with the entries of the data set's file if there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Rle, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.rle import rle_area, rle_box_xywh, rle_to_json
from hlmat.transforms.readers.files.ids import Entry, Table, id_of
from hlmat.transforms.readers.files.json import need_list, read_json

CATEGORY = {"id": 1, "name": "object"}
"""The category of targets named by expressions; the first is the annotation's `caption`."""


@dataclass(frozen=True)
class ScoredAnnotation:
    """A mask to write.

    Attributes:
        target_id: of the data set.
        score: the model's, in [0, 1], or None.
    """

    target_id: str
    ref: TargetRef
    mask: Rle
    score: float | None


@dataclass(frozen=True)
class CocoSource:
    """The instances file that targets were read from.

    Attributes:
        images: its entries, by id.
        annotations: its entries, by id.
        categories: its entries, unchanged.
    """

    images: Table
    annotations: Table
    categories: list[Any]


def read_coco_source(storage: Storage, path: str) -> CocoSource:
    """Read an instances file back.

    Raises:
        DataError: it is malformed.
    """
    content = read_json(storage, path)
    return CocoSource(
        Table(need_list(content, "images", path=path)),
        Table(need_list(content, "annotations", path=path)),
        need_list(content, "categories", path=path),
    )


def coco_results(
    truths: Iterable[ScoredAnnotation],
    predicted: Iterable[ScoredAnnotation],
    *,
    description: str,
    source: CocoSource | None = None,
) -> tuple[bytes, bytes]:
    """Return an instances file of true masks, and the file of results that COCO's tools compare.

    Results are a list of `image_id`, `category_id`, `segmentation`, `bbox` and `score`, as
    https://cocodataset.org/#format-results has them. Ids are those of `coco_json`.

    Args:
        truths: a target each, in the order of the file.
        predicted: masks of some of these targets; their scores are numbers.
        description: goes under `info` of the instances file.
        source: the instances file that the targets come from.

    Raises:
        DataError: a target is not in the source.
    """
    known = list(truths)
    content = _instances(known, description=description, source=source)
    for entry in content["annotations"]:
        del entry["score"]
    by_target = {_key(one): entry for one, entry in zip(known, content["annotations"], strict=True)}
    results = [
        {
            "image_id": by_target[_key(one)]["image_id"],
            "category_id": by_target[_key(one)]["category_id"],
            "segmentation": rle_to_json(one.mask),
            "bbox": list(rle_box_xywh(one.mask)),
            "score": one.score,
        }
        for one in predicted
    ]
    return _bytes(content), _bytes(results)


def coco_json(
    annotations: Iterable[ScoredAnnotation], *, description: str, source: CocoSource | None = None
) -> bytes:
    """Return the content of an instances file; the same masks give the same bytes.

    Only images with an annotation are listed. With a source, images, categories and annotations
    keep its ids and further fields; without, both are numbered from 1, `file_name` is the path
    relative to the data root, and every annotation is of the category "object".

    Args:
        annotations: in the order of the file.
        description: goes under `info`.
        source: the instances file that the targets come from.

    Raises:
        DataError: a target is not in the source.
    """
    return _bytes(_instances(annotations, description=description, source=source))


def _instances(
    annotations: Iterable[ScoredAnnotation], *, description: str, source: CocoSource | None
) -> dict[str, Any]:
    images: dict[Any, Mapping[str, Any]] = {}
    entries: list[dict[str, Any]] = []
    for number, one in enumerate(annotations, start=1):
        if source is None:
            image = images.setdefault(one.ref.image_path, _image(one, number=len(images) + 1))
            entry: Mapping[str, Any] = {
                "id": number,
                "image_id": image["id"],
                "category_id": CATEGORY["id"],
                "caption": one.ref.expressions[0],
            }
        else:
            entry, image = _found(source, one)
            images[id_of(entry["image_id"])] = image
        entries.append({**entry, **_shape(one.mask), "iscrowd": 0, "score": one.score})
    return {
        "info": {"description": description},
        "images": list(images.values()),
        "annotations": entries,
        "categories": [CATEGORY] if source is None else source.categories,
    }


def _key(one: ScoredAnnotation) -> tuple[str, str]:
    return one.ref.dataset, one.target_id


def _bytes(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n").encode("ascii")


def _image(one: ScoredAnnotation, *, number: int) -> dict[str, Any]:
    height, width = one.mask.size_hw
    return {"id": number, "file_name": one.ref.image_path, "height": height, "width": width}


def _found(source: CocoSource, one: ScoredAnnotation) -> tuple[Entry, Entry]:
    """Return the source's entries of a target, whose id ends in the annotation's, and its image."""
    own_id = one.target_id.removeprefix(f"{one.ref.dataset}/{one.ref.split}/")
    annotations = source.annotations.all_of(own_id)
    images = source.images.all_of(annotations[0].get("image_id")) if annotations else []
    if not images:
        raise DataError(
            f"annotation {own_id} is no longer in the instances file; restore the file, or run "
            "again with --overwrite"
        )
    return annotations[0], images[0]


def _shape(mask: Rle) -> dict[str, Any]:
    """Return `segmentation`, `bbox` (x, y, width, height) and `area` of a mask."""
    return {
        "segmentation": rle_to_json(mask),
        "bbox": list(rle_box_xywh(mask)),
        "area": rle_area(mask),
    }
