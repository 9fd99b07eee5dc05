"""Load a checkpoint with transformers and peft: complete or not at all, offline and silent.

Both libraries only warn when they replace missing weights with random ones; here that is an error.
torch, transformers and peft are imported on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles
from hlmat.transforms.policies.backends.checkpoint.processor import (
    find_chat_template,
    load_processor,
)
from hlmat.transforms.torch_support.device import resolve_device
from hlmat.transforms.torch_support.transformers import (
    first_line,
    list_keys,
    misfits,
    quiet_transformers,
)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A model that is ready to answer.

    Attributes:
        model: the transformers model on its device, including the adapter's layers.
        processor: its transformers processor; pads on the left.
        chat_template: Jinja template for `processor`.
        stop_ids: tokens that end an answer.
        pad_id: the token that pads shorter rows.
    """

    model: Any
    processor: Any
    chat_template: str
    stop_ids: tuple[int, ...]
    pad_id: int


def load_checkpoint(files: CheckpointFiles, *, device: str, dtype: str) -> LoadedCheckpoint:
    """Load a checkpoint onto a device.

    Args:
        files: the result of `find_checkpoint`.
        device: a torch device, or "auto" for CUDA if available.
        dtype: "auto" for the checkpoint's dtype, or the name of a torch dtype.

    Raises:
        ConfigError: packages missing, no such device, not an image-text-to-text model, no chat
            template, or weights or an adapter that do not fit the model.
    """
    _import_packages()
    torch_device = resolve_device(device)
    with quiet_transformers():
        _check_architecture(files)
        processor = load_processor(files.processor)
        chat_template = find_chat_template(processor, folder=files.processor)
        model = _load_model(files, dtype=dtype)
        stop_ids = _stop_ids(model, processor, files=files)
        if files.adapter is not None:
            model = _add_adapter(model, files.adapter, base=files.model)
        _check_vocabulary(model, processor, files=files)
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = stop_ids[0]
    return LoadedCheckpoint(
        model=model.to(torch_device).eval().requires_grad_(False),
        processor=processor,
        chat_template=chat_template,
        stop_ids=stop_ids,
        pad_id=tokenizer.pad_token_id,
    )


def _import_packages() -> None:
    try:
        import torch  # noqa: F401

        from hlmat.transforms.torch_support.torchvision import ensure_importable

        ensure_importable()
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            [
                f"a model in this process needs the package {error.name!r}, which is not "
                "installed; pip install 'hlmat[train]'"
            ]
        ) from error


def _check_architecture(files: CheckpointFiles) -> None:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    if files.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return
    if files.model_type in CONFIG_MAPPING_NAMES:
        problem = "which is not an image-text-to-text model"
    else:
        problem = f"which transformers {transformers.__version__} does not know"
    raise ConfigError(
        [
            f"{files.model} is of model_type {files.model_type!r}, {problem}; expected an "
            "image-text-to-text model such as qwen2_vl, qwen2_5_vl, qwen3_vl or llava"
        ]
    )


def _load_model(files: CheckpointFiles, *, dtype: str) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            files.model,
            dtype=dtype,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # a malformed file can make the library raise anything
        raise ConfigError(
            [f"the model {files.model} cannot be loaded: {first_line(error)}"]
        ) from error
    model, report = loaded
    if problems := misfits(report):
        raise ConfigError(
            [
                f"the weights in {files.model} do not fit {type(model).__name__}: "
                f"{'; '.join(problems)}; they may belong to another config.json or another version "
                "of transformers"
            ]
        )
    return model


def _add_adapter(model: Any, folder: Path, *, base: Path) -> Any:
    """Add a LoRA adapter's layers to a model; return the model."""
    from peft import LoraConfig, PeftModel

    mapping = getattr(model, "_checkpoint_conversion_mapping", {})
    try:
        adapted = PeftModel(model, LoraConfig.from_pretrained(str(folder)))
        # PeftModel.from_pretrained does not report which keys did not fit.
        report: Any = adapted.load_adapter(
            str(folder), "default", torch_device="cpu", key_mapping=mapping
        )
    except Exception as error:  # a malformed file can make the library raise anything
        problems = [first_line(error)]
    else:
        problems = [
            *list_keys(report.missing_keys, what="missing"),
            *list_keys(report.unexpected_keys, what="not part of the model"),
        ]
        if not problems:
            return adapted.get_base_model()
    raise ConfigError(
        [
            f"the adapter {folder} does not fit the model {base}: {'; '.join(problems)}; give the "
            "model that it was trained on"
        ]
    )


def _stop_ids(model: Any, processor: Any, *, files: CheckpointFiles) -> tuple[int, ...]:
    """Return the tokens that end an answer: the model's and the tokenizer's."""
    ids = model.generation_config.eos_token_id
    found = {*(ids if isinstance(ids, list) else [ids]), processor.tokenizer.eos_token_id}
    stop_ids = tuple(sorted(found - {None}))
    if not stop_ids:
        raise ConfigError(
            [
                f"{files.name} defines no end-of-text token; copy the model's "
                "generation_config.json into the folder"
            ]
        )
    return stop_ids


def _check_vocabulary(model: Any, processor: Any, *, files: CheckpointFiles) -> None:
    tokens = len(processor.tokenizer)
    rows = model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise ConfigError(
            [
                f"the tokenizer in {files.processor} has {tokens} tokens, but {files.name} only "
                f"{rows}; use tokenizer and weights of the same model"
            ]
        )
