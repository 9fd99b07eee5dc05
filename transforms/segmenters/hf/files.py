"""The folder of a checkpoint as `save_pretrained` writes it: found, checked and hashed.

Nothing is downloaded and no code in the folder is run: only safetensors are read, and configuration
keys about code, kernels, adapters or quantisation are dropped or refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlmat.transforms.core.errors import ConfigError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
_PROCESSOR = "processor_config.json"
_IMAGE_PROCESSOR = "preprocessor_config.json"
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
# Configuration keys that make transformers fetch or run something.
_ACTIVE_KEYS = frozenset(
    {
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "quantization_config",
        "use_kernels",
    }
)


@dataclass(frozen=True)
class CheckpointFolder:
    """A checkpoint whose files exist. Built by `read_checkpoint_folder`.

    Attributes:
        path: the folder.
        model_type: as in `config.json`.
        config: `config.json` without the keys that would fetch or run something.
        processor_config: settings of the image processor, filtered in the same way; None without a
            file.
        weights: names of the safetensors files.
    """

    path: Path
    model_type: str
    config: Mapping[str, Any]
    processor_config: Mapping[str, Any] | None
    weights: tuple[str, ...]

    def weights_sha256(self) -> str:
        """Return the sha256 of the weight file; for several files, of their names and sha256s."""
        hashes = {name: _file_sha256(self.path / name) for name in self.weights}
        if len(hashes) == 1:
            return next(iter(hashes.values()))
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def settings_sha256(self) -> str:
        """Return the sha256 of the configurations' content, independent of JSON formatting."""
        settings = json.dumps([self.config, self.processor_config], sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()


def read_checkpoint_folder(checkpoint: str | None) -> CheckpointFolder:
    """Find a checkpoint and check its files.

    Args:
        checkpoint: path of the folder.

    Raises:
        ConfigError: no such folder, no usable `config.json`, no safetensors, or an adapter.
    """
    if not checkpoint:
        raise ConfigError(
            [
                "segmenter 'hf': no checkpoint was given; pass the folder of a SAM, SAM-HQ or "
                "SAM 2 model of transformers with --checkpoint"
            ]
        )
    path = Path(os.path.expanduser(checkpoint))
    if not path.is_dir():
        raise ConfigError([_missing_folder(checkpoint, path=path)])
    if (path / _ADAPTER).is_file():
        raise ConfigError(
            [
                f"{path} holds an adapter ({_ADAPTER} is there); merge it into its model and give "
                "the folder of the full model"
            ]
        )
    config = _read_config(path)
    return CheckpointFolder(
        path=path,
        model_type=config["model_type"],
        config=config,
        processor_config=_read_processor_config(path),
        weights=_find_weights(path),
    )


def _missing_folder(checkpoint: str, *, path: Path) -> str:
    if path.is_file():
        return (
            f"segmenter 'hf': {checkpoint!r} is a file; give the folder that save_pretrained "
            "writes. An official .pth file of SAM goes with --segmenter sam"
        )
    looked = f"segmenter 'hf': there is no folder {checkpoint!r}"
    if _HUB_ID.fullmatch(checkpoint):
        return (
            f"{looked}; nothing is downloaded here. If it is a name on the Hugging Face hub, get "
            f"it with `hf download {checkpoint} --local-dir DIR` and give DIR"
        )
    return f"{looked}; give the folder, on this machine's disk, that save_pretrained writes"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(
            [
                f"{path} is missing, so {folder} is not a checkpoint of transformers; "
                "download it again"
            ]
        )
    config = _without_active_keys(_read_json(path))
    if not isinstance(config.get("model_type"), str):
        raise ConfigError(
            [
                f"{path}: model_type is {config.get('model_type')!r}, expected a name; give the "
                "folder of a model of transformers"
            ]
        )
    return config


def _read_processor_config(folder: Path) -> dict[str, Any] | None:
    """Return the image processor's settings, nested in the newer layout."""
    if (folder / _PROCESSOR).is_file():
        part = _read_json(folder / _PROCESSOR).get("image_processor")
        if isinstance(part, dict):
            return _without_active_keys(part)
    if (folder / _IMAGE_PROCESSOR).is_file():
        return _without_active_keys(_read_json(folder / _IMAGE_PROCESSOR))
    return None


def _find_weights(folder: Path) -> tuple[str, ...]:
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / WEIGHTS_INDEX).is_file():
        raise ConfigError([_missing_weights(folder)])
    weight_map = _read_json(folder / WEIGHTS_INDEX).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or any(
        not isinstance(name, str) or os.path.basename(name) != name for name in names
    ):
        raise ConfigError(
            [f"{folder / WEIGHTS_INDEX} names no weight files next to it; fetch the folder again"]
        )
    missing = sorted(name for name in set(names) if not (folder / name).is_file())
    if missing:
        raise ConfigError([f"{folder} misses {', '.join(missing[:3])}; fetch the folder again"])
    return tuple(sorted(set(names)))


def _missing_weights(folder: Path) -> str:
    pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
    if not pickles:
        return f"{folder} has no weights: {WEIGHTS} is missing; fetch the folder again"
    return (
        f"{folder} holds its weights as a pickle ({pickles[0]}), which can run code when it is "
        f"read, and no {WEIGHTS}; take a version of the checkpoint with safetensors"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            [f"{path} cannot be read as JSON: {error}; fetch the folder again"]
        ) from error
    if not isinstance(content, dict):
        raise ConfigError([f"{path} is not a JSON object; fetch the folder again"])
    return content


def _without_active_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_active_keys(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _ACTIVE_KEYS and not key.startswith("_")
    }


def _file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
