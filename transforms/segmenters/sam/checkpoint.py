"""Checkpoints of the official Segment Anything layout, read without running anything in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import Storage

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

OFFICIAL_CHECKPOINTS = {
    "vit_b": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
    "vit_l": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
    "vit_h": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
}
_MODEL_TYPE_OF_WIDTH = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_PATCH_EMBEDDING = "image_encoder.patch_embed.proj.weight"

Identity = dict[str, str | int | float | bool | None]
"""What identifies a model: its type and the sha256 of its weights."""


def load_sam(checkpoint: str | None, *, storage: Storage) -> tuple[Sam, Identity]:
    """Load SAM from an official `.pth` file; its size is inferred from the weights.

    Raises:
        ConfigError: no such file, not a SAM checkpoint, or packages missing.
    """
    if not checkpoint or not storage.is_file(checkpoint):
        raise ConfigError([_missing_checkpoint(checkpoint)])
    data = storage.read_bytes(checkpoint)
    model, model_type = _load_model(data, name=checkpoint)
    return model, {"model_type": model_type, "weights_sha256": hashlib.sha256(data).hexdigest()}


def model_identity(model: Sam) -> Identity:
    """Identify a model that was not loaded from a file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {"model_type": "custom", "weights_sha256": digest.hexdigest()}


def _load_model(data: bytes, *, name: str) -> tuple[Sam, str]:
    try:
        from hlmat.transforms.torch_support.checkpoint_file import load_checkpoint, refusal
        from hlmat.transforms.torch_support.torchvision import ensure_importable

        ensure_importable()
        from segment_anything import sam_model_registry
    except ImportError as error:
        raise ConfigError(
            [
                f"the segmenter 'sam' needs the package {error.name!r}, which is not installed; "
                "run `make install-sam`, or pip install 'hlmat[sam]'"
            ]
        ) from error
    try:
        state = load_checkpoint(data)
    # A broken or hostile file can make the unpickler raise anything; none of its code has run.
    except Exception as error:
        problem = refusal(error) if data else "it is empty"
        raise ConfigError(
            [
                f"{name} cannot be read as a checkpoint of plain tensors: {problem}; expected an "
                f"official SAM file, for instance {OFFICIAL_CHECKPOINTS['vit_b']}"
            ]
        ) from error
    width = _patch_embedding_width(state)
    model_type = _MODEL_TYPE_OF_WIDTH.get(width or 0)
    if model_type is None:
        raise ConfigError(
            [
                f"{name} is not a SAM checkpoint: expected {_PATCH_EMBEDDING!r} of width "
                f"{sorted(_MODEL_TYPE_OF_WIDTH)}, got {width or 'no such tensor'}"
            ]
        )
    model = sam_model_registry[model_type](checkpoint=None)
    try:
        model.load_state_dict(state, strict=True)
    # Keys that are not strings, or values that are not tensors, raise errors of many types.
    except Exception as error:
        raise ConfigError(
            [f"{name} does not fit SAM {model_type}: {' '.join(str(error).split())[:300]}"]
        ) from error
    return model, model_type


def _patch_embedding_width(state: Any) -> int | None:
    weight = state.get(_PATCH_EMBEDDING) if isinstance(state, Mapping) else None
    shape = getattr(weight, "shape", None)
    return int(shape[0]) if shape else None


def _missing_checkpoint(checkpoint: str | None) -> str:
    where = "\n".join(f"  {name}: {url}" for name, url in OFFICIAL_CHECKPOINTS.items())
    what = f"there is no checkpoint at {checkpoint!r}" if checkpoint else "no checkpoint was given"
    return (
        f"segmenter 'sam': {what}; download one of the official files and pass its path with "
        f"--checkpoint:\n{where}"
    )
