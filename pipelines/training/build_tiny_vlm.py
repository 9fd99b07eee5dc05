"""The job `hlmat mini-base`: builds the small base model, its vision tower taught to localise."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from hlmat.pipelines.settings.run_options import fingerprint_of, shapes_options
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.core.atomic_files import atomic_folder
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.tiny_vlm.architecture import TinyVlmArchitecture
from hlmat.transforms.tiny_vlm.build import build_tiny_vlm
from hlmat.transforms.tiny_vlm.pretraining import PretrainingOptions, PretrainingReport

RECORD = "mini_base.json"
"""Written last: what the model was made with."""

_HELD_OUT_PICTURES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `hlmat mini-base`."""
    parser.add_argument("--out", metavar="DIR", help="folder of the model, on the local disk")
    parser.add_argument("--overwrite", action="store_true", help="remove an earlier model first")
    parser.add_argument("--seed", metavar="K", default="0", help="of weights and images (0)")
    parser.add_argument("--device", metavar="DEV", default="auto", help="cpu, cuda, cuda:N (auto)")
    size = parser.add_argument_group("size")
    size.add_argument("--image", metavar="PX", default="128", help="side of an image (128)")
    size.add_argument("--patch", metavar="PX", default="16", help="side of a patch (16)")
    size.add_argument("--vision-width", metavar="N", default="128", help="(128)")
    size.add_argument("--vision-depth", metavar="N", default="4", help="(4)")
    size.add_argument("--width", metavar="N", default="128", help="of the language model (128)")
    size.add_argument("--depth", metavar="N", default="4", help="of the language model (4)")
    size.add_argument("--heads", metavar="N", default="4", help="attention heads (4)")
    training = parser.add_argument_group("localisation pre-training")
    training.add_argument("--steps", metavar="N", default="2500", help="0 for none (2500)")
    training.add_argument("--batch", metavar="N", default="32", help="images a step (32)")
    training.add_argument("--learning-rate", metavar="X", default="0.003", help="(0.003)")
    training.add_argument("--shapes-images", metavar="N", help="images to learn from (32)")
    training.add_argument("--shapes-objects", metavar="MIN-MAX", help="per image (2-5)")
    training.add_argument("--shapes-difficulty", metavar="D", help="simple, thin, mixed (mixed)")


def make_mini_base(
    arguments: argparse.Namespace, *, note: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Build the model unless it is there already; return its record.

    Args:
        arguments: as `add_arguments` declares them.
        note: takes lines on the progress.

    Raises:
        ConfigError: with every problem of the command line.
        OutputError: the folder holds something else, or cannot be written.
    """
    check = Check()
    architecture = check.built(lambda: _architecture(arguments, check))
    options = check.built(lambda: _pretraining(arguments, check))
    images = _images(arguments, check)
    if not arguments.out or "://" in arguments.out:
        check.note("--out is missing or a URL: name a folder on the local disk")
    check.done()
    if architecture is None or options is None:
        raise AssertionError("a problem was not noted")
    settings = {
        "architecture": asdict(architecture),
        "pretraining": asdict(options),
        "images": asdict(images),
    }
    found = _find(arguments.out, settings, overwrite=arguments.overwrite)
    if found is not None:
        return found

    def report(progress: PretrainingReport) -> None:
        names = ("colour", "kind", "pattern", "x0", "x1", "y0", "y1")
        seen = "  ".join(f"{n} {a:.2f}" for n, a in zip(names, progress.accuracy, strict=True))
        note(f"step {progress.step}/{options.steps}  right on held-out images: {seen}")

    try:
        with atomic_folder(arguments.out) as folder:
            accuracy = build_tiny_vlm(
                folder,
                architecture,
                options,
                images=images,
                held_out=replace(images, count=_HELD_OUT_PICTURES),
                device=arguments.device,
                report=report,
            )
            record = {"settings": settings, "held_out_accuracy": list(accuracy)}
            with open(os.path.join(folder, RECORD), "w", encoding="ascii") as f:
                json.dump(record, f, indent=1, sort_keys=True)
    except OSError as error:
        raise OutputError(
            f"cannot write the model {arguments.out}: {error}; give a folder that can be written to"
        ) from error
    return record


def print_note(text: str) -> None:
    """Print a line on the progress where a person may be watching."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _find(out: str, settings: dict[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return the record of the model that is there, None if there is to be a new one."""
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


def _architecture(arguments: argparse.Namespace, check: Check) -> TinyVlmArchitecture:
    def size(name: str) -> int:
        flag = f"--{name.replace('_', '-')}"
        return check.integer(flag, getattr(arguments, name), at_least=1) or 1

    return TinyVlmArchitecture(
        image=size("image"),
        patch=size("patch"),
        vision_width=size("vision_width"),
        vision_depth=size("vision_depth"),
        width=size("width"),
        depth=size("depth"),
        heads=size("heads"),
    )


def _pretraining(arguments: argparse.Namespace, check: Check) -> PretrainingOptions:
    return PretrainingOptions(
        steps=check.integer("--steps", arguments.steps, at_least=0) or 0,
        batch=check.integer("--batch", arguments.batch, at_least=1) or 1,
        learning_rate=check.number("--learning-rate", arguments.learning_rate, at_least=0) or 0.0,
        seed=check.integer("--seed", arguments.seed, at_least=0) or 0,
    )


def _images(arguments: argparse.Namespace, check: Check) -> ShapesOptions:
    arguments.dataset, arguments.shapes_seed = "shapes", None
    arguments.shapes_size = f"{arguments.image}x{arguments.image}"
    return shapes_options(arguments, check)
