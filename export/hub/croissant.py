"""Croissant metadata of a published data set: `croissant.json`, format 1.1.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hlmat.export.hub.facts import STATES, TRAJECTORIES, Publication, PublishedFile
from hlmat.export.hub.state_rows import COLUMNS
from hlmat.export.image_tables.features import IMAGE_TYPE
from hlmat.transforms.dataset_io.schemas import TRAJECTORY_SCHEMA, description_of
from hlmat.transforms.readers.open_licenses import OPEN_LICENSES

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification gives."""

_TYPES = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.float64(): "cr:Float64",
}


def croissant_json(facts: Publication, *, description: str) -> bytes:
    """Return croissant.json; the same facts give the same bytes.

    Args:
        description: of the data set, in a sentence or more.
    """
    tables = {STATES: facts.states, TRAJECTORIES: facts.trajectories}
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts.name,
        "description": description,
        "license": OPEN_LICENSES[facts.license_id].url
        if facts.license_id in OPEN_LICENSES
        else "; ".join(f"{source.name}: {source.terms}" for source in facts.sources),
        "version": "1.0.0",
        "datePublished": facts.date,
        "citeAs": "; ".join(facts.citations),
        "keywords": ["interactive segmentation", "click trajectories", "mask annotation"],
        "rai:dataCollection": "Simulated: a policy clicks, an interactive segmentation tool "
        "answers with a mask, and the mask is compared with the ground truth.",
        "rai:machineAnnotationTools": sorted(
            {f"{config['segmenter']['name']} (segmenter)" for config in facts.runs.values()}
            | {f"{config['policy']} (policy)" for config in facts.runs.values()}
        ),
        "distribution": [
            entry for name, table in tables.items() for entry in _distribution(name, table)
        ],
        "recordSet": [
            *(entry for name, table in tables.items() for entry in _splits(name, table)),
        ],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _distribution(
    table: str, splits: Mapping[str, Sequence[PublishedFile]]
) -> Iterator[dict[str, Any]]:
    for split, files in splits.items():
        for file in files:
            yield {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.size_bytes} B",
                "encodingFormat": PARQUET,
                "sha256": file.sha256,
            }
        yield {
            "@type": "cr:FileSet",
            "@id": _file_set(table, split),
            "name": _file_set(table, split),
            "description": f"The files of the table {table}, split {split}.",
            "encodingFormat": PARQUET,
            "includes": f"{table}/{split}-*.parquet",
        }


def _splits(table: str, splits: Mapping[str, Sequence[PublishedFile]]) -> Iterator[dict[str, Any]]:
    for split in splits:
        record_set = f"{table}-{split}"
        yield {
            "@type": "cr:RecordSet",
            "@id": record_set,
            "name": record_set,
            "description": f"The rows of the table {table}, split {split}.",
            "field": [
                _field(record_set, _file_set(table, split), name, kind, meaning)
                for name, kind, meaning in _columns(table)
            ],
        }


def _columns(table: str) -> list[tuple[str, pa.DataType, str]]:
    if table == STATES:
        return list(COLUMNS)
    # Croissant has no lists of structures: the steps are in the files alone.
    return [
        (field.name, field.type, description_of(field))
        for field in TRAJECTORY_SCHEMA
        if field.name != "steps"
    ]


def _field(
    record_set: str, files: str, name: str, kind: pa.DataType, meaning: str
) -> dict[str, Any]:
    is_list = pa.types.is_list(kind)
    source: dict[str, Any] = {"fileSet": {"@id": files}, "extract": {"column": name}}
    if kind == IMAGE_TYPE:
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": meaning,
        "dataType": "sc:ImageObject"
        if kind == IMAGE_TYPE
        else _TYPES[kind.value_type if is_list else kind],
        **({"isArray": True, "arrayShape": "-1"} if is_list else {}),
        "source": source,
    }


def _file_set(table: str, split: str) -> str:
    return f"{table}-{split}-files"
