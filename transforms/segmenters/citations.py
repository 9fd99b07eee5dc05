"""What to cite for each segmenter, by what identifies it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAM = "Kirillov et al., Segment Anything, ICCV 2023"
_SAM_HQ = "Ke et al., Segment Anything in High Quality, NeurIPS 2023"
_SAM_2 = "Ravi et al., SAM 2: Segment Anything in Images and Videos, ICLR 2025"
_SAM_3 = "Carion et al., SAM 3: Segment Anything with Concepts, 2025, arXiv:2511.16719"
_EDGE_TAM = "Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025"

_BY_NAME: Mapping[str, tuple[str, ...]] = {
    "graphcut": (
        "Boykov and Jolly, Interactive Graph Cuts for Optimal Boundary and Region Segmentation of "
        "Objects in N-D Images, ICCV 2001",
    ),
    "sam": (_SAM,),
    "simpleclick": (
        "Liu et al., SimpleClick: Interactive Image Segmentation with Simple Vision Transformers, "
        "ICCV 2023",
    ),
}

_BY_MODEL_TYPE: Mapping[str, tuple[str, ...]] = {
    "sam": (_SAM,),
    "sam_hq": (_SAM_HQ, _SAM),
    "sam2": (_SAM_2,),
    "sam2_video": (_SAM_2,),
    "sam3_tracker": (_SAM_3,),
    "sam3_tracker_video": (_SAM_3,),
    "sam3_video": (_SAM_3,),
    "edgetam": (_EDGE_TAM, _SAM_2),
    "edgetam_video": (_EDGE_TAM, _SAM_2),
}
"""Of the models of transformers, by the `model_type` of their config.json."""


def segmenter_citations(identity: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to cite for a segmenter; empty for one of the user's own.

    Args:
        identity: as `segmenter_identity` gives it, and a run's configuration holds it.

    >>> segmenter_citations({"name": "sam", "model_type": "vit_b"})
    ('Kirillov et al., Segment Anything, ICCV 2023',)
    """
    if identity["name"] == "hf":
        return _BY_MODEL_TYPE.get(str(identity.get("model_type")), ())
    return _BY_NAME.get(str(identity["name"]), ())
