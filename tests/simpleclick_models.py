"""SimpleClick for tests: small networks with random weights, their files, and the golden values.

The golden values were made with the authors' own network and predictor; they lie beside the
checkout and are never part of this repository.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hlmat.transforms.segmenters.simpleclick.architecture import ARCHITECTURES, Architecture
from repository import SHARED

GOLDEN = SHARED / "simpleclick"
SMALL = Architecture(16, 32, 4, 2, (8, 16, 16, 32), head_width=8)
"""Of the official layout, and fast."""


def golden_file(name: str) -> Path:
    """Return a golden file's path; the test is skipped where there is none."""
    if not (GOLDEN / name).is_file():
        pytest.skip(f"the golden values are not here: {GOLDEN / name} is missing")
    return GOLDEN / name


def golden_json(name: str) -> Any:
    """Return the content of a golden JSON file."""
    return json.loads(golden_file(name).read_text())


def golden_module(name: str) -> ModuleType:
    """Import a Python file next to the golden values."""
    spec = importlib.util.spec_from_file_location(f"golden_{name}", golden_file(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_network() -> Any:
    """Return the ViT-B network with the golden weights (2 seconds)."""
    import torch

    from hlmat.transforms.segmenters.simpleclick.network import SimpleClickNetwork

    tensors = golden_module("fill_rule").fill_all(golden_json("names_shapes.json"))
    with torch.device("meta"):
        network = SimpleClickNetwork(ARCHITECTURES["vit_base"])
    state = {name: torch.from_numpy(np.asarray(values)) for name, values in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def random_network(architecture: Architecture = SMALL, *, seed: int = 2) -> Any:
    """Return a network whose answers depend on image, previous mask and clicks."""
    import torch

    from hlmat.transforms.segmenters.simpleclick.network import SimpleClickNetwork

    network = SimpleClickNetwork(architecture).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("bias"):
            tensor.zero_()
        elif tensor.ndim > 1:
            tensor.normal_(generator=generator).div_(tensor[0].numel() ** 0.5)
    # Logits of a few units on both sides of 0, moved well by clicks.
    network.backbone.pos_embed.mul_(architecture.width**0.5 * architecture.grid_side)
    network.patch_embed_coords.proj.weight.mul_(4)
    last = network.head.conv_seg.weight
    last.sub_(last.mean()).mul_(20)
    return network


def config_of(architecture: Architecture = SMALL, **changes: Any) -> dict[str, Any]:
    """Return a checkpoint's config; `changes` replace settings, dotted names with two underscores.

    >>> config_of(backbone_params__depth=8)["params"]["backbone_params"]["value"]["depth"]
    8
    """
    widths = list(architecture.neck_widths)
    values: dict[str, Any] = {
        "use_disks": True,
        "norm_radius": 5,
        "with_prev_mask": True,
        "backbone_params": {
            "img_size": (448, 448),
            "patch_size": (architecture.patch_side,) * 2,
            "in_chans": 3,
            "embed_dim": architecture.width,
            "depth": architecture.depth,
            "num_heads": architecture.heads,
            "mlp_ratio": 4,
            "qkv_bias": True,
        },
        "neck_params": {"in_dim": architecture.width, "out_dims": widths},
        "head_params": {
            "in_channels": widths,
            "in_index": [0, 1, 2, 3],
            "dropout_ratio": 0.1,
            "num_classes": 1,
            "loss_decode": None,
            "align_corners": False,
            "upsample": "x1",
            "channels": architecture.head_width,
        },
        "random_split": False,
    }
    for name, value in changes.items():
        section, _, key = name.rpartition("__")
        (values[section] if section else values)[key] = value
    return {
        "class": "isegm.model.is_plainvit_model.PlainVitModel",
        "params": {
            name: {"type": "builtin", "value": value, "specified": True}
            for name, value in values.items()
        },
    }


def entry_of(network: Any, **changes: Any) -> dict[str, Any]:
    """Return a checkpoint's content for one network."""
    return {
        "state_dict": OrderedDict(network.state_dict()),
        "config": config_of(network.architecture, **changes),
    }


def saved(content: Any) -> bytes:
    """Return what `torch.save` writes."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
