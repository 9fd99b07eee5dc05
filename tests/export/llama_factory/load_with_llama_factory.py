"""Loads an exported folder with LLaMA-Factory's own code and prints its rows as JSON.

A process of its own: LLaMA-Factory imports much, warns much, and needs torchaudio to be importable,
of which nothing here uses a function.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

from hlmat.pipelines.training.llamafactory_main import make_importable


def main(folder: str, name: str, cache: str) -> None:
    make_importable()

    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.mm_plugin import get_mm_plugin
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments, ModelArguments
    from PIL import Image

    data_args = DataArguments(dataset=name, dataset_dir=folder)
    model_args = ModelArguments(model_name_or_path="none", cache_dir=cache)
    training_args: Any = SimpleNamespace(local_process_index=0)
    (attributes,) = get_dataset_list([name], folder)
    dataset: Any = _load_single_dataset(attributes, model_args, data_args, training_args)
    plugin: Any = get_mm_plugin("qwen2_vl", image_token="<|image_pad|>")
    rows = []
    for row in dataset:
        plugin._validate_messages(row["_prompt"] + row["_response"], row["_images"], [], [])
        sizes = []
        for path in row["_images"]:
            with Image.open(path) as image:
                image.load()
                sizes.append([image.mode, *image.size])
        rows.append({**row, "sizes": sizes})
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
