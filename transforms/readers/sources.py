"""Where each data set comes from: expected layout, the authors' page, download size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN_SIZE = "not stated by the authors"


@dataclass(frozen=True)
class DatasetSource:
    """Where a data set comes from and how its files must be arranged.

    Attributes:
        layout: the tree below the data root, one line per entry.
        origin: the authors' page; for the user's data, what to provide.
        size: of the download, as its page states it.
        remark: anything else to know before downloading; often empty.
    """

    layout: tuple[str, ...]
    origin: str
    size: str = UNKNOWN_SIZE
    remark: str = ""


_REFER = "https://github.com/lichengunc/refer"
_SAM_HQ = "https://huggingface.co/sam-hq-team/sam-hq-training/tree/main/data"
_THIN_OBJECTS = "https://github.com/liewjunhao/thin-object-selection"
_RITM = "https://github.com/SamsungLabs/ritm_interactive_segmentation#datasets"
_COCO = "https://cocodataset.org/#download"

_DIS5K = (
    "DIS5K/DIS-TR/im/*.jpg     DIS5K/DIS-TR/gt/*.png     (train)",
    "DIS5K/DIS-VD/im/*.jpg     DIS5K/DIS-VD/gt/*.png     (val)",
    "DIS5K/DIS-TE1/im/*.jpg    DIS5K/DIS-TE1/gt/*.png    (te1; te2 to te4 likewise)",
)
_THINOBJECT5K = (
    "thin_object_detection/ThinObject5K/images_train/*.jpg    .../masks_train/*.png",
    "thin_object_detection/ThinObject5K/images_test/*.jpg     .../masks_test/*.png",
)
_COIFT = ("thin_object_detection/COIFT/images/*.jpg    .../masks/*.png",)
_HRSOD = ("thin_object_detection/HRSOD/images/*.jpg    .../masks_max255/*.png",)
_ARCHIVES = {"DIS5K": "3.53 GB", "cascade_psp": "1.37 GB", "thin_object_detection": "2.45 GB"}


def _archives(*names: str) -> str:
    return "archives: " + ", ".join(f"{name} {_ARCHIVES[name]}" for name in names)


def _copy_in(archive: str) -> str:
    return (
        f"HQSeg-44K has a copy in the layout above: {archive}.zip ({_ARCHIVES[archive]}), {_SAM_HQ}"
    )


def _original(*layout: str) -> tuple[str, ...]:
    return tuple(f"or the original  {line}" for line in layout)


def _refcoco(name: str, split_by: str, splits: str) -> DatasetSource:
    return DatasetSource(
        layout=(
            f"{name}/refs({split_by}).p    (splits: {splits})",
            f"{name}/instances.json",
            "images/mscoco/images/train2014/COCO_train2014_*.jpg",
        ),
        origin=_REFER,
        size="annotations: not stated by the authors; images (COCO train2014): 13 GB",
        remark=f"images: {_COCO}. Where the annotation server does not answer, "
        "https://github.com/dvlab-research/LISA links archived copies",
    )


def _benchmark(folder: str, images: str, masks: str, size: str) -> DatasetSource:
    return DatasetSource((f"{folder}/{images}/*    {folder}/{masks}/*",), _RITM, size)


SOURCES: Mapping[str, DatasetSource] = {
    "shapes": DatasetSource(("nothing: the scenes are generated",), "generated on the fly", "0"),
    "refcoco": _refcoco("refcoco", "unc", "train, val, testA, testB"),
    "refcoco+": _refcoco("refcoco+", "unc", "train, val, testA, testB"),
    "refcocog": _refcoco("refcocog", "umd", "train, val, test"),
    "refclef": DatasetSource(
        layout=(
            "refclef/refs(unc).p",
            "refclef/instances.json",
            "images/saiapr_tc-12/<NN>/images/<id>.jpg",
        ),
        origin=_REFER,
        remark="the page links the subset of 19,997 images. Where its server does not answer, "
        "https://github.com/dvlab-research/LISA links archived copies",
    ),
    "grefcoco": DatasetSource(
        layout=(
            "grefcoco/grefs(unc).json    (or grefs(unc).p; splits: train, val, testA, testB)",
            "grefcoco/instances.json",
            "images/mscoco/images/train2014/COCO_train2014_*.jpg    (or images/train2014/)",
        ),
        origin="https://github.com/henghuiding/gRefCOCO",
        size="annotations: not stated by the authors; images (COCO train2014): 13 GB",
        remark=f"images: {_COCO}",
    ),
    "rrsisd": DatasetSource(
        layout=(
            "rrsisd/refs(unc).p    (splits: train, val, test)",
            "rrsisd/instances.json",
            "images/rrsisd/JPEGImages/*.jpg",
        ),
        origin="https://github.com/Lsan2401/RMSIN",
    ),
    "phrasecut": DatasetSource(
        layout=(
            "refer_<split>.json and image_data_split3000.json    (or in VGPhraseCut_v0/)",
            "images/*.jpg    (or VG_100K/ and VG_100K_2/ of Visual Genome)",
        ),
        origin="https://github.com/ChenyunWu/PhraseCutDataset",
        size="images of both parts: 15 GB",
    ),
    "hqseg44k": DatasetSource(
        layout=(
            *_DIS5K[:2],
            *_THINOBJECT5K,
            "cascade_psp/{DUTS-TR,DUTS-TE,ecssd,fss_all,MSRA_10K}/*.jpg and *.png",
            *_COIFT,
            *_HRSOD,
        ),
        origin=_SAM_HQ,
        size=_archives("DIS5K", "cascade_psp", "thin_object_detection"),
        remark="missing parts are left out and listed",
    ),
    "hres": DatasetSource(
        (*_DIS5K[:2], *_THINOBJECT5K),
        _SAM_HQ,
        size=_archives("DIS5K", "thin_object_detection"),
        remark="two parts of HQSeg-44K",
    ),
    "dis5k": DatasetSource(
        _DIS5K, "https://xuebinqin.github.io/dis/index.html", remark=_copy_in("DIS5K")
    ),
    "thinobject5k": DatasetSource(
        (
            *_THINOBJECT5K,
            *_original("ThinObject5K/{images,masks}/* with list/{train,test}.txt"),
        ),
        _THIN_OBJECTS,
        remark=_copy_in("thin_object_detection"),
    ),
    "fss1000": DatasetSource(
        (
            "cascade_psp/fss_all/*.jpg and *.png",
            *_original("fewshot_data/<class>/<n>.jpg and <n>.png"),
        ),
        "https://github.com/HKUSTCV/FSS-1000",
        remark=_copy_in("cascade_psp"),
    ),
    "duts": DatasetSource(
        (
            "cascade_psp/DUTS-TR/*.jpg and *.png    (train)",
            "cascade_psp/DUTS-TE/*.jpg and *.png    (test)",
            *_original("DUTS/DUTS-TR/{DUTS-TR-Image,DUTS-TR-Mask}/*, DUTS-TE likewise"),
        ),
        "http://saliencydetection.net/duts/",
        remark=_copy_in("cascade_psp"),
    ),
    "ecssd": DatasetSource(
        (
            "cascade_psp/ecssd/*.jpg and *.png",
            *_original("ECSSD/images/*.jpg    ECSSD/ground_truth_mask/*.png"),
        ),
        "https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html",
        remark=_copy_in("cascade_psp"),
    ),
    "msra10k": DatasetSource(
        (
            "cascade_psp/MSRA_10K/*.jpg and *.png",
            *_original("MSRA10K_Imgs_GT/Imgs/*.jpg and *.png"),
        ),
        "https://mmcheng.net/msra10k/",
        "195 MB",
        _copy_in("cascade_psp"),
    ),
    "coift": DatasetSource(_COIFT, _THIN_OBJECTS, remark=_copy_in("thin_object_detection")),
    "hrsod": DatasetSource(
        (*_HRSOD, *_original("HRSOD/images/*    HRSOD/masks/*")),
        "https://github.com/yi94code/HRSOD",
        remark=_copy_in("thin_object_detection"),
    ),
    "reasonseg": DatasetSource(
        (
            "ReasonSeg/train/<name>.jpg and <name>.json",
            "ReasonSeg/val/<name>.jpg and <name>.json    (test likewise)",
        ),
        "https://github.com/dvlab-research/LISA#dataset",
    ),
    "coco": DatasetSource(
        (
            "annotations/instances_<split>.json    (or --annotations FILE)",
            "<split>/*.jpg    (or images/<split>/, images/, the root)",
            "or as exported: <split>/_annotations.coco.json next to its images (Roboflow),",
            "annotations/instances_default.json (CVAT) or result.json (Label Studio) with images/",
        ),
        _COCO,
        "val2017: 1 GB of images; train2017: 18 GB; annotations of both: 241 MB",
        "LVIS files work too: https://www.lvisdataset.org/dataset",
    ),
    "coco_panoptic": DatasetSource(
        (
            "annotations/panoptic_<split>.json    (or --annotations FILE)",
            "annotations/panoptic_<split>/*.png    (or panoptic_<split>/ in the root)",
            "<split>/*.jpg    (or images/<split>/, images/)",
        ),
        _COCO,
        "annotations: 821 MB; images: val2017 1 GB, train2017 18 GB",
    ),
    "parquet": DatasetSource(
        (
            "data/<split>-*.parquet    (or <split>*.parquet, <split>/*.parquet; or --annotations)",
            "images/...    (only where the table names images instead of holding them)",
        ),
        "https://huggingface.co/datasets/lmms-lab/RefCOCO",
        remark="any table with images, masks and texts: name its columns with --columns",
    ),
    "grabcut": _benchmark("GrabCut", "data_GT", "boundary_GT", "11 MB"),
    "berkeley": _benchmark("Berkeley", "images", "masks", "7 MB"),
    "davis": _benchmark("DAVIS", "img", "gt", "43 MB"),
    "coco_mval": _benchmark("COCO_MVal", "img", "gt", "127 MB"),
    "voc": DatasetSource(
        (
            "JPEGImages/<name>.jpg    (also below VOCdevkit/VOC2012)",
            "SegmentationObject/<name>.png    SegmentationClass/<name>.png    (one will do)",
            "ImageSets/Segmentation/<split>.txt    (not for --split all)",
            "labelmap.txt or classes.txt    (for classes other than VOC's)",
        ),
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "2 GB",
    ),
    "sbd": DatasetSource(
        (
            "benchmark_RELEASE/dataset/img/<name>.jpg",
            "benchmark_RELEASE/dataset/inst/<name>.mat    (cls/ for --mask-values classes)",
            "benchmark_RELEASE/dataset/<split>.txt",
        ),
        "http://www.cs.berkeley.edu/~bharath2/codes/SBD/download.html",
        remark="its splits differ from VOC's: training images are in VOC's validation set",
    ),
    "folder": DatasetSource(
        (
            "images/<name>.jpg    (or .png, .bmp, .tif, .webp, .gif; sub-folders allowed)",
            "masks/<name>.png     (or <name>_0.png, <name>_1.png, ...; or <name>/*.png)",
            "captions.csv         (optional: columns file and caption; or .json, metadata.csv)",
        ),
        "your own images and masks",
        "that of your files",
    ),
    "trace": DatasetSource(
        (
            "<any name>.json    (a click trace; --annotations FILE if there are several)",
            "images/<name> or train2014/COCO_train2014_*.jpg",
        ),
        "a file that `hlmat export` or SegAgent's simulation wrote, and the images it names",
        "that of your files",
    ),
}
"""By `--dataset` name."""


def explain_layout(name: str) -> str:
    """Return the layout that a data set needs below the data root, as indented lines."""
    return "\n".join(
        [f"{name} expects below the data root:", *(f"  {line}" for line in SOURCES[name].layout)]
    )


def explain_source(name: str, *, terms: str) -> str:
    """Return where the files come from, their size and terms, one line each."""
    source = SOURCES[name]
    lines = [f"source: {source.origin}", f"size: {source.size}", f"terms: {terms}"]
    return "\n".join([*lines, *([f"note: {source.remark}"] if source.remark else [])])


def explain_missing_root(name: str, *, terms: str) -> str:
    """Return what to do if a data set is named without a data root.

    Args:
        name: a `--dataset` value that needs a data root.
        terms: the data set's license.
    """
    return "\n".join(
        [
            f"--data-root is missing: {name} is read from a folder. "
            "Give --data-root DIR, or DATA_ROOT=DIR with make.",
            explain_layout(name),
            explain_source(name, terms=terms),
            "--dataset shapes needs no files: its images are generated.",
        ]
    )
