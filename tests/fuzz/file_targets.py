"""Files that the project writes or that a user writes for it."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

from fuzz.mutation import near_bytes, near_json
from fuzz.running import Target
from hlmat.export.runs.manifest import MANIFEST_VERSION, read_manifest
from hlmat.pipelines.evaluation.results import click_protocol
from hlmat.pipelines.recipes.recipe import load_recipe
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.safetensors_file import announced_size
from hlmat.transforms.core.storage import MemoryStorage

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
        "safetensors",
        read_safetensors,
        _SAFETENSORS,
        near_bytes([_SAFETENSORS], [b"[", b"{", b":"]),
        expected=(ValueError,),
    ),
)
