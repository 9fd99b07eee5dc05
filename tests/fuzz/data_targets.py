"""Files of data sets and checkpoints."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fuzz.mutation import near_bytes, near_json
from fuzz.running import Target
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.masks.rasterize import segmentation_to_mask
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.readers.files.pickle import load_plain_pickle
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.readers.trace.records import iter_trace_records, record_to_trajectory
from hlmat.transforms.torch_support.checkpoint_file import check_checkpoint
from hostile_pickles import HOSTILE_PICKLES
from reader_fixtures import SQUARE, image, mask_image, memory

_IMAGE, _MASK = image(), mask_image()
_SIZE = [6, 8]


def _as_pickle(content: Any) -> bytes:
    return pickle.dumps(content, 2)


def _as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def _read(name: str, files: Mapping[str, bytes], **options: Any) -> None:
    """Open a data set, list it and read every target."""
    reader = open_reader(name, ReaderOptions("data", storage=memory(dict(files)), **options))
    assert reader.describe_layout()
    for item in reader.read_targets():
        if isinstance(item, Reject):
            assert isinstance(item.reason, RejectReason)
            assert item.message
            continue
        assert isinstance(item, TargetRef)
        assert all(isinstance(text, str) and text for text in item.expressions)
        try:
            masks = reader.load_truth(item)
            height, width = masks.truth.shape
            assert masks.truth.dtype == np.bool_
            reader.load_image(item.image_path, size_hw=(height, width))
        except TargetError:
            pass


_RUNS = {"counts": encode_mask(np.eye(6, 8, dtype=bool)).counts, "size": _SIZE}
_COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 6, "width": 8}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [SQUARE], "iscrowd": 0},
        {"id": 6, "image_id": 1, "category_id": 3, "segmentation": _RUNS, "iscrowd": 1},
        {
            "id": 7,
            "image_id": 1,
            "category_id": 3,
            "segmentation": {"counts": [9, 3, 36], "size": _SIZE},
            "caption": "a cat",
            "tokens_positive": [[0, 1]],
        },
    ],
    "categories": [{"id": 3, "name": "cat"}],
}


def read_coco(data: bytes) -> None:
    files = {"annotations/instances_val2017.json": data, "val2017/1.jpg": _IMAGE}
    _read("coco", files, split="val2017")


_REF = {
    "ref_id": 1,
    "ann_id": 5,
    "image_id": 1,
    "split": "train",
    "category_id": 3,
    "sentences": [{"tokens": ["a"], "raw": "A cat", "sent": "a cat", "sent_id": 2}],
    "sent_ids": [2],
    "file_name": "COCO_train2014_000000000001_0.jpg",
}


def read_refs(data: bytes) -> None:
    files = {
        "refcoco/refs(unc).p": data,
        "refcoco/instances.json": json.dumps(_COCO).encode(),
        "images/mscoco/images/train2014/COCO_train2014_000000000001.jpg": _IMAGE,
    }
    _read("refcoco", files)


_SHAPES = {
    "shapes": [
        {"label": "target", "points": [[1, 1], [5, 1], [5, 4]], "shape_type": "polygon"},
        {"label": "target", "points": [[1, 1], [3, 3]], "shape_type": "circle"},
        {"label": "ignore", "points": [[4, 3], [7, 5]], "shape_type": "rectangle"},
    ],
    "text": ["what is it", "a cat"],
    "is_sentence": True,
    "imageHeight": 6,
    "imageWidth": 8,
}


def read_labelme(data: bytes) -> None:
    files = {"ReasonSeg/val/a.json": data, "ReasonSeg/val/a.jpg": _IMAGE}
    _read("reasonseg", files, split="val")


def _folder_with(name: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        _read("folder", {"images/a.jpg": _IMAGE, "masks/a.png": _MASK, name: data})

    return read


_TRACE = {
    "info": {"args": {}},
    "data": [
        {
            "image_name": 581857,
            "height": 6,
            "width": 8,
            "gt_ann": {
                "object_id": 2,
                "caption": ["left cup", "cup"],
                "segmentation": _RUNS,
                "bbox": [1, 0, 2, 3],
                "area": 6,
            },
            "clicks_list": [
                {
                    "idx": 0,
                    "coor": [2, 1],
                    "is_positive": True,
                    "mask": _RUNS,
                    "box": [0, 0, 6, 6],
                    "area": 6,
                    "iou": 0.5,
                }
            ],
        }
    ],
}


def read_trace(data: bytes) -> None:
    for record in iter_trace_records(data, name="trace.json"):
        if not isinstance(record, TargetError):
            record_to_trajectory(record, dataset="d", split="s")


def read_run_lengths(data: bytes) -> None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = {"counts": data.decode("latin1"), "size": _SIZE}
    mask = segmentation_to_mask(content, size_hw=(6, 8), name="t")
    assert mask.shape == (6, 8)
    assert mask.dtype == np.bool_


def _csv(*rows: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


_CAPTIONS = _csv(("file", "caption"), ("a.jpg", "the cat"), ("a.jpg", 'a "red" cat'))
_CAPTION = {"file": "a.jpg", "caption": "the cat"}
# The format before torch 1.6: one tensor in a list.
_LEGACY = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.\x80\x02]q\x00("
    b"ctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\x00\x00\x00storageq\x02ctorch\nFloatStorage\n"
    b"q\x03X\x01\x00\x00\x000q\x04X\x03\x00\x00\x00cpuq\x05K\x02Ntq\x06QK\x00K\x02\x85q\x07K\x01"
    b"\x85q\x08\x89ccollections\nOrderedDict\nq\t)Rq\ntq\x0bRq\x0ce.\x80\x02]q\x00X\x01\x00\x00"
    b"\x000q\x01a.\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x80?"
)

TARGETS = (
    Target(
        "pickles",
        lambda data: load_plain_pickle(data, name="a.p"),
        _as_pickle([_REF]),
        near_bytes(
            [d for d in HOSTILE_PICKLES.values() if len(d) < 1000]
            + [pickle.dumps([_REF], protocol) for protocol in range(5)],
            [b"]", b"(", b"e", b".", b"}", b"s", b"\x85", b"h\0", b"q\0", b"R", b"b", b"0", b"2"],
        ),
    ),
    Target(
        "refs", read_refs, _as_pickle([_REF]), near_json([[_REF], [_REF, _REF]], encode=_as_pickle)
    ),
    Target("COCO", read_coco, _as_json(_COCO), near_json([_COCO])),
    Target(
        "run lengths",
        read_run_lengths,
        _as_json(_RUNS),
        near_json([_RUNS, {"counts": [9, 3, 36], "size": _SIZE}, [SQUARE, SQUARE[:6]]])
        | near_bytes([_RUNS["counts"].encode()]),
    ),
    Target("labelme", read_labelme, _as_json(_SHAPES), near_json([_SHAPES])),
    Target(
        "captions.csv",
        _folder_with("captions.csv"),
        _CAPTIONS,
        near_bytes([_CAPTIONS]),
    ),
    Target(
        "captions.jsonl",
        _folder_with("captions.jsonl"),
        _as_json(_CAPTION),
        near_json([_CAPTION]),
    ),
    Target("traces", read_trace, _as_json(_TRACE), near_json([_TRACE])),
    Target(
        "checkpoints",
        check_checkpoint,
        _LEGACY,
        near_bytes([_LEGACY], [b"K\x7f", b"J\xff\xff\xff\x7f", b"h\x01", b"tR", b"Q", b"."]),
        expected=(ValueError,),
    ),
)
