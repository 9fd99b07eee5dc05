"""The job `hlmat rl`: train a model by its rollouts, or resume its training."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlmat.pipelines.recipes.recipe import recipe_names
from hlmat.pipelines.reinforcement.environment import installed_trl, rl_python, train_with_trl
from hlmat.pipelines.reinforcement.places import (
    CURVE,
    JOB,
    LOG,
    STRIPS,
    TABLE,
    read_log,
)
from hlmat.pipelines.run.training_frames import refuse_other_frames
from hlmat.pipelines.settings.rl_options import (
    RlConfig,
    given_arguments,
    rl_config,
    rl_fingerprint,
)
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.pipelines.training.folder import TrainingFolder, relative_name
from hlmat.pipelines.training.train import show_output
from hlmat.transforms.core.errors import ConfigError, IncompleteError
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles, find_checkpoint
from hlmat.transforms.policies.mllm import ModelPolicyOptions

_TRAINED = re.compile(r"out/([\w.-]+)/model/?")


def reinforce(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a model by its rollouts, or resume its training; return a report.

    Raises:
        ConfigError: with every problem of recipe and command line; no start model, or one that was
            trained in other coordinates; no environment with TRL.
        DataError: the data set cannot be read.
        OutputError: the output cannot be written, or contains another training.
        IncompleteError: the training failed; the same call resumes.
    """
    config = rl_config(arguments)
    start = find_start_model(config.start)
    asked = ModelPolicyOptions("mllm", config.conversation, config.answers)
    refuse_other_frames(asked, model=config.start)
    python = rl_python()
    folder = TrainingFolder(Path(config.out))
    quiet = bool(getattr(arguments, "quiet", False) or getattr(arguments, "json", False))
    with folder.locked() as lock:
        identity = {
            "rl": rl_fingerprint(arguments),
            "start model": {"sha256": start.sha256()},
            "trl": installed_trl(python),
        }
        if config.overwrite or not folder.is_begun(identity):
            folder.begin(identity, overwrite=config.overwrite)
        record = folder.finished()
        if record is not None:
            if record["rounds"] >= config.grpo.rounds:
                return _report(config, folder, record, status="complete already")
            folder.marker.unlink()
        checkpoint = folder.prepare_to_go_on()
        job = folder.out / JOB
        folder.write_json(
            job,
            {
                "arguments": given_arguments(arguments),
                "checkpoint": None if checkpoint is None else str(checkpoint),
            },
        )
        show = None if quiet else show_output
        train_with_trl(job, python=python, log=folder.log, lock=lock, show=show)
        record = _finish(folder, identity=identity)
    return _report(config, folder, record, status="resumed" if checkpoint else "trained")


def find_start_model(name: str) -> CheckpointFiles:
    """Find the model that a training starts from.

    Args:
        name: its folder.

    Raises:
        ConfigError: it is missing, damaged, unsafe to load, or a LoRA adapter.
    """
    if not os.path.isdir(name):
        match = _TRAINED.fullmatch(name)
        cure = "name the folder of a fine-tuned model with --model"
        if match and match[1] in recipe_names():
            cure = f"train it first with `hlmat train --recipe {match[1]}`, or {cure}"
        raise ConfigError([f"the model to start from, {name}, is not there: {cure}"])
    files = find_checkpoint(name)
    if files.adapter is not None:
        raise ConfigError(
            [
                f"the model to start from, {name}, is a LoRA adapter; merge it into its model "
                "first, for example with `llamafactory-cli export`"
            ]
        )
    return files


def _finish(folder: TrainingFolder, *, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Check the result of the process, and mark the training as done."""
    lines = read_log(folder.model / LOG)
    if not lines or not (folder.model / "config.json").is_file():
        raise IncompleteError(
            f"the training ended well but left no model or no {LOG} in {folder.model}; see "
            f"{folder.log} and name another --out"
        )
    last = lines[-1]
    record = {
        "rounds": last["round"],
        "settings": dict(identity),
        "settings_fingerprint": fingerprint_of(identity),
        "last_round": {
            name: last[name] for name in ("reward", "iou", "clicks", "kl") if name in last
        },
    }
    folder.finish(record)
    return record


def _report(
    config: RlConfig, folder: TrainingFolder, record: Mapping[str, Any], *, status: str
) -> dict[str, Any]:
    last = {name: round(value, 4) for name, value in record["last_round"].items()}
    found = {
        "curve": folder.out / CURVE,
        "table": folder.out / TABLE,
        "strips": folder.out / STRIPS,
    }
    return {
        "status": status,
        "model": relative_name(folder.model),
        "start model": config.start,
        "rounds": record["rounds"],
        **{f"last {name}": value for name, value in last.items()},
        "log": relative_name(folder.model / LOG),
        **{name: relative_name(path) for name, path in found.items() if path.exists()},
        "output": relative_name(folder.log),
    }
