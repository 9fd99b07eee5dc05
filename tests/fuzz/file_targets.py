"""Files that the project writes or that a user writes for it."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from pathlib import Path

from fuzz.mutation import near_bytes, near_json
from fuzz.running import Target
from hlmat.export.runs.flags import TargetFlags, flags_to_csv, read_flags
from hlmat.export.runs.manifest import MANIFEST_VERSION, read_manifest
from hlmat.pipelines.evaluation.results import click_protocol
from hlmat.pipelines.recipes.recipe import load_recipe
from hlmat.transforms.clickability.click_model import parse_click_model
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.safetensors_file import announced_size
from hlmat.transforms.core.storage import MemoryStorage
from hlmat.transforms.readers.click_logs.csv_log import parse_csv_log
from hlmat.transforms.readers.click_logs.rclicks import parse_rclicks_log
from hlmat.transforms.readers.text_files import read_text

_TRAIN = (
    b"model_name_or_path: base\ntemplate: qwen2_vl\nstage: sft\nfinetuning_type: lora\n"
    b"learning_rate: 1e-4\nlora_target: [q_proj, v_proj]\n"
)
_TRAJECTORIES = (
    b"dataset: shapes\nmax-clicks: 5\nshapes-size: 64x64\nlimit: 8\nsegmenter-arg:\n- radius=3\n",
    b"dataset: refcoco\nsplit: train\ntarget-iou: 0.9\nno-gain-stop: true\n",
)


def read_recipe(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "trajectories.yaml": b"dataset: shapes" if data.startswith(b"model") else data,
            "export.yaml": b"",
            "evaluate.yaml": b"dataset: shapes",
            "train.yaml": data if data.startswith(b"model") else _TRAIN,
        }
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        load_recipe(folder)


_MANIFEST = {
    "manifest_version": MANIFEST_VERSION,
    "files": {"trajectories/a.parquet": {"sha256": "0" * 64, "bytes": 9, "rows": 1}},
    "config": {
        "dataset": "shapes",
        "split": "train",
        "policy": "oracle",
        "segmenter": {"name": "disc"},
        "initial_action": "none",
        "max_clicks": 5,
        "stop_on_no_gain": True,
        "target_iou": 0.9,
        "stop_at_score": None,
        "first_mask": None,
        "expressions": "each",
        "seed": 0,
        "shapes": {"count": 3},
    },
    "counts": {"targets": 1, "trajectories": 1, "rejects": 0, "units": 1},
    "source": {"data_root": None, "licenses": {"shapes": "CC0-1.0"}},
}


def read_run(data: bytes) -> None:
    manifest = read_manifest(MemoryStorage({"out/manifest.json": data}), "out")
    click_protocol(manifest)
    for name in ("dataset", "split", "policy", "expressions", "seed", "shapes"):
        manifest.config[name]


def read_safetensors(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert announced_size(file.name) >= 8


def read_click_log(data: bytes) -> None:
    text = read_text(MemoryStorage({"log.csv": data}), "log.csv")
    logs = [
        parse_csv_log(text, name="log.csv", has_dataset=has_dataset)
        for has_dataset in (True, False)
    ]
    logs.append(parse_rclicks_log(text, name="log.csv", dataset="davis"))
    for click in (click for log in logs for click in log.clicks):
        assert math.isfinite(click.x + click.y)
        assert click.click >= 1


_CLICKS = (
    b"target,mask,click,x,y,positive,dataset,full_stem,image_stem,object_stem,click_type,w,h\n"
    b"t#0,a.png,1,3.5,4,true,DAVIS,cat_sam_fp_pc_3,cat,3,fp,200,100\n"
)
_CLICK_MODEL = {
    "format": "hlmat-click-model",
    "version": 1,
    "source": "a test",
    "weights": {"depth": 4.7, "missed": -1},
    "fit": {"seed": 0},
}


def read_flag_file(data: bytes) -> None:
    flags = read_flags(data, name="flags.csv")
    assert sorted(read_flags(flags_to_csv(flags), name="again")) == sorted(flags)
    keys = [(flag.dataset, flag.split, flag.target_id) for flag in flags]
    found = TargetFlags(flags, keys, name="flags.csv", run="out")
    for key in keys:
        found.expressions(key, ("the cup",))


_FLAGS = (
    b"dataset,split,target_id,flag,expression,replacement,note\n"
    b'd,s,t0,drop,,,"a, b"\nd,s,t1,fix,the cup,\'=cup,\n'
)

_HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
_SAFETENSORS = struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(8)

TARGETS = (
    Target(
        "recipes",
        read_recipe,
        b"dataset: shapes\n",
        near_bytes(
            (*_TRAJECTORIES, _TRAIN),
            [b"? [a]\n: b\n", b"? {a: b}\n", b"&a [*a]", b"- ", b": ", b"!!set {", b"1e999", b"*a"],
        ),
        expected=(ConfigError,),
    ),
    Target(
        "manifests",
        read_run,
        json.dumps(_MANIFEST).encode(),
        near_json([_MANIFEST]),
        expected=(DataError,),
    ),
    Target(
        "flags",
        read_flag_file,
        _FLAGS,
        near_bytes([_FLAGS], [b'"', b"'", b",", b"\r", b"\n", b"\x00", b"\xef\xbb\xbf", b"drop"]),
        expected=(DataError,),
    ),
    Target(
        "safetensors",
        read_safetensors,
        _SAFETENSORS,
        near_bytes([_SAFETENSORS], [b"[", b"{", b":"]),
        expected=(ValueError,),
    ),
    Target(
        "click logs",
        read_click_log,
        _CLICKS,
        near_bytes([_CLICKS, _CLICKS.replace(b",", b";")], [b'"', b"=", b"nan", b"1e9", b"\t"]),
    ),
    Target(
        "click models",
        lambda data: parse_click_model(data, name="m.json"),
        json.dumps(_CLICK_MODEL).encode(),
        near_json([_CLICK_MODEL]),
    ),
)
