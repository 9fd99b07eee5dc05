"""A call of `hlmat train`: recipe and command line, validated together."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.tasks.registry import DEFAULT_TASK, STAR_PLUS
from hlmat.pipelines.recipes.flag_files import parse_flags
from hlmat.pipelines.recipes.recipe import Recipe, load_recipe, recipe_names
from hlmat.pipelines.run.finished import read_run_manifest
from hlmat.pipelines.settings.export_options import (
    export_fingerprint,
    export_name,
    llama_factory_options,
)
from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.run_flags import TRAJECTORIES
from hlmat.pipelines.settings.run_options import RunConfig, fingerprint_of, trajectories_config
from hlmat.pipelines.settings.training_options import DATA_FLAGS, EXPORT_FLAGS, TrainOptions
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values, fingerprint_of_flags
from hlmat.pipelines.settings.yaml_files import read_override
from hlmat.pipelines.training.folder import TrainingFolder
from hlmat.pipelines.training.frame import frame_problem
from hlmat.pipelines.training.given_runs import GivenRuns, read_given_runs
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles
from hlmat.transforms.torch_support.device import resolve_device

_SET_BY_TRAIN = frozenset(
    {"dataset", "dataset_dir", "media_dir", "output_dir", "resume_from_checkpoint", "do_train"}
)

_DEVICE = Group("device", (Flag("model-device", TrainOptions),))
_PLACES_OF_TRAINING = frozenset(
    {"model_name_or_path", "preprocessing_num_workers", "dataloader_num_workers", "ddp_timeout"}
)


@dataclass(frozen=True)
class TrainingJob:
    """A call of `hlmat train`. Built by `read_job`.

    Attributes:
        config: of the run that makes the trajectories; None if a finished run takes their place.
        given: finished runs to learn from.
        added_export: as `export`, for the runs in `given.added`.
        options: how the data set is written, from `export`.
        rollouts: fingerprints of the rollouts that it learns from as well.
        settings: LLaMA-Factory's, with overrides and without paths.
        model_device: where the base model is built and trained: "auto", "cpu" or "cuda".
        base: arguments for building the base model first, None if one is given.
    """

    recipe: Recipe
    folder: TrainingFolder
    trajectories: argparse.Namespace
    config: RunConfig | None
    given: GivenRuns
    export: argparse.Namespace
    added_export: argparse.Namespace
    options: LlamaFactoryOptions
    rollouts: tuple[str, ...]
    settings: dict[str, Any]
    model: str | None
    model_device: str
    base: argparse.Namespace | None
    overwrite: bool
    quiet: bool

    @property
    def data_name(self) -> str:
        """The name of the data set in dataset_info.json."""
        return export_name(self.export)

    @property
    def learned_run(self) -> str:
        """The run that the first rows are made from."""
        first = self.given.first
        return str(self.folder.trajectories) if first is None else first

    @property
    def data(self) -> Path:
        """The data set that is trained on."""
        return self.folder.joined_data if self.given.added else self.folder.data

    @property
    def rows(self) -> Path:
        """The rows that are trained on."""
        return self.data / f"{self.data_name}.json"

    def resolved(self, *, model: Path, checkpoint: Path | None = None) -> dict[str, Any]:
        """Return LLaMA-Factory's settings, complete.

        Args:
            model: the base model's folder.
            checkpoint: the checkpoint to resume from.
        """
        settings = {
            **self.settings,
            "do_train": True,
            "model_name_or_path": str(model),
            "dataset": self.data_name,
            "dataset_dir": str(self.data),
            "media_dir": str(self.folder.out if self.given.added else self.data),
            "output_dir": str(self.folder.model),
        }
        if self.model_device == "cpu":
            settings["use_cpu"] = True
        if checkpoint is not None:
            settings["resume_from_checkpoint"] = str(checkpoint)
        return settings

    def identity(self, model: CheckpointFiles) -> dict[str, Any]:
        """Return everything that can change the training's result, as plain JSON."""
        train = _without(self.settings, _PLACES_OF_TRAINING)
        if isinstance(train.get("deepspeed"), str):
            train["deepspeed"] = json.loads(Path(train["deepspeed"]).read_text(encoding="utf-8"))
        identity = {
            "recipe": self.recipe.name,
            "trajectories": fingerprint_of_flags(self.trajectories, TRAJECTORIES),
            "export": export_fingerprint(self.export),
            "rollouts": list(self.rollouts),
            "train": train,
            "processor": dict(self.recipe.processor),
            "base model": {"sha256": model.sha256()},
            **self.given.identity(),
        }
        if self.recipe.chat_template is not None:
            identity["chat template"] = self.recipe.chat_template
        return json.loads(json.dumps(identity))


SettingsCheck = Callable[[Mapping[str, Any], TrainingFolder, bool], list[str]]
"""Returns problems, given LLaMA-Factory's settings, the folder and `--overwrite`."""


def read_job(
    arguments: argparse.Namespace, *, check_settings: SettingsCheck | None = None
) -> TrainingJob:
    """Validate recipe and command line together.

    Args:
        arguments: parsed with the flags of `hlmat train`.
        check_settings: finds further problems to report with the others.

    Raises:
        ConfigError: with every problem.
        DataError: the runs to learn from are missing or unfinished.
    """
    if not arguments.recipe:
        raise ConfigError([f"--recipe is missing; choose from {', '.join(recipe_names())}"])
    recipe = load_recipe(arguments.recipe, segmenter_path=arguments.segmenter_path or ())
    if recipe.rl is not None and not recipe.train:
        raise ConfigError(
            [
                f"{recipe.name} is a recipe of `hlmat rl`: it trains a model by its rollouts; run "
                f"`hlmat rl --recipe {arguments.recipe}`"
            ]
        )
    check = Check()
    out = arguments.out or os.path.join("out", recipe.name)
    if "://" in out:
        check.note(f"--out {out}: training writes to the local disk; give a local path")
    shared = Path(arguments.trajectories).absolute() if arguments.trajectories else None
    folder = TrainingFolder(Path(out).absolute(), shared)
    settings = _with_overrides(recipe.train, arguments.overrides or (), check)
    given = read_given_runs(arguments, check, folder=folder)
    trajectories = parse_flags(
        "trajectories.yaml",
        [*recipe.trajectories, *given_flags(DATA_FLAGS, arguments), f"--out={folder.trajectories}"],
    )
    config = None
    if given.first is None:
        config = check.built(lambda: trajectories_config(trajectories))
    flags = [*recipe.export, *given_flags(EXPORT_FLAGS, arguments)]
    least = [] if given.min_iou is None else [f"--min-iou={given.min_iou}"]
    export = parse_flags("export.yaml", flags if given.first is None else [*flags, *least])
    added_export = parse_flags("export.yaml", [*flags, *least])
    _learn_from_rollouts(export, arguments.also or ())
    options = check.built(lambda: llama_factory_options(export, check))
    device = check.built(lambda: _model_device(arguments)) or "auto"
    if check_settings is not None:
        check.note_all(check_settings(settings, folder, bool(arguments.overwrite)))
    check.done()
    assert options is not None
    given.identity()
    if (problem := frame_problem(options, settings, recipe=recipe)) is not None:
        raise ConfigError([problem])
    placed = [] if device == "auto" else [f"--device={device}"]
    return TrainingJob(
        recipe=recipe,
        folder=folder,
        trajectories=trajectories,
        config=config,
        given=given,
        export=export,
        added_export=added_export,
        options=options,
        rollouts=tuple(
            fingerprint_of(read_run_manifest(out).config) for out in arguments.also or ()
        ),
        settings=settings,
        model=arguments.model,
        model_device=device,
        base=None
        if recipe.base is None or arguments.model
        else parse_flags("base.yaml", [*recipe.base, f"--out={folder.base}", *placed]),
        overwrite=bool(arguments.overwrite),
        quiet=bool(getattr(arguments, "quiet", False) or getattr(arguments, "json", False)),
    )


def given_flags(names: Sequence[str], arguments: argparse.Namespace) -> list[str]:
    """Return the flags that are given on the command line."""
    found = []
    for name in names:
        value = getattr(arguments, name.replace("-", "_"))
        values = value if isinstance(value, list) else [value]
        found += [f"--{name}={each}" for each in values if each is not None]
    return found


def _model_device(arguments: argparse.Namespace) -> str:
    """Return the value of `--model-device`; a GPU that is asked for must be here.

    Raises:
        ConfigError: another value, or torch sees no GPU.
    """
    check = Check()
    device = str(Values(arguments, (_DEVICE,), check).get("model-device"))
    check.done()
    if device == "cuda":
        try:
            resolve_device(device)
        except ConfigError:
            raise ConfigError(
                ["--model-device cuda: torch sees no CUDA device; use --model-device cpu"]
            ) from None
        except ImportError:
            # What is not installed is reported with everything else that a training needs.
            pass
    return device


def _learn_from_rollouts(export: argparse.Namespace, rollouts: Sequence[str]) -> None:
    """Add the task `star-plus` for a model's rollouts to the recipe's task."""
    if rollouts:
        export.name = export_name(export)
        export.task = f"{export.task or DEFAULT_TASK},{STAR_PLUS}"
        export.also = [*(export.also or ()), *rollouts]


def _with_overrides(
    settings: Mapping[str, Any], overrides: Sequence[str], check: Check
) -> dict[str, Any]:
    result = dict(settings)
    for text in overrides:
        pair = check.built(lambda text=text: read_override(text))
        if pair is None:
            continue
        key, value = pair
        if key == "model_name_or_path":
            check.note(f"--set {text}: name the base model with --model")
        elif key in _SET_BY_TRAIN:
            check.note(f"--set {text}: {key} is filled in by hlmat train; leave it out")
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def _without(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
