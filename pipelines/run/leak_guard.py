"""The leak guard: refuse to evaluate a model on an image that it was trained on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hlmat.export.llama_factory.layout import EXPORT_RECORD
from hlmat.export.runs.manifest import Manifest, read_manifest
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.image_identity import KnownImage, find_leaks, image_key
from hlmat.transforms.core.records import Target
from hlmat.transforms.core.url_storage import storage_for

TRAINING_RECORD = "training_data.json"
"""In a model's folder: the record of its training data."""

_SHOWN = 50


def known_images(
    targets: Iterable[Target], *, shapes: Mapping[str, Any] | None
) -> list[KnownImage]:
    """Return the distinct images of targets, sorted.

    Args:
        targets: of trajectories.
        shapes: the options of the generated data set, if the targets come from it.
    """
    return sorted(
        {KnownImage(image_key(t.ref, shapes=shapes), t.image_digest or "") for t in targets}
    )


def export_record(
    manifest: Manifest,
    *,
    images: Sequence[KnownImage],
    frame: Mapping[str, Any],
    also: Sequence[Manifest] = (),
    export: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the content of an export's record.

    Args:
        manifest: the run's manifest.
        images: the images of the export.
        frame: `Frame.record`, the size at which a model sees them.
        also: manifests of the runs that it was compared with.
        export: the settings and counts of the export.
    """
    record = {
        "run": manifest.config,
        "frame": frame,
        "images": [image.key for image in images],
        "digests": [image.digest for image in images],
        **({"also": [other.config for other in also]} if also else {}),
        **({} if export is None else {"export": export}),
    }
    return (json.dumps(record, sort_keys=True, indent=1) + "\n").encode()


def add_images(
    record: bytes | None, images: Sequence[KnownImage], *, frame: Mapping[str, Any]
) -> bytes:
    """Return a record of training data with further images.

    Args:
        record: of what a model was trained on before; None if that is not known.
        images: what it has been trained on since.
        frame: `Frame.record` of the training since.

    Raises:
        DataError: the record is damaged.
    """
    content = {} if record is None else json.loads(record)
    before = [] if record is None else _recorded_images(TRAINING_RECORD, record)
    known = sorted({*before, *images})
    content |= {
        "frame": frame,
        "images": [i.key for i in known],
        "digests": [i.digest for i in known],
    }
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def joined_records(records: Sequence[bytes]) -> bytes:
    """Return the record of a data set that joins several exports.

    Args:
        records: of the exports; the first gives run, frame and settings, the others their images
            and, in `added`, their runs.

    Raises:
        DataError: a record is damaged.
    """
    joined = records[0]
    for record in records[1:]:
        images = _recorded_images(EXPORT_RECORD, record)
        joined = add_images(joined, images, frame=json.loads(record)["frame"])
    content = json.loads(joined)
    content["added"] = [json.loads(record)["run"] for record in records[1:]]
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def refuse_leaks(
    list_evaluated: Callable[[bool], Sequence[KnownImage]],
    *,
    model: str | None,
    trained_on: Sequence[str],
    allow_leak: bool,
) -> list[str]:
    """Compare the images of training and evaluation.

    Args:
        list_evaluated: returns the images to be evaluated, with digests of their pixels if called
            with True.
        model: the model's folder; its own record is read if it has one.
        trained_on: further folders that record its training data: runs, exports, models.
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
            f"leak guard: {model} has no {TRAINING_RECORD} and --trained-on is not given, so "
            "shared images cannot be found"
        ]
    trained = {source: _trained_images(source) for source in sources}
    has_digests = any(image.digest for images in trained.values() for image in images)
    evaluated = list_evaluated(has_digests)
    problems = []
    for source, images in trained.items():
        leaks = find_leaks(images, evaluated)
        if leaks:
            problems.append(
                f"leak guard: {len(leaks)} of the {len(evaluated)} images to be evaluated on "
                f"are among those of {source}, which the model was trained on: {_shown(leaks)}; "
                "evaluate on another split, leave these images out of the training, or pass "
                "--allow-leak"
            )
    if problems and not allow_leak:
        raise ConfigError(problems)
    return problems


def _shown(leaks: Sequence[tuple[KnownImage, KnownImage]]) -> str:
    """Name the shared images, with the name in the training data if it differs."""
    names = [
        image.key if image.key == other.key else f"{image.key} (there {other.key})"
        for image, other in leaks[:_SHOWN]
    ]
    return ", ".join(names) + (f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else "")


def _trained_images(source: str) -> list[KnownImage]:
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
    targets = (t.target for t in read_trajectories(storage, source, manifest=manifest))
    return known_images(targets, shapes=manifest.config.get("shapes"))


def _recorded_images(path: str, data: bytes) -> list[KnownImage]:
    try:
        record = json.loads(data)
        images = record["images"]
        # Records of earlier versions have no digests.
        digests = record.get("digests") or [""] * len(images)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a record of training data ({type(error).__name__}: {error}); export "
            "the data set again"
        ) from error
    for name, texts in (("images", images), ("digests", digests)):
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError(f"{path}: `{name}` must be a list of texts; export the data set again")
    if len(images) != len(digests):
        raise DataError(
            f"{path} has {len(images)} `images` and {len(digests)} `digests`, expected as many; "
            "export the data set again"
        )
    return [KnownImage(key, digest) for key, digest in zip(images, digests, strict=True)]
