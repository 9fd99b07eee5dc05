"""The job `hlmat train`: trajectories, data set and fine-tuned model from a recipe."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hlmat.export.llama_factory.layout import DATASET_INFO, EXPORT_RECORD
from hlmat.export.runs.trajectories import image_sizes
from hlmat.pipelines.exporting.export import export_run
from hlmat.pipelines.recipes.base_model import find_base_model, with_processor
from hlmat.pipelines.run.leak_guard import TRAINING_RECORD
from hlmat.pipelines.run.training_frames import recorded_frame
from hlmat.pipelines.run.trajectories import make_trajectories
from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.pipelines.training import mini_base
from hlmat.pipelines.training.folder import TrainingFolder, relative_name
from hlmat.pipelines.training.frame import USUAL_SIZES_HW, check_seen_sizes
from hlmat.pipelines.training.given_runs import join_data
from hlmat.pipelines.training.job import TrainingJob, read_job
from hlmat.pipelines.training.process import run_llama_factory
from hlmat.pipelines.training.requirements import missing_packages, settings_problems
from hlmat.transforms.core.errors import ConfigError, IncompleteError, OutputError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.core.visible_text import unfiltered, visible
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a model, or resume its training; return a report.

    Raises:
        ConfigError: with every problem of recipe and command line; a missing base model.
        DataError: the data set cannot be read.
        OutputError: the output cannot be written, or contains another training.
        IncompleteError: trajectories or training failed; the same call resumes.
    """
    job = read_job(arguments, check_settings=_found_in_settings)
    model = (
        None if job.base else find_base_model(job.settings["model_name_or_path"], given=job.model)
    )
    with job.folder.locked() as lock:
        if model is None:
            model = _built_base(job)
        identity = job.identity(model)
        if job.overwrite or not job.folder.is_begun(identity):
            job.folder.begin(identity, overwrite=job.overwrite)
        start = model.model
        template = job.recipe.chat_template
        if job.recipe.processor or template is not None:
            changed = job.folder.out / "base_with_processor"
            start = with_processor(
                start, job.recipe.processor, folder=changed, chat_template=template
            )
        if job.folder.finished() is None:
            check_seen_sizes(job.options, job.settings, model=start, sizes_hw=USUAL_SIZES_HW)
        data_sha256 = make_data(job)
        job.folder.note_data(data_sha256)
        record = job.folder.finished()
        if record is not None:
            return _report(job, record, status="complete already")
        _check_frame(job, model=start)
        checkpoint = job.folder.prepare_to_go_on()
        _write_config(job, model=start, checkpoint=checkpoint)
        run_llama_factory(
            job.folder.config,
            log=job.folder.log,
            cache=job.folder.cache,
            lock=lock,
            show=None if job.quiet else show_output,
        )
        record = _finish(job, identity=identity, data_sha256=data_sha256)
    return _report(job, record, status="resumed" if checkpoint else "trained")


def _found_in_settings(
    settings: Mapping[str, Any], folder: TrainingFolder, overwrite: bool
) -> list[str]:
    """Return what is wrong with LLaMA-Factory's settings, before anything is built."""
    problems = missing_packages(settings)
    if not problems and (overwrite or not folder.run.is_file()):
        problems = settings_problems(settings)
    return problems


def _built_base(job: TrainingJob) -> CheckpointFiles:
    """Build the recipe's base model unless it exists."""
    assert job.base is not None
    note = (lambda text: None) if job.quiet else mini_base.print_note
    try:
        mini_base.make_mini_base(job.base, note=note)
    except OutputError:
        if not job.overwrite:
            raise
        job.base.overwrite = True
        mini_base.make_mini_base(job.base, note=note)
    return find_base_model(str(job.folder.base), given=None)


def make_data(job: TrainingJob) -> str:
    """Make trajectories and data set unless they exist; return the data set's digest."""
    if job.config is not None:
        make_trajectories(job.config, quiet=job.quiet)
    folder = job.folder
    root = job.trajectories.data_root
    _export(job.export, run=job.learned_run, data_root=root, out=folder.data)
    parts = [folder.data]
    for number, run in enumerate(job.given.added, start=1):
        parts.append(folder.added_data(number))
        _export(job.added_export, run=run, data_root=None, out=parts[-1])
    if job.given.added:
        join_data(parts, name=job.data_name, out=job.data)
    with open(job.rows, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _export(flags: argparse.Namespace, *, run: str, data_root: str | None, out: Path) -> None:
    """Make the data set of a run unless it exists.

    Args:
        data_root: where the run's images are now; None uses the root that the run records.
    """
    if (out / DATASET_INFO).is_file():
        return
    arguments = argparse.Namespace(**vars(flags))
    arguments.run_folder, arguments.out = run, str(out)
    arguments.format, arguments.data_root = "llama-factory", data_root
    arguments.max_reject_rate = "0"
    export_run(arguments)


def _check_frame(job: TrainingJob, *, model: Path) -> None:
    """Compare the frame of the data set with what the model will see, for the size of every image.

    Raises:
        ConfigError: they differ, or the data set does not record its frame.
    """
    if job.options.frame.codec != "pixels":
        return
    recorded = recorded_frame(str(job.data))
    if recorded != job.options.frame:
        raise ConfigError(
            [
                f"{job.data / EXPORT_RECORD}: the size of the images that coordinates count in "
                "is unknown or another than the recipe's; --overwrite makes the data set again"
            ]
        )
    for run in (job.learned_run, *job.given.added):
        sizes_hw = image_sizes(storage_for(run), run)
        check_seen_sizes(job.options, job.settings, model=model, sizes_hw=sizes_hw)


def _write_config(job: TrainingJob, *, model: Path, checkpoint: Path | None) -> None:
    settings = job.resolved(model=model, checkpoint=checkpoint)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    job.folder.config.write_text(text, encoding="utf-8")


def show_output(data: bytes) -> None:
    """Write a training's output to stderr, with its progress bars."""
    stream = unfiltered(sys.stderr)
    # Progress bars return to the start of their line.
    stream.write(visible(data.decode("utf-8", errors="replace"), keep="\n\r"))
    stream.flush()


def _finish(job: TrainingJob, *, identity: Mapping[str, Any], data_sha256: str) -> dict[str, Any]:
    """Check LLaMA-Factory's results, and mark the training as done."""
    folder = job.folder
    try:
        # The mean of a resumed training covers only the steps since.
        state = json.loads((folder.model / "trainer_state.json").read_text(encoding="utf-8"))
        loss = float([entry["loss"] for entry in state["log_history"] if "loss" in entry][-1])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise IncompleteError(
            f"LLaMA-Factory ended well but left no loss in {folder.model}/trainer_state.json "
            f"({error}); see {folder.log}, log more often with --set logging_steps=1, and name "
            "another --out"
        ) from error
    if not math.isfinite(loss):
        raise IncompleteError(
            f"the training diverged: its last loss is {loss}; lower the learning rate with --set "
            "learning_rate=X and name another --out"
        )
    exported = job.data / EXPORT_RECORD
    if exported.is_file():
        shutil.copyfile(exported, folder.model / TRAINING_RECORD)
    rows = json.loads(job.rows.read_text(encoding="utf-8"))
    record = {
        "recipe": job.recipe.name,
        "steps": state["global_step"],
        "settings": identity,
        "settings_fingerprint": fingerprint_of(identity),
        "data_sha256": data_sha256,
        "samples": len(rows),
        "last_loss": loss,
    }
    folder.finish(record)
    return record


def _report(job: TrainingJob, record: Mapping[str, Any], *, status: str) -> dict[str, Any]:
    folder = job.folder
    curve = folder.model / "training_loss.png"
    return {
        "status": status,
        "model": relative_name(folder.model),
        "samples": record["samples"],
        "last loss": round(record["last_loss"], 4),
        "settings": relative_name(folder.config),
        "log": relative_name(folder.log),
        **({"loss curve": relative_name(curve)} if curve.is_file() else {}),
    }
