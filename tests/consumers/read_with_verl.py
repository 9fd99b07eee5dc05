"""Reads Parquet files with verl's `RLHFDataset` and prints what its rollouts begin with, as JSON.

Arguments: the folder of a model, of which only the processor is used, and the files.
Runs in an environment with verl; nothing of this project is imported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from omegaconf import OmegaConf  # pyright: ignore[reportMissingImports]
from verl.utils import hf_processor, hf_tokenizer  # pyright: ignore[reportMissingImports]
from verl.utils.dataset.rl_dataset import (  # pyright: ignore[reportMissingImports]
    RLHFDataset,
    collate_fn,
)
from verl.utils.tokenizer import (  # pyright: ignore[reportMissingImports]
    build_multimodal_processor_inputs,
)

_REWARD_COLUMNS = ("data_source", "ability", "reward_model", "extra_info", "index")


def content(model: str, files: list[str]) -> list[dict[str, Any]]:
    """Return the prompt of each row as the model would see it, and what a reward is given."""
    processor = hf_processor(model)
    config = OmegaConf.create({"max_prompt_length": 512, "filter_overlong_prompts_workers": 1})
    data = RLHFDataset(files, hf_tokenizer(model), config, processor)
    found = []
    for row in data:
        images, videos = asyncio.run(
            RLHFDataset.process_vision_info(
                row["raw_prompt"], image_patch_size=data.image_patch_size, config=config
            )
        )
        text = processor.apply_chat_template(
            row["raw_prompt"], add_generation_prompt=True, tokenize=False
        )
        inputs = build_multimodal_processor_inputs(
            processor, text=[text], images=images, videos=videos, mm_processor_kwargs={}
        )
        patches = inputs["image_grid_thw"].prod().item() // processor.image_processor.merge_size**2
        image_tokens = (inputs["input_ids"] == processor.image_token_id).sum().item()
        found.append(
            {
                "text": text,
                "images": [image.size for image in images],
                "image_tokens": image_tokens,
                "patches": patches,
                **{name: row[name] for name in _REWARD_COLUMNS},
            }
        )
    batch = collate_fn([data[k] for k in range(len(data))])
    assert list(batch["data_source"]) == [row["data_source"] for row in found]
    return found


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(content(sys.argv[1], sys.argv[2:]))}\n")
