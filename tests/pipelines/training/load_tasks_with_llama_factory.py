"""Takes data sets through LLaMA-Factory's argument parser and loader, each in its stage.

A process of its own for all of them. Reads a JSON list of jobs, {"name", "settings"}, and prints
one of {"name", "rows"}: what the model would be given, as text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from hlmat.pipelines.training.llamafactory_main import make_importable

# As LLaMA-Factory's own workflows name the preparation of a stage's rows.
_PREPARATION = {"sft": "sft", "dpo": "rm", "kto": "kto"}
_LABELS = {
    "sft": {"answer": "labels"},
    "dpo": {"chosen": "chosen_labels", "rejected": "rejected_labels"},
    "kto": {"answer": "labels"},
}


def main(path: str) -> None:
    make_importable()
    with open(path, encoding="utf-8") as f:
        jobs = json.load(f)
    findings = [{"name": job["name"], "rows": load(job["settings"])} for job in jobs]
    sys.stdout.write("\n" + json.dumps(findings))


def load(settings: dict[str, Any]) -> list[dict[str, Any]]:
    import torch
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    torch.set_num_threads(1)
    model_args, data_args, training_args = get_train_args(dict(settings))[:3]
    tokenizer_module: Any = load_tokenizer(model_args)
    tokenizer = tokenizer_module["tokenizer"]
    template: Any = get_template_and_fix_tokenizer(tokenizer, data_args)
    stage: Any = _PREPARATION[settings["stage"]]
    dataset: Any = get_dataset(
        template, model_args, data_args, training_args, stage=stage, **tokenizer_module
    )["train_dataset"]

    def text(ids: list[int]) -> str:
        return tokenizer.decode([i for i in ids if i != -100])

    return [
        {
            **{name: text(row[column]) for name, column in _LABELS[settings["stage"]].items()},
            "tag": row.get("kto_tags"),
            "images": row["images"],
        }
        for row in dataset
    ]


if __name__ == "__main__":
    main(sys.argv[1])
