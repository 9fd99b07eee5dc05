"""The terms of each data set, by its `--dataset` name."""

from __future__ import annotations

from collections.abc import Mapping

from hlmat.transforms.readers.shapes.options import LICENSE as SHAPES_LICENSE

OWN_TERMS = "see the data set's own terms"
"""For data sets without a known license file."""

_COCO_EXPRESSIONS = "COCO annotations CC BY 4.0; expressions and images: their own terms"

LICENSES: Mapping[str, str] = {
    "shapes": SHAPES_LICENSE,
    "refcoco": _COCO_EXPRESSIONS,
    "refcoco+": _COCO_EXPRESSIONS,
    "refcocog": _COCO_EXPRESSIONS,
    "refclef": _COCO_EXPRESSIONS,
    "grefcoco": _COCO_EXPRESSIONS,
    "rrsisd": OWN_TERMS,
    "phrasecut": "Visual Genome CC BY 4.0; phrases and regions: their own terms",
    "parquet": "that of the data set in the table",
    "hqseg44k": "by part, see the rows",
    "hres": "by part, see the rows",
    "dis5k": "DIS5K terms of use (non-commercial)",
    "thinobject5k": "CC BY-NC 4.0",
    "fss1000": OWN_TERMS,
    "duts": OWN_TERMS,
    "ecssd": OWN_TERMS,
    "msra10k": OWN_TERMS,
    "coift": OWN_TERMS,
    "hrsod": OWN_TERMS,
    "reasonseg": OWN_TERMS,
    "coco": "COCO annotations CC BY 4.0, others as their file says; images: their own terms",
    "coco_panoptic": "COCO annotations CC BY 4.0; images: their own terms",
    "grabcut": OWN_TERMS,
    "berkeley": OWN_TERMS,
    "davis": OWN_TERMS,
    "coco_mval": "COCO annotations CC BY 4.0; images: their own terms",
    "voc": OWN_TERMS,
    "sbd": OWN_TERMS,
    "folder": "yours",
    "trace": "that of the data set the trace was made from",
}
"""Terms that a data set's files name for a target take precedence."""
