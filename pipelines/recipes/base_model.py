"""The model that a training starts from: found on this machine, never downloaded."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlmat.transforms.core.errors import ConfigError, OutputError
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles, find_checkpoint

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
CHAT_TEMPLATE = "chat_template.jinja"
_TEMPLATES = (CHAT_TEMPLATE, "chat_template.json")
_NESTED, _PLAIN = "processor_config.json", "preprocessor_config.json"


def find_base_model(name: str, *, given: str | None) -> CheckpointFiles:
    """Find the base model of a training and check its files.

    Args:
        name: the recipe's model: a hub id `org/name`, or a folder.
        given: a folder or hub id chosen by the user, or None for the recipe's.

    Raises:
        ConfigError: it was not found (the message lists the places searched and how to get it), or
            it is damaged, unsafe to load, or a LoRA adapter.
    """
    wanted = given or name
    short = wanted.rstrip("/").rpartition("/")[2]
    is_id = _HUB_ID.fullmatch(wanted) is not None
    local = Path("models", short)
    if is_id and not os.path.isdir(wanted) and local.is_dir():
        wanted = str(local)
    try:
        files = find_checkpoint(wanted)
    except ConfigError as error:
        if os.path.isdir(wanted):
            raise
        how = (
            f"get it with `hf download {wanted} --local-dir models/{short}`, or name its folder "
            "with --model"
            if is_id
            else "name the folder of a checkpoint with --model"
        )
        looked = f"as a folder {Path(wanted).absolute()}"
        if is_id:
            looked += f", in {local.absolute()} and in the Hugging Face cache {_cache()}"
        said = "--model" if given else "the recipe"
        raise ConfigError(
            [
                f"the base model {wanted}, which {said} names, is not here: looked for it "
                f"{looked}; hlmat downloads nothing: {how}"
            ]
        ) from error
    if files.adapter is not None:
        raise ConfigError(
            [
                f"the base model {wanted} is a LoRA adapter; merge it into its model first, or "
                "name a full model with --model"
            ]
        )
    return files


def with_processor(
    model: Path, changes: Mapping[str, Any], *, folder: Path, chat_template: str | None = None
) -> Path:
    """Make a folder with the model's files and changed settings of its image processor.

    Files are linked, not copied.

    Args:
        model: the model's folder.
        changes: settings and their new values.
        folder: recreated.
        chat_template: replaces the model's; None keeps it.

    Raises:
        ConfigError: the model has no image processor settings.
        OutputError: the folder cannot be written.
    """
    name, content, section = _read_processor(model)
    section.update(changes)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in model.iterdir():
            if path.name != name and (chat_template is None or path.name not in _TEMPLATES):
                (folder / path.name).symlink_to(path.resolve())
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
        if chat_template is not None:
            (folder / CHAT_TEMPLATE).write_text(chat_template, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}: {error}; give an --out that can be written to"
        ) from error
    return folder


def _read_processor(model: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return the file with the image processor's settings, its content, and their key in it."""
    for name in (_NESTED, _PLAIN):
        try:
            content = json.loads((model / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ConfigError([f"{model / name} cannot be read: {error}"]) from error
        section = content.get("image_processor") if name == _NESTED else content
        if isinstance(section, dict):
            return name, content, section
    raise ConfigError(
        [f"{model} has no settings of an image processor ({_PLAIN}); is it a multimodal model?"]
    )


def _cache() -> str:
    try:
        from huggingface_hub import constants
    except ImportError:
        return "(huggingface_hub is not installed)"
    return constants.HF_HUB_CACHE
