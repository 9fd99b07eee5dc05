"""Find, check and hash the files of a model checkpoint before anything is loaded.

A checkpoint is a folder in the layout of Hugging Face: a full model, or a LoRA adapter and its base
model. Nothing is downloaded and no code in a folder is run.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.checkpoint.weights import (
    ADAPTER_WEIGHTS,
    check_adapter_weights,
    check_model_weights,
    read_json,
)

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
_PROCESSOR_CONFIGS = ("processor_config.json", "preprocessor_config.json")
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_HASHED = frozenset(
    {
        CONFIG,
        ADAPTER_CONFIG,
        *_PROCESSOR_CONFIGS,
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "generation_config.json",
        "merges.txt",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
        "vocab.json",
        "vocab.txt",
    }
)


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint; built by `find_checkpoint`.

    Attributes:
        model: the folder of the full model.
        model_type: the type in its configuration, such as "qwen2_vl".
        weights: names of its weight files.
        adapter: the folder of the LoRA adapter, or None.
    """

    model: Path
    model_type: str
    weights: tuple[str, ...]
    adapter: Path | None = None

    @property
    def processor(self) -> Path:
        """The folder of the processor: the adapter's if it has one, else the model's."""
        if self.adapter is not None and _has_processor(self.adapter):
            return self.adapter
        return self.model

    @property
    def name(self) -> str:
        """The checkpoint's name in messages."""
        return str(self.model) if self.adapter is None else f"{self.adapter} on {self.model}"

    def sha256(self) -> str:
        """Hash everything that determines the answers, independent of the folders' paths."""
        parts = [("model", self.model, self.weights)]
        if self.adapter is not None:
            parts.append(("adapter", self.adapter, (ADAPTER_WEIGHTS,)))
        digest = hashlib.sha256()
        for part, folder, weights in parts:
            present = {p.name for p in folder.iterdir() if p.name in _HASHED}
            for name in sorted(present.union(weights)):
                with open(folder / name, "rb") as f:
                    content = hashlib.file_digest(f, "sha256").hexdigest()
                digest.update(f"{part}/{name} {content}\n".encode())
        return digest.hexdigest()


def find_checkpoint(model: str, *, adapter: str | None = None) -> CheckpointFiles:
    """Find a checkpoint on this machine and check its files.

    Args:
        model: a folder, or an id `org/name` in the Hugging Face cache. The folder of an adapter
            means the adapter on its base model; a relative base is resolved from the working
            folder, then from the adapter's folder.
        adapter: the folder or id of a LoRA adapter for `model`, or None.

    Raises:
        ConfigError: something is missing, unreadable, unsupported or unsafe; lists every problem.
    """
    problems: list[str] = []
    named = _find_folder(model, what="the model", marker=CONFIG, problems=problems)
    adapter_folder = None
    if adapter is not None:
        adapter_folder = _find_folder(
            adapter, what="the adapter", marker=ADAPTER_CONFIG, problems=problems
        )
    elif named is not None and (named / ADAPTER_CONFIG).is_file():
        adapter_folder, named = named, _find_base(named, problems=problems)
    if named is not None and (named / ADAPTER_CONFIG).is_file():
        problems.append(
            f"the model {named} is itself an adapter (it has {ADAPTER_CONFIG}), and only one "
            "adapter is supported; merge it into its base and give the full model"
        )
        named = None
    if adapter_folder is not None:
        _check_adapter(adapter_folder, problems=problems)
    model_type, weights = "", ()
    if named is not None:
        model_type = _check_model(named, problems=problems)
        weights = check_model_weights(named, problems=problems)
    if named is None or problems:
        # Every check that reads an unreadable file reports it.
        raise ConfigError(list(dict.fromkeys(problems)))
    return CheckpointFiles(named, model_type, weights, adapter_folder)


def _find_folder(
    name: str, *, what: str, marker: str, problems: list[str], beside: Path | None = None
) -> Path | None:
    """Return the folder of a path or hub id; None and a problem if there is none.

    Args:
        name: a path, or an id `org/name`.
        what: its name in messages.
        marker: a file that the folder must contain.
        problems: a problem is appended here.
        beside: another folder from which a relative path is resolved.
    """
    path = Path(os.path.expanduser(name))
    places = [path] if beside is None else [path, beside / path]
    for place in places:
        if place.is_dir():
            return place.absolute()
        if place.is_file():
            problems.append(f"{what} {name!r} is a file; give its folder")
            return None
    looked = " and ".join(str(p.absolute()) for p in dict.fromkeys(places))
    if not _HUB_ID.fullmatch(name):
        problems.append(
            f"{what} {name!r} does not exist: looked for the folder {looked}; give the folder of a "
            "checkpoint"
        )
        return None
    snapshot, cache = _find_in_cache(name, marker=marker)
    if snapshot is None:
        problems.append(
            f"{what} {name!r} does not exist: looked for the folder {looked} and for the id in the "
            f"Hugging Face cache {cache}; hlmat downloads nothing, so fetch it with "
            f"`hf download {name} --local-dir DIR` and give DIR"
        )
    return snapshot


def _find_in_cache(repo_id: str, *, marker: str) -> tuple[Path | None, str]:
    """Return the snapshot of a hub id or None, and the cache's folder."""
    try:
        from huggingface_hub import constants, try_to_load_from_cache
    except ImportError:
        return None, "(the package huggingface_hub is not installed)"
    cache = constants.HF_HUB_CACHE
    for file in (marker, CONFIG, ADAPTER_CONFIG):
        try:
            found = try_to_load_from_cache(repo_id, file, cache_dir=cache)
        except ValueError:  # not a valid hub id
            break
        if isinstance(found, str):
            return Path(found).parent, cache
    return None, cache


def _find_base(adapter: Path, *, problems: list[str]) -> Path | None:
    """Return the folder of the model that an adapter names as its base."""
    config = read_json(adapter / ADAPTER_CONFIG, problems=problems)
    if config is None:
        return None
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        problems.append(
            f"{adapter / ADAPTER_CONFIG} does not name its base model "
            f"(base_model_name_or_path is {base!r}); give that model and this folder as its adapter"
        )
        return None
    what = f"the base of the adapter {adapter},"
    return _find_folder(base, what=what, marker=CONFIG, problems=problems, beside=adapter)


def _check_model(folder: Path, *, problems: list[str]) -> str:
    """Check the configuration of a full model; return its model type."""
    _check_no_code(folder, problems=problems)
    if not (folder / CONFIG).is_file():
        problems.append(
            f"{folder / CONFIG} is missing, so {folder} is not a checkpoint; give the folder with "
            f"{CONFIG} and the weights"
        )
        return ""
    config = read_json(folder / CONFIG, problems=problems)
    if config is None:
        return ""
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        problems.append(f"{folder / CONFIG} has no model_type; is it a model's configuration?")
        return ""
    return model_type


def _check_adapter(folder: Path, *, problems: list[str]) -> None:
    _check_no_code(folder, problems=problems)
    if not (folder / ADAPTER_CONFIG).is_file():
        problems.append(
            f"{folder / ADAPTER_CONFIG} is missing, so {folder} is not a LoRA adapter; give the "
            "folder of one, or leave the adapter out"
        )
        return
    config = read_json(folder / ADAPTER_CONFIG, problems=problems)
    if config is None:
        return
    kind = config.get("peft_type")
    if kind != "LORA":
        problems.append(
            f"{folder / ADAPTER_CONFIG} is of peft_type {kind!r}, expected 'LORA'; merge the "
            "adapter into its base and give the full model"
        )
    if config.get("megatron_config") is not None:
        # It names a module that peft would import.
        problems.append(f"{folder / ADAPTER_CONFIG} has a megatron_config, which is not supported")
    check_adapter_weights(folder, problems=problems)


def _check_no_code(folder: Path, *, problems: list[str]) -> None:
    configs = sorted(p for p in folder.glob("*.json") if p.name in _HASHED)
    problems.extend(
        f"{path} has an auto_map: the checkpoint needs its own Python code, which hlmat never "
        "runs; use one whose architecture is part of transformers"
        for path in configs
        if _mentions_code(path)
    )


def _mentions_code(path: Path) -> bool:
    """Return whether a configuration names classes outside transformers; False for broken JSON."""
    config = read_json(path, problems=[])
    if config is None:
        return False
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    return any(part.get("auto_map") for part in parts)


def _has_processor(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _PROCESSOR_CONFIGS)
