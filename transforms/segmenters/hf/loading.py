"""Load a SAM model of transformers and its image processor, completely or not at all, offline.

transformers only warns when it replaces mismatched weights with random ones; here that is an error.
torch and transformers are imported when first needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.safetensors_file import announced_size
from hlmat.transforms.segmenters.hf.families import FAMILIES, Family, PromptedModel
from hlmat.transforms.segmenters.hf.files import CONFIG, CheckpointFolder
from hlmat.transforms.segmenters.hf.timm_backbone import backbone_problems, with_timm_backbone
from hlmat.transforms.torch_support.device import resolve_device
from hlmat.transforms.torch_support.transformers import first_line, misfits, quiet_transformers

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model.

    Attributes:
        model: in float32, on `device`, without gradients.
        network: the same, as transformers' own class.
        processor: image processor of transformers, on the CPU.
        device: of the model.
        side: of the model's square input, in pixels.
        mask_side: of the logits that it accepts as a previous mask.
        keeps_aspect: whether images are scaled by their longer side and padded, not stretched.
    """

    model: PromptedModel
    network: Any
    processor: Any
    device: torch.device
    side: int
    mask_side: int
    keeps_aspect: bool


def load_model(folder: CheckpointFolder, *, device: str) -> LoadedModel:
    """Load a checkpoint onto a device.

    Args:
        folder: the result of `read_checkpoint_folder`.
        device: a torch device, or "auto" for CUDA if available.

    Raises:
        ConfigError: packages missing, no such device, a model type without click prompts, or a
            configuration, weights and processor that do not match.
    """
    family = _find_family(folder)
    _import_packages(family)
    torch_device = resolve_device(device)
    with quiet_transformers():
        model = load_network(folder, family=family)
        side = _side(model, folder=folder)
        processor = _load_processor(folder, family=family, side=side)
    model = model.to(torch_device).eval().requires_grad_(False)
    return LoadedModel(
        model=family.wrap(model),
        network=model,
        processor=processor,
        device=torch_device,
        side=side,
        mask_side=4 * side // model.config.prompt_encoder_config.patch_size,
        keeps_aspect=family.keeps_aspect,
    )


def preprocess(processor: Any, image: np.ndarray) -> Any:
    """Return `pixel_values` (1, 3, S, S) and, for some families, `reshaped_input_sizes`.

    Args:
        processor: image processor of transformers.
        image: uint8 RGB. Shape: (H, W, 3).
    """
    # State the layout: transformers would take an image with one or three rows as channels-first.
    # The copy is writable, as torch requires.
    return processor(
        images=np.array(image, order="C"), input_data_format="channels_last", return_tensors="pt"
    )


def _find_family(folder: CheckpointFolder) -> Family:
    family = FAMILIES.get(folder.model_type)
    if family is None:
        raise ConfigError(
            [
                f"{folder.path} is of model_type {folder.model_type!r}; the segmenter 'hf' takes "
                f"{', '.join(FAMILIES)}"
            ]
        )
    check_parts(folder, family=family)
    return family


def check_parts(folder: CheckpointFolder, *, family: Family) -> None:
    """Check that the encoders that a configuration names are those of its family.

    Raises:
        ConfigError: another encoder, or a timm encoder that is not allowed.
    """
    problems = []
    settings = _settings(folder, family=family)
    for name, expected in family.parts.items():
        part: Any = settings
        for key in name.split("."):
            part = part.get(key) if isinstance(part, Mapping) else None
        seen = part.get("model_type") if isinstance(part, Mapping) else None
        # Without a name, transformers uses the expected one.
        if seen not in (None, expected):
            problems.append(
                f"{name} in the config.json of {folder.path} is of model_type {seen!r}, expected "
                f"{expected!r}; other encoders are not supported"
            )
    if family.has_timm_backbone and not problems:
        problems = backbone_problems(settings, where=str(folder.path / CONFIG))
    if problems:
        raise ConfigError(problems)


def _settings(folder: CheckpointFolder, *, family: Family) -> dict[str, Any]:
    """Return the model's part of the configuration."""
    section = folder.config if family.section is None else folder.config.get(family.section)
    settings = section if isinstance(section, Mapping) else {}
    return {key: value for key, value in settings.items() if key != "model_type"}


def _import_packages(family: Family) -> None:
    try:
        import torch  # noqa: F401

        from hlmat.transforms.torch_support.torchvision import ensure_importable

        ensure_importable()
        import transformers  # noqa: F401

        if family.has_timm_backbone:
            import_module("timm")
    except ImportError as error:
        raise ConfigError(
            [
                f"the segmenter 'hf' needs the package {error.name!r}, which is not installed; "
                "pip install 'hlmat[hf]'"
            ]
        ) from error


def _check_size(weights: Path) -> None:
    size, announced = weights.stat().st_size, announced_size(weights)
    if size != announced:
        raise ValueError(f"{weights.name} has {size} bytes, expected {announced} by its header")


def load_network(folder: CheckpointFolder, *, family: Family) -> Any:
    """Return transformers' model of a family with the folder's weights, on the CPU.

    Raises:
        ConfigError: configuration or weights that cannot be read or do not match.
    """
    import torch
    import transformers

    settings = _settings(folder, family=family)
    if family.has_timm_backbone:
        settings = with_timm_backbone(settings)
    try:
        for name in folder.weights:
            _check_size(folder.path / name)
        config = getattr(transformers, family.config_class).from_dict(settings)
        loaded: Any = getattr(transformers, family.model_class).from_pretrained(
            folder.path,
            config=config,
            dtype=torch.float32,
            # A timm encoder has no choice; the rest of its model takes SDPA by itself.
            attn_implementation=None if family.has_timm_backbone else "sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # the library can raise anything on a malformed file
        raise ConfigError(
            [
                f"the model in {folder.path} cannot be loaded: {first_line(error)}; fetch the "
                "folder again"
            ]
        ) from error
    model, report = loaded
    if problems := misfits(report):
        raise ConfigError(
            [
                f"the weights in {folder.path} do not fit {family.model_class}: "
                f"{'; '.join(problems)}; they belong to another config.json or model"
            ]
        )
    return model


def _side(model: Any, *, folder: CheckpointFolder) -> int:
    """Return the side of the model's square input, in pixels."""
    sides = {
        side
        for part in (model.config.prompt_encoder_config, model.config.vision_config)
        if isinstance(side := getattr(part, "image_size", None), int)
    }
    if len(sides) != 1:
        raise ConfigError(
            [
                f"the config.json of {folder.path} names different image sizes: {sorted(sides)}; "
                "encoder and prompts must have one"
            ]
        )
    return sides.pop()


def _load_processor(folder: CheckpointFolder, *, family: Family, side: int) -> Any:
    """Return the image processor with the folder's settings or defaults for the model's side."""
    import transformers

    settings = folder.processor_config
    if settings is None:
        square = {"height": side, "width": side}
        settings = (
            {"size": {"longest_edge": side}, "pad_size": square}
            if family.keeps_aspect
            else {"size": square}
        )
    try:
        processor = getattr(transformers, family.processor_class).from_dict(dict(settings))
        seen = tuple(preprocess(processor, np.zeros((2, 4, 3), np.uint8))["pixel_values"].shape)
    except Exception as error:  # the library can raise anything on malformed settings
        raise ConfigError(
            [
                f"the image processor of {folder.path} does not work: {first_line(error)}; its "
                f"settings are those of another model than {folder.model_type}"
            ]
        ) from error
    if seen != (1, 3, side, side):
        raise ConfigError(
            [
                f"the image processor of {folder.path} makes images of shape {seen}, the model "
                f"takes {(1, 3, side, side)}; its settings are those of another model"
            ]
        )
    return processor
