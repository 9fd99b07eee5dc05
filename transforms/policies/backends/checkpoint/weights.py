"""List the weight files of a checkpoint; check that they are complete safetensors files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlmat.transforms.core.safetensors_file import announced_size

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_WEIGHTS = "model.safetensors"
_WEIGHTS_INDEX = "model.safetensors.index.json"


def check_model_weights(folder: Path, *, problems: list[str]) -> tuple[str, ...]:
    """Check the weight files of a full model; return their names."""
    if (folder / _WEIGHTS).is_file():
        names = [_WEIGHTS]
    elif (folder / _WEIGHTS_INDEX).is_file():
        index = read_json(folder / _WEIGHTS_INDEX, problems=problems)
        if index is None:
            return ()
        weight_map = index.get("weight_map")
        shards = list(weight_map.values()) if isinstance(weight_map, dict) else []
        if not shards or any(not isinstance(s, str) or os.path.basename(s) != s for s in shards):
            problems.append(
                f"{folder / _WEIGHTS_INDEX} does not name weight files next to it; fetch the "
                "checkpoint again"
            )
            return ()
        names = sorted(set(shards))
    else:
        problems.append(_missing_weights(folder, expected=_WEIGHTS))
        return ()
    for name in names:
        _check_safetensors(folder / name, problems=problems)
    return tuple(names)


def check_adapter_weights(folder: Path, *, problems: list[str]) -> None:
    """Check the weight file of an adapter."""
    if (folder / ADAPTER_WEIGHTS).is_file():
        _check_safetensors(folder / ADAPTER_WEIGHTS, problems=problems)
    else:
        problems.append(_missing_weights(folder, expected=ADAPTER_WEIGHTS))


def read_json(path: Path, *, problems: list[str]) -> Mapping[str, Any] | None:
    """Return a JSON object; None, and a problem, if the file is not one."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        problems.append(f"{path} cannot be read: {error}")
        return None
    except (ValueError, RecursionError) as error:
        problems.append(f"{path} is not JSON: {error}; fetch or save the checkpoint again")
        return None
    if not isinstance(content, dict):
        problems.append(f"{path} is not a JSON object; fetch or save the checkpoint again")
        return None
    return content


def _missing_weights(folder: Path, *, expected: str) -> str:
    pickles = sorted(p.name for p in folder.glob("*.bin"))
    if not pickles:
        return f"{folder} has no weights: {expected} is missing; fetch or save the checkpoint again"
    return (
        f"{folder} has its weights as pickles ({pickles[0]}), which can run code when loaded, "
        f"and no {expected}; convert a checkpoint that you trust: load it with "
        "from_pretrained(..., use_safetensors=False) and write it with save_pretrained(...), "
        "which writes safetensors"
    )


def _check_safetensors(path: Path, *, problems: list[str]) -> None:
    """Check that a file is complete: its header is readable and matches its length."""
    if not path.is_file():
        problems.append(f"the weights {path} are missing; fetch or save the checkpoint again")
        return
    try:
        expected = announced_size(path)
    except OSError as error:
        problems.append(f"the weights {path} cannot be read: {error}")
        return
    except ValueError as error:
        problems.append(
            f"the weights {path} are not a safetensors file ({error}); a file of some hundred "
            "bytes may be a Git LFS pointer; fetch or save the checkpoint again"
        )
        return
    size = path.stat().st_size
    if size != expected:
        problems.append(
            f"the weights {path} have {size} bytes, expected {expected} by their header: the file "
            "is truncated or damaged; fetch or save the checkpoint again"
        )
