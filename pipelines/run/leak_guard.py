"""The leak guard: refuse to evaluate a model on an image that it was trained on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hlmat.export.runs.manifest import Manifest, read_manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.image_identity import find_leaks, image_key
from hlmat.transforms.core.records import TargetRef

EXPORT_RECORD = "export.json"
"""In an exported data set: what it was made from, and the keys of its images."""

TRAINING_RECORD = "training_data.json"
"""In a model's folder: the record of the data set that it was trained on."""

_SHOWN = 5


def image_keys(refs: Iterable[TargetRef], *, shapes: Mapping[str, Any] | None) -> list[str]:
    """Return the distinct keys of the targets' images, sorted.

    Args:
        shapes: the options of the generated data set, where the targets come from it.
    """
    return sorted({image_key(ref, shapes=shapes) for ref in refs})


def export_record(manifest: Manifest, *, images: Sequence[str]) -> bytes:
    """Return the content of an export's record."""
    record = {"run": manifest.config, "images": list(images)}
    return (json.dumps(record, sort_keys=True, indent=1) + "\n").encode()


def refuse_leaks(
    evaluated: Sequence[str],
    *,
    model: str | None,
    trained_on: Sequence[str],
    allow_leak: bool,
) -> list[str]:
    """Compare the images of training and evaluation.

    Args:
        evaluated: the keys of the images to be evaluated on.
        model: the model's folder; its own record is read if it has one.
        trained_on: further folders that say what it was trained on: runs, exports, models.
        allow_leak: return the shared images as warnings instead of raising.

    Returns:
        Warnings: shared images, or that the training data is unknown.

    Raises:
        ConfigError: images are shared.
        DataError: a folder does not record its training data, or its record is damaged.
    """
    sources = list(trained_on)
    if model is not None and os.path.isfile(os.path.join(model, TRAINING_RECORD)):
        sources.append(model)
    if not sources:
        if model is None:
            return []
        return [
            f"leak guard: {model} holds no {TRAINING_RECORD} and --trained-on is not given, so "
            "shared images cannot be found"
        ]
    problems = []
    for source in sources:
        leaks = find_leaks(_trained_images(source), evaluated)
        if leaks:
            shown = ", ".join(leaks[:_SHOWN]) + (", ..." if len(leaks) > _SHOWN else "")
            problems.append(
                f"leak guard: {len(leaks)} of the {len(evaluated)} images to be evaluated on "
                f"are among those of {source}, which the model was trained on: {shown}; evaluate "
                "on another split, leave these images out of the training, or pass --allow-leak"
            )
    if problems and not allow_leak:
        raise ConfigError(problems)
    return problems


def _trained_images(source: str) -> list[str]:
    storage = storage_for(source)
    for name in (TRAINING_RECORD, EXPORT_RECORD):
        path = f"{source.rstrip('/')}/{name}"
        if storage.is_file(path):
            return _recorded_images(path, storage.read_bytes(path))
    if not storage.is_file(f"{source.rstrip('/')}/manifest.json"):
        raise DataError(
            f"--trained-on {source}: expected a finished run, an export or a trained model, that "
            f"is a folder with manifest.json, {EXPORT_RECORD} or {TRAINING_RECORD}"
        )
    manifest = read_manifest(storage, source)
    refs = (t.target.ref for t in read_trajectories(storage, source, manifest=manifest))
    return image_keys(refs, shapes=manifest.config.get("shapes"))


def _recorded_images(path: str, data: bytes) -> list[str]:
    try:
        images = json.loads(data)["images"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a record of training data ({type(error).__name__}: {error}); export "
            "the data set again"
        ) from error
    if not isinstance(images, list) or not all(isinstance(key, str) for key in images):
        raise DataError(f"{path}: `images` must be a list of texts; export the data set again")
    return images
