"""Arrow schemas whose columns the `datasets` library takes for images."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An image as `datasets` stores it: a file's content, and a name or null."""

FEATURES_KEY = b"huggingface"
"""Under it a file's metadata describe its columns to `datasets`."""


def image_schema(fields: Iterable[pa.Field]) -> pa.Schema:
    """Return a schema that tells `datasets` which of its columns are images.

    A field is an image, or a list of images, by its type `IMAGE_TYPE`.
    """
    plain = pa.schema(list(fields))
    described = json.dumps({"info": {"features": features_of(plain)}}, sort_keys=True)
    return plain.with_metadata({FEATURES_KEY: described})


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the features of a schema, as `datasets.Features.to_dict` writes them.

    Lists are written as before version 4 of `datasets`, which later ones read too.

    >>> features_of(pa.schema([("image", IMAGE_TYPE), ("texts", pa.list_(pa.string()))]))
    {'image': {'_type': 'Image'}, 'texts': {'feature': {'dtype': 'string', '_type': 'Value'}, \
'_type': 'Sequence'}}
    """
    return {field.name: _feature(field.type) for field in schema}


def image_columns(schema: pa.Schema) -> list[str]:
    """Return the Parquet paths of the columns that hold files of images."""
    found = []
    for field in schema:
        if field.type == IMAGE_TYPE:
            found.append(f"{field.name}.bytes")
        elif pa.types.is_list(field.type) and field.type.value_type == IMAGE_TYPE:
            found.append(f"{field.name}.list.element.bytes")
    return found


def value_columns(schema: pa.Schema) -> list[str]:
    """Return the columns of a schema that are neither images nor nested."""
    return [field.name for field in schema if not pa.types.is_nested(field.type)]


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE_TYPE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        item = kind.value_type
        # Before version 4, `Sequence` of a struct was a struct of lists: a list says a list.
        if pa.types.is_struct(item) and item != IMAGE_TYPE:
            return [_feature(item)]
        return {"feature": _feature(item), "_type": "Sequence"}
    if pa.types.is_struct(kind):
        return {part.name: _feature(part.type) for part in kind}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
