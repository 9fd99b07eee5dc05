"""What to cite for each data set, by its `--dataset` name."""

from __future__ import annotations

from collections.abc import Mapping

_COCO = "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014"
_REFER = "Yu et al., Modeling Context in Referring Expressions, ECCV 2016"
_SALIENT = "Cheng et al., Global Contrast Based Salient Region Detection, TPAMI 2015"
_THIN = "Liew et al., Deep Interactive Thin Object Selection, WACV 2021"
_DIS5K = "Qin et al., Highly Accurate Dichotomous Image Segmentation, ECCV 2022"
_HQ = "Ke et al., Segment Anything in High Quality, NeurIPS 2023"
_VOC = "Everingham et al., The Pascal Visual Object Classes (VOC) Challenge, IJCV 2010"

CITATIONS: Mapping[str, tuple[str, ...]] = {
    "refcoco": (_REFER, _COCO),
    "refcoco+": (_REFER, _COCO),
    "refcocog": (
        "Mao et al., Generation and Comprehension of Unambiguous Object Descriptions, CVPR 2016",
        _COCO,
    ),
    "refclef": (
        "Kazemzadeh et al., ReferItGame: Referring to Objects in Photographs of Natural Scenes, "
        "EMNLP 2014",
    ),
    "grefcoco": (
        "Liu et al., GRES: Generalized Referring Expression Segmentation, CVPR 2023",
        _COCO,
    ),
    "rrsisd": (
        "Liu et al., Rotated Multi-Scale Interaction Network for Referring Remote Sensing Image "
        "Segmentation, CVPR 2024",
    ),
    "phrasecut": (
        "Wu et al., PhraseCut: Language-Based Image Segmentation in the Wild, CVPR 2020",
        "Krishna et al., Visual Genome, IJCV 2017",
    ),
    "hqseg44k": (_HQ,),
    "hres": (_HQ, _DIS5K, _THIN),
    "dis5k": (_DIS5K,),
    "thinobject5k": (_THIN,),
    "coift": (_THIN,),
    "fss1000": ("Li et al., FSS-1000: A 1000-Class Dataset for Few-Shot Segmentation, CVPR 2020",),
    "duts": (
        "Wang et al., Learning to Detect Salient Objects with Image-Level Supervision, CVPR 2017",
    ),
    "ecssd": ("Shi et al., Hierarchical Image Saliency Detection on Extended CSSD, TPAMI 2016",),
    "msra10k": (_SALIENT,),
    "hrsod": ("Zeng et al., Towards High-Resolution Salient Object Detection, ICCV 2019",),
    "reasonseg": ("Lai et al., LISA: Reasoning Segmentation via Large Language Model, CVPR 2024",),
    "coco_panoptic": ("Kirillov et al., Panoptic Segmentation, CVPR 2019", _COCO),
    "grabcut": (
        "Rother et al., GrabCut: Interactive Foreground Extraction Using Iterated Graph Cuts, "
        "SIGGRAPH 2004",
    ),
    "berkeley": (
        "McGuinness and O'Connor, A Comparative Evaluation of Interactive Segmentation "
        "Algorithms, Pattern Recognition 2010",
    ),
    "davis": (
        "Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object "
        "Segmentation, CVPR 2016",
    ),
    "coco_mval": (_COCO,),
    "sbd": ("Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011", _VOC),
}
"""Formats that hold anyone's data, such as `folder` and `coco`, have no entry."""

CITATIONS_IN_FORMATS: Mapping[str, Mapping[str, str]] = {
    "folder": {},
    "parquet": {},
    "trace": {},
    "coco": {
        "COCO": _COCO,
        "LVIS": "Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, "
        "CVPR 2019",
    },
    "voc": {"PASCAL VOC": _VOC},
}
"""For these formats: the references of well-known data sets that come in them."""

METHOD = (
    "Zhu et al., SegAgent: Exploring Pixel Understanding Capabilities in MLLMs by Imitating Human "
    "Annotator Trajectories, CVPR 2025, arXiv:2503.08625"
)
"""What defined the task of the trajectories."""
