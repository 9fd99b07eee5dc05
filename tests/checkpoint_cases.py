"""Small checkpoints and the questions that they are asked, for tests of a model in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.questions import Question
from hlmat.transforms.policies.backends.checkpoint.generate import (
    CheckpointOptions,
    load_checkpoint_answerer,
)
from tiny_models import Family

FAMILIES: tuple[Family, ...] = get_args(Family)


def make_adapter(base: Path, folder: Path, *, modules: tuple[str, ...] = ("q_proj",)) -> Path:
    """Make a LoRA adapter with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=list(modules), init_lora_weights=False)
    model: Any = AutoModelForImageTextToText.from_pretrained(base)
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def questions(count: int = 5) -> list[Question]:
    rng = np.random.default_rng(0)
    return [
        Question(
            target_id=f"t{i}",
            turn=i % 2,
            image=rng.integers(0, 256, (40 + 13 * i, 90 - 11 * i, 3), dtype=np.uint8),
            text=f"<image>Segment this object: {'red ' * i}car.",
        )
        for i in range(count)
    ]


def cpu_options(model: Path | str, **settings: Any) -> CheckpointOptions:
    defaults = {"device": "cpu", "dtype": "float32", "max_new_tokens": 12}
    return CheckpointOptions(str(model), **{**defaults, **settings})


def answers(model: Path | str, asked: list[Question] | None = None, **settings: Any) -> list[str]:
    answerer = load_checkpoint_answerer(cpu_options(model, **settings))
    return answerer.answer(questions() if asked is None else asked)


def problems_of(model: Path | str, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_checkpoint_answerer(cpu_options(model, **settings))
    return str(caught.value)


def edit_json(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


def decoded(model: Path, tokens: Any) -> str:
    from transformers import AutoTokenizer

    return cast("Any", AutoTokenizer.from_pretrained(model)).decode(tokens)


def cut_off_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def rewrite_tensors(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
