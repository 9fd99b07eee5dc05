"""`metadata.json`: the fields of a data set, as FiftyOne's own exports declare them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

VERSION = "1.0.0"
"""Of FiftyOne's format: the oldest with these fields. Later releases migrate it when they import;
earlier ones refuse it."""

GROUND_TRUTH, PREDICTIONS, CLICKS = "ground_truth", "predictions", "clicks"
BOXES, NO_OBJECT = "boxes", "no_object"

_FIELDS = "fiftyone.core.fields"
_EMBEDDED = "EmbeddedDocumentField"
_TARGET = {"target_id": "StringField", "iou": "FloatField"}
_OF_TARGET = {
    **_TARGET,
    "expressions": "StringField*",
    "num_clicks": "IntField",
    "stop_reason": "StringField",
}
_REGION = {
    "bounding_box": "FloatField*",
    "mask": "ArrayField",
    "mask_path": "StringField",
    "confidence": "FloatField",
    "index": "IntField",
}
_POINTS = {
    "points": "KeypointsField",
    "confidence": "FloatField*",
    "index": "IntField",
    "target_id": "StringField",
    "step": "IntField*",
    "iou": "FloatField*",
}
_LABELS: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    GROUND_TRUTH: ("Detections", "detections", "Detection", _REGION | _OF_TARGET),
    PREDICTIONS: ("Detections", "detections", "Detection", _REGION | _TARGET),
    CLICKS: ("Keypoints", "keypoints", "Keypoint", _POINTS),
    BOXES: (
        "Detections",
        "detections",
        "Detection",
        _REGION | _TARGET | {"step": "IntField"},
    ),
    NO_OBJECT: (
        "Classifications",
        "classifications",
        "Classification",
        {"confidence": "FloatField", "logits": "VectorField"} | _OF_TARGET,
    ),
}
"""Of each field with labels: its class, its list, the class of a label, and a label's own fields;
`*` marks a list."""

ALWAYS = (GROUND_TRUTH, PREDICTIONS, CLICKS)
"""The fields with labels that every data set has."""


def list_class(name: str) -> tuple[str, str, str]:
    """Return the class of a field with labels, the name of its list, and the class of a label.

    >>> list_class("clicks")
    ('Keypoints', 'keypoints', 'Keypoint')
    """
    return _LABELS[name][:3]


def metadata_json(name: str, *, used: Collection[str], info: Mapping[str, Any]) -> bytes:
    """Return the content of `metadata.json`.

    Args:
        name: of the data set; FiftyOne gives it the name that is passed to it.
        used: the fields with labels of any sample.
        info: plain JSON, which FiftyOne shows as `dataset.info`.
    """
    labels = [field for field in _LABELS if field in ALWAYS or field in used]
    content = {
        "name": name,
        "version": VERSION,
        "media_type": "image",
        "tags": [],
        "info": info,
        "sample_fields": [*_own_fields(), *(_label_field(field) for field in labels)],
    }
    return (json.dumps(content, indent=1) + "\n").encode("ascii")


def _own_fields() -> list[dict[str, Any]]:
    image = {
        "size_bytes": "IntField",
        "mime_type": "StringField",
        "width": "IntField",
        "height": "IntField",
        "num_channels": "IntField",
    }
    plain = {
        "filepath": "StringField",
        "tags": "StringField*",
        "_rand": "FloatField",
        "_media_type": "StringField",
        "dataset": "StringField",
        "image_path": "StringField",
    }
    return [
        _field("id", "ObjectIdField", db_field="_id"),
        *(_field(name, kind) for name, kind in plain.items()),
        _field(
            "metadata",
            _EMBEDDED,
            embedded="fiftyone.core.metadata.ImageMetadata",
            fields=[_field(name, kind) for name, kind in image.items()],
        ),
        _field("_dataset_id", "ObjectIdField"),
        _field("created_at", "DateTimeField", is_read_only=True),
        _field("last_modified_at", "DateTimeField", is_read_only=True),
    ]


def _label_field(name: str) -> dict[str, Any]:
    kind, items, item, own = _LABELS[name]
    of_label = [
        _field("id", "ObjectIdField", db_field="_id"),
        _field("tags", "StringField*"),
        _field("label", "StringField"),
        *(_field(each, type_) for each, type_ in own.items()),
    ]
    listed = _field(
        items, f"{_EMBEDDED}*", embedded=f"fiftyone.core.labels.{item}", fields=of_label
    )
    return _field(name, _EMBEDDED, embedded=f"fiftyone.core.labels.{kind}", fields=[listed])


def _field(
    name: str,
    kind: str,
    *,
    db_field: str | None = None,
    embedded: str | None = None,
    fields: Sequence[Mapping[str, Any]] = (),
    is_read_only: bool = False,
) -> dict[str, Any]:
    single, is_list = kind.removesuffix("*"), kind.endswith("*")
    return {
        "name": name,
        "ftype": f"{_FIELDS}.{'ListField' if is_list else single}",
        "subfield": f"{_FIELDS}.{single}" if is_list else None,
        "embedded_doc_type": embedded,
        "fields": list(fields),
        "db_field": db_field or name,
        "read_only": is_read_only,
    }
