"""LLaMA-Factory's training of a recipe: with its own defaults, and as `hlmat train` calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.training.arithmetic import least_seconds

_OF_HLMAT = (
    "bf16",
    "disable_gradient_checkpointing",
    "dataloader_num_workers",
    "preprocessing_num_workers",
)
"""Settings of the recipe that change the speed and not what is learned, but for rounding."""

WAYS: Mapping[str, Mapping[str, Any]] = {
    "LLaMA-Factory's defaults": dict.fromkeys(_OF_HLMAT),
    "its defaults, bfloat16": {**dict.fromkeys(_OF_HLMAT), "bf16": True},
    "hlmat train": {},
    "hlmat train without bfloat16": {"bf16": False},
    "hlmat train, flash_attn: disabled": {"flash_attn": "disabled"},
}
"""What each way changes in the recipe's settings; None leaves a setting out."""


def measure_fine_tuning(
    folder: Path,
    rates: Mapping[torch.dtype, float],
    *,
    ways: Sequence[str],
    rows: int,
    steps: int,
    threads: int,
) -> None:
    """Print the speed of each way, and what the data path takes for a row.

    Args:
        folder: of a finished training: its data set and `train.yaml`.
        rates: operations a second, by dtype.
        ways: of `WAYS`.
        rows: of the data set.
        steps: the first three and the last two are not timed.
        threads: of each process.
    """
    settings = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    found = {
        way: _run(settings, WAYS[way], rows=rows, steps=steps, threads=threads) for way in ways
    }
    batch = settings["per_device_train_batch_size"]
    print(f"\n| step of {batch} rows | s | of it waiting for or making data | rows/s ", end="")
    print("| times as fast | 10^9 operations | share of the arithmetic | weights |")
    print("|---|---|---|---|---|---|---|---|")
    first = next(iter(found.values()))["step_s"]
    for way, made in found.items():
        flops = {getattr(torch, name): count for name, count in made["flops"].items()}
        print(
            f"| {way} | {made['step_s']:.3f} | {made['data_s']:.3f} | {batch / made['step_s']:.1f} "
            f"| {first / made['step_s']:.2f} | {sum(flops.values()) / 1e9:.0f} "
            f"| {least_seconds(flops, rates) / made['step_s']:.0%} | {made['weights'][:8]} |"
        )
    for way, made in found.items():
        print(f"\noperators, {way}: {made['operators']}")
    print("\n| data path | ms of processor time for a row |\n|---|---|")
    for part, seconds in found[ways[-1]]["row_s"].items():
        print(f"| {part} | {seconds * 1e3:.2f} |")


def _run(
    settings: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    rows: int,
    steps: int,
    threads: int,
) -> dict[str, Any]:
    """Train in a process of its own; return what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        changed = {
            **settings,
            **changes,
            "max_samples": rows,
            "max_steps": steps,
            "output_dir": str(Path(folder) / "model"),
            "save_strategy": "no",
            "plot_loss": False,
            "use_cpu": True,
        }
        changed.pop("resume_from_checkpoint", None)
        config = Path(folder) / "train.yaml"
        config.write_text(yaml.safe_dump({k: v for k, v in changed.items() if v is not None}))
        variables = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "HF_DATASETS_CACHE": str(Path(folder) / "cache"),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "DISABLE_VERSION_CHECK": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        command = [sys.executable, "-m", "benchmarks.training.fine_tuning_worker", str(config)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-20:])
            raise SystemExit(f"{last}\n{' '.join(command)} failed")
        return json.loads(done.stdout.splitlines()[-1])
