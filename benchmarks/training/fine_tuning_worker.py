"""One training by LLaMA-Factory with a clock: `... CONFIG` prints what it measured as JSON."""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from hlmat.pipelines.training.llamafactory_main import choose_arithmetic, make_importable

_UNCOUNTED = 3
_ROWS = 256


def main(config: str) -> None:
    """Train, then take the data path apart; print a line of JSON."""
    make_importable()
    import torch

    settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    choose_arithmetic(settings)
    made = _trained(dict(settings))
    weights = (Path(settings["output_dir"]) / "model.safetensors").read_bytes()
    torch.set_num_threads(1)
    row_s = _data_path(settings)
    record = {**made, "row_s": row_s, "weights": hashlib.sha256(weights).hexdigest()}
    sys.stdout.write("\n" + json.dumps(record) + "\n")


def _trained(settings: dict[str, Any]) -> dict[str, Any]:
    from llamafactory.train.tuner import run_exp
    from transformers import TrainerCallback

    from benchmarks.training.arithmetic import CountedProducts, Operators

    counted, operators = CountedProducts(), Operators()

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.begun: list[float] = []
            self.ended: list[float] = []

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.begun.append(time.process_time())
            if state.global_step == state.max_steps - 2:
                operators.__enter__()
            if state.global_step == state.max_steps - 1:
                counted.__enter__()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == state.max_steps - 1:
                operators.__exit__(None, None, None)
            if state.global_step == state.max_steps:
                counted.__exit__(None, None, None)
            self.ended.append(time.process_time())

    clock = Clock()
    run_exp(settings, callbacks=[clock])
    # The last two steps were profiled and counted, not timed.
    ends, begins = clock.ended[_UNCOUNTED - 1 : -2], clock.begun[_UNCOUNTED:-2]
    return {
        "step_s": statistics.median(b - a for a, b in pairwise(ends)),
        "data_s": statistics.median(b - a for a, b in zip(ends, begins, strict=False)),
        "flops": {str(dtype).removeprefix("torch."): n for dtype, n in counted.flops.items()},
        "operators": operators.shares(),
    }


def _data_path(settings: dict[str, Any]) -> dict[str, float]:
    """Return seconds of processor time for a row, by part."""
    from llamafactory.data import (
        SFTDataCollatorWith4DAttentionMask,
        get_dataset,
        get_template_and_fix_tokenizer,
    )
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_model, load_tokenizer
    from PIL import Image
    from torch import float32

    settings = {**settings, "preprocessing_num_workers": None, "overwrite_output_dir": True}
    settings = {key: value for key, value in settings.items() if value is not None}
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(settings)
    loaded: dict[str, Any] = dict(load_tokenizer(model_args))
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
    parts: dict[str, float] = {}

    def timed(part: str, function: Callable[[], Any], count: int) -> Any:
        started = time.process_time()
        made = function()
        parts[part] = (time.process_time() - started) / count
        return made

    def load() -> Any:
        return get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)[
            "train_dataset"
        ]

    rows = timed("before training, once: image processor, template, tokens", load, 1)
    parts[next(iter(parts))] /= len(rows)
    rows = [rows[i] for i in range(min(_ROWS, len(rows)))]
    collate = SFTDataCollatorWith4DAttentionMask(
        template=template,
        model=load_model(loaded["tokenizer"], model_args, finetuning_args, True),
        pad_to_multiple_of=8,
        label_pad_token_id=-100,
        block_diag_attn=model_args.block_diag_attn,
        compute_dtype=model_args.compute_dtype or float32,
        **loaded,
    )
    size = training_args.per_device_train_batch_size
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    collate([dict(row) for row in batches[0]])
    whole = "each step: the batch as a whole"
    timed(whole, lambda: [collate([dict(r) for r in b]) for b in batches], len(rows))
    paths = [path for row in rows for path in row["images"]]
    images = timed(
        "of which: open and decode PNG",
        lambda: [Image.open(path).convert("RGB") for path in paths],
        len(rows),
    )
    processor = loaded["processor"].image_processor
    timed(
        "of which: image processor",
        lambda: [
            processor(images[i : i + size], return_tensors="pt")
            for i in range(0, len(images), size)
        ],
        len(rows),
    )
    return parts


if __name__ == "__main__":
    main(sys.argv[1])
