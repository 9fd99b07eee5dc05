"""What errors in ground truth and texts cost a trained model, and what leaving them out gains.

    python -m benchmarks.noisy_training --recipe mini_prm --base out/mini_prm/base --out out/noise

Writes generated scenes with and without planted errors (`benchmarks.noisy_data`), makes the
recipe's trajectories and training sets of both, and of the second without the targets that
`hlmat noise` flags, for any error or for texts alone (`hlmat export --exclude`). Each trains the
same base model for equal steps. The models are evaluated on the recipe's held-out images and
compared. Every command is printed; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

RECIPES = Path(__file__).resolve().parents[1] / "train_recipes"
MODELS: Mapping[str, tuple[str, tuple[str, ...] | None]] = {
    "clean": ("clean", None),
    "noisy": ("noisy", None),
    "excluded": ("noisy", ()),
    "texts-excluded": ("noisy", ("--kinds", "shared,swapped")),
}
"""The data that each model is trained on, and flags of `hlmat noise` for what is left out of it."""


def main() -> None:
    """Make data, models and evaluations, and print their comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="mini_prm")
    parser.add_argument("--base", type=Path, required=True, help="the model to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--side", type=int, default=120)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--test-images", type=int, default=60)
    arguments = parser.parse_args()
    recipe, out = RECIPES / arguments.recipe, arguments.out.resolve()
    data = out / "data"
    if not data.exists():
        size = ("--images", arguments.images, "--side", arguments.side, "--rate", arguments.rate)
        _call("-m", "benchmarks.noisy_data", "--out", data, *size)
    made = _flags(recipe, "trajectories", leave_out=("dataset", "split", "shapes-"))
    for name in ("clean", "noisy"):
        source = ("--dataset", "coco", "--split", "train", "--data-root", data / name)
        _hlmat("trajectories", *source, *made, "--out", out / name, "--quiet")
    for model, (run, kinds) in MODELS.items():
        folder = out / f"model-{model}"
        flags = out / f"flags-{model}.csv"
        if kinds is not None and not flags.exists():
            _hlmat("noise", out / run, "--flags", flags, *kinds)
        exclude = () if kinds is None else ("--exclude", flags)
        export = ("--from", out / run, "--format", "llama-factory", *_flags(recipe, "export"))
        _hlmat("export", *export, *exclude, "--out", folder / "sft", "--quiet")
        _train(recipe, folder, base=arguments.base.resolve(), steps=arguments.steps)
        held_out = ("--recipe", arguments.recipe, "--shapes-images", arguments.test_images)
        trained = ("--model", folder / "model", "--trained-on", out / run)
        _hlmat("evaluate", *held_out, *trained, "--out", folder / "test", "--quiet")
    # Differences are from the first that is named.
    for names in (("noisy", "excluded", "texts-excluded", "clean"), ("excluded", "clean")):
        _hlmat("compare", *(f"{name}={out / f'model-{name}' / 'test'}" for name in names))


def _train(recipe: Path, folder: Path, *, base: Path, steps: int) -> None:
    """Train as `hlmat train` does, on a training set that is there already."""
    if (folder / "model" / "model.safetensors").exists():
        return
    (dataset,) = json.loads((folder / "sft" / "dataset_info.json").read_text())
    settings = {
        **yaml.safe_load((recipe / "train.yaml").read_text()),
        "model_name_or_path": str(base),
        "max_steps": steps,
        "save_strategy": "no",
        "do_train": True,
        "dataset": dataset,
        "dataset_dir": str(folder / "sft"),
        "media_dir": str(folder / "sft"),
        "output_dir": str(folder / "model"),
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    _call("-m", "hlmat.pipelines.training.llamafactory_main", folder / "train.yaml")


def _flags(recipe: Path, name: str, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Return a recipe's flags of a command; files are named from the recipe's folder."""
    given: Mapping[str, Any] = yaml.safe_load((recipe / f"{name}.yaml").read_text()) or {}
    return [text for key, value in given.items() for text in _flag(recipe, key, value, leave_out)]


def _flag(recipe: Path, key: str, value: Any, leave_out: tuple[str, ...]) -> Iterator[str]:
    if key.startswith(leave_out) and leave_out:
        return
    if isinstance(value, bool):
        yield f"--{key}" if value else f"--no-{key}"
        return
    yield from (f"--{key}", str(recipe / value) if str(value).endswith(".txt") else str(value))


def _hlmat(*arguments: object) -> None:
    _call("-m", "hlmat", *arguments)


def _call(*arguments: object) -> None:
    """Run Python with arguments; end with its exit code if it fails."""
    texts = [str(argument) for argument in arguments]
    print("$ python", shlex.join(texts), flush=True)
    done = subprocess.run([sys.executable, *texts], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
