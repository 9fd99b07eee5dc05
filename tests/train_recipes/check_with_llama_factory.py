"""Takes recipes through LLaMA-Factory's own argument parser, loader and collator.

A process of its own for all of them: LLaMA-Factory takes long to import, warns much and sets much.
Reads a JSON list of jobs, {"name", "settings", "sizes"}, and prints one of findings. Without sizes,
only the rows are looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hlmat.pipelines.training.llamafactory_main import make_importable


def main(path: str) -> None:
    make_importable()
    with open(path, encoding="utf-8") as f:
        jobs = json.load(f)
    findings = [{"name": job["name"], **check(job["settings"], job["sizes"])} for job in jobs]
    sys.stdout.write("\n" + json.dumps(findings))


def check(settings: dict[str, Any], sizes: list[list[int]]) -> dict[str, Any]:
    import torch
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(1)
    arguments = get_train_args(dict(settings))
    model_args, data_args, training_args = arguments[:3]
    tokenizer_module: Any = load_tokenizer(model_args)
    tokenizer, processor = tokenizer_module["tokenizer"], tokenizer_module["processor"]
    template: Any = get_template_and_fix_tokenizer(tokenizer, data_args)
    dataset: Any = get_dataset(
        template, model_args, data_args, training_args, stage="sft", **tokenizer_module
    )["train_dataset"]
    model = AutoModelForImageTextToText.from_pretrained(settings["model_name_or_path"])
    collate: Any = SFTDataCollatorWith4DAttentionMask(
        template=template, model=model, pad_to_multiple_of=8, **tokenizer_module
    )
    image_token = tokenizer.convert_tokens_to_ids(
        getattr(processor, "image_token", template.mm_plugin.image_token)
    )
    assert data_args.dataset
    with open(f"{data_args.dataset_dir}/{data_args.dataset[0]}.json", encoding="utf-8") as f:
        sources = json.load(f)
    rows = []
    for row, source in zip(dataset, sources, strict=True):
        batch = collate([dict(row)])
        labels = [i for i in batch["labels"][0].tolist() if i != -100]
        rows.append(
            {
                "answer": tokenizer.decode(labels),
                "question": tokenizer.decode([i for i in row["input_ids"] if i != image_token]),
                "image_tokens": int((batch["input_ids"] == image_token).sum()),
                "grid": batch["image_grid_thw"][0].tolist() if "image_grid_thw" in batch else None,
                "pixel_values": list(batch["pixel_values"].shape),
                "trained_prompt": [
                    i
                    for i, label in zip(row["input_ids"], row["labels"], strict=True)
                    if label == -100
                ],
                "asked_prompt": asked(processor, source, f"{data_args.dataset_dir}")
                if sizes
                else None,
            }
        )
    return {
        "parsed": parsed_values(arguments, settings),
        "rows": rows,
        "eos": tokenizer.eos_token,
        "seen": [seen_size(template.mm_plugin, processor, size) for size in sizes],
        "edges": edges(template.mm_plugin, processor) if sizes else None,
    }


def asked(processor: Any, source: dict[str, Any], folder: str) -> list[int]:
    """Return the tokens with which `hlmat evaluate` asks for the answer to a row."""
    from PIL import Image

    from hlmat.transforms.policies.backends.checkpoint.processor import (
        find_chat_template,
        render_question,
    )

    before, after = source["messages"][0]["content"].split("<image>")
    texts = [{"type": "text", "text": text} for text in (before, after)]
    parts = [part for part in (texts[0], {"type": "image"}, texts[1]) if part.get("text") != ""]
    prompt = render_question(processor, find_chat_template(processor, folder=Path(folder)), parts)
    bos = processor.tokenizer.bos_token
    with Image.open(f"{folder}/{source['images'][0]}") as image:
        inputs = processor(
            text=[prompt],
            images=[[image.convert("RGB")]],
            add_special_tokens=not (bos and prompt.startswith(bos)),
            return_tensors="pt",
        )
    return inputs["input_ids"][0].tolist()


def parsed_values(arguments: tuple[Any, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what LLaMA-Factory understood of each setting."""
    values: dict[str, Any] = {}
    for name in settings:
        owners = [each for each in arguments if hasattr(each, name)]
        value: Any = getattr(owners[0], name)
        value = getattr(value, "value", value)
        values[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return json.loads(json.dumps(values, default=str))


def seen_size(plugin: Any, processor: Any, size_wh: list[int]) -> list[int] | None:
    """Return the (height, width) that a Qwen model sees of an image; None for other models."""
    from PIL import Image

    inputs = plugin._get_mm_inputs([Image.new("RGB", (size_wh[0], size_wh[1]))], [], [], processor)
    if "image_grid_thw" not in inputs:
        return None
    patch = processor.image_processor.patch_size
    return [side * patch for side in inputs["image_grid_thw"][0].tolist()[1:]]


def edges(plugin: Any, processor: Any) -> list[bool] | None:
    """Tell whether the left and the right edge of a wide image are seen; None for Qwen."""
    from PIL import Image

    image = Image.new("RGB", (400, 200))
    image.paste((255, 255, 255), (0, 0, 20, 200))
    image.paste((255, 255, 255), (380, 0, 400, 200))
    inputs = plugin._get_mm_inputs([image], [], [], processor)
    if "image_grid_thw" in inputs:
        return None
    pixels = inputs["pixel_values"][0]
    middle = pixels[..., pixels.shape[-1] // 2].mean()
    return [bool(pixels[..., column].mean() > middle + 1) for column in (2, -3)]


if __name__ == "__main__":
    main(sys.argv[1])
