"""The job `hlmat mini-base`: build the small base model and pre-train it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hlmat.pipelines.settings.run_options import fingerprint_of
from hlmat.pipelines.settings.tiny_vlm_options import tiny_vlm_config
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.tiny_vlm.build import build_tiny_vlm
from hlmat.transforms.tiny_vlm.report import PretrainingReport

RECORD = "mini_base.json"
"""The record of the model's settings, written last."""

_HELD_OUT_IMAGES = 100


def make_mini_base(
    arguments: argparse.Namespace, *, note: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Build the model unless it exists; return its record.

    Args:
        arguments: parsed with the flags `MINI_BASE`.
        note: receives progress messages.

    Raises:
        ConfigError: with every problem of the command line.
        OutputError: the folder contains something else, or cannot be written.
    """
    config = tiny_vlm_config(arguments)
    out, settings, options = config.output.out, config.settings(), config.pretraining
    found = _find(out, settings, overwrite=config.output.overwrite)
    if found is not None:
        return found

    def report(made: PretrainingReport) -> None:
        shares = {**made.seen, **made.answered}
        right = "  ".join(f"{name} {share:.2f}" for name, share in shares.items())
        note(f"step {made.step}/{options.steps}  right on held-out images: {right}")

    # Named after the settings, so that only a training of the same model continues from it.
    progress = f"{os.path.normpath(out)}.{fingerprint_of(settings)[:12]}.progress"
    try:
        with atomic_folder(out) as folder:
            last = build_tiny_vlm(
                folder,
                config.architecture,
                options,
                images=config.images,
                held_out=replace(config.images, count=_HELD_OUT_IMAGES),
                device=config.output.device,
                report=report,
                note=note,
                progress=progress,
            )
            accuracy = {} if last is None else {**last.seen, **last.answered}
            record = {
                "settings": settings,
                "held_out_accuracy": {name: round(v, 4) for name, v in accuracy.items()},
            }
            with open(os.path.join(folder, RECORD), "w", encoding="ascii") as f:
                json.dump(record, f, indent=1, sort_keys=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(progress)
    except ValueError as error:
        raise OutputError(f"{error}; remove this file to begin again") from error
    except OSError as error:
        raise OutputError(
            f"cannot write the model {out}: {error}; give a folder that can be written to"
        ) from error
    return record


def print_note(text: str) -> None:
    """Print a progress message to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _find(out: str, settings: dict[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return the record of the existing model, or None if a new one must be built."""
    if not os.path.lexists(out) or (os.path.isdir(out) and not os.listdir(out)):
        if os.path.isdir(out):
            os.rmdir(out)
        return None
    try:
        with open(os.path.join(out, RECORD), encoding="utf-8") as f:
            record = json.load(f)
        before = record["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputError(
            f"{out} exists already and is not a model that hlmat mini-base made; name another --out"
        ) from None
    if overwrite:
        shutil.rmtree(out)
        return None
    if fingerprint_of(before) != fingerprint_of(settings):
        differing = [
            f"  {part} {key}: it was {before.get(part, {}).get(key)}, now {value}"
            for part, values in settings.items()
            for key, value in values.items()
            if before.get(part, {}).get(key) != value
        ]
        raise OutputError(
            f"{out} holds a model made with other settings:\n"
            + "\n".join(differing)
            + "\nname another --out, repeat its own flags, or pass --overwrite to remove it"
        )
    return record
