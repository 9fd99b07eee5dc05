"""The terms of each data set, by its `--dataset` name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

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


class ImageRights(StrEnum):
    """Whether the images of a data set may be published.

    Attributes:
        GRANTED: its terms let anyone redistribute them.
        OWN: only who has the files knows, such as for your own images.
        NOT_GRANTED: no license of the images is known, or they belong to others, such as photos
            that Flickr's users own.
    """

    GRANTED = "granted"
    OWN = "own"
    NOT_GRANTED = "not granted"


IMAGE_RIGHTS: Mapping[str, ImageRights] = {
    **dict.fromkeys(LICENSES, ImageRights.NOT_GRANTED),
    **dict.fromkeys(("shapes", "thinobject5k"), ImageRights.GRANTED),
    **dict.fromkeys(
        ("folder", "coco", "coco_panoptic", "voc", "parquet", "trace"), ImageRights.OWN
    ),
}
"""By `--dataset` name; the formats that people keep their own data in are `OWN`."""

HUB_LICENSES: Mapping[str, str] = {"shapes": "cc0-1.0", "thinobject5k": "cc-by-nc-4.0"}
"""The Hugging Face Hub's names of licenses, for the data sets that have one."""


def image_rights(dataset: str) -> ImageRights:
    """Return whether the images of a data set may be published; of an unknown one they may not."""
    return IMAGE_RIGHTS.get(dataset, ImageRights.NOT_GRANTED)
