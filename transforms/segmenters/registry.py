"""Segmenters by name, user-defined ones by dotted path, and served ones by address.

A tool is imported only when it is loaded.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hlmat.transforms.core.error_place import error_place
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.core.working_folder import same_working_folder
from hlmat.transforms.segmenters.custom import import_segmenter_class
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.remote.address import address_problem, is_address

if TYPE_CHECKING:
    from hlmat.transforms.core.protocols import Segmenter


def _build_graphcut(options: SegmenterOptions, threads: Threads) -> Segmenter:
    from hlmat.transforms.segmenters.graphcut.segmenter import GraphCutSegmenter

    _refuse_arguments(options)
    return GraphCutSegmenter()


def _build_sam(options: SegmenterOptions, threads: Threads) -> Segmenter:
    from hlmat.transforms.segmenters.sam.options import SamOptions
    from hlmat.transforms.segmenters.sam.segmenter import SamSegmenter

    return SamSegmenter(
        options.checkpoint,
        device=options.device,
        options=SamOptions.of(options.arguments),
        storage=options.storage,
        threads=threads,
    )


def _build_simpleclick(options: SegmenterOptions, threads: Threads) -> Segmenter:
    from hlmat.transforms.segmenters.simpleclick.segmenter import SimpleClick

    _refuse_arguments(options)
    return SimpleClick(options.checkpoint, device=options.device, storage=options.storage)


def _build_hf(options: SegmenterOptions, threads: Threads) -> Segmenter:
    from hlmat.transforms.segmenters.hf.segmenter import HuggingFaceSegmenter

    _refuse_arguments(options)
    return HuggingFaceSegmenter(options.checkpoint, device=options.device)


def _refuse_arguments(options: SegmenterOptions) -> None:
    if options.arguments:
        raise ConfigError(
            [
                f"--segmenter-arg {name}: the segmenter {options.name!r} has no settings; "
                "leave it out"
                for name in options.arguments
            ]
        )


@dataclass(frozen=True)
class SegmenterEntry:
    """A built-in segmenter.

    Attributes:
        summary: one line for the help.
        one_per_core: whether the default is one worker per core.
        unit_size: default number of targets per unit; large for a tool that batches many images.
    """

    summary: str
    build: Callable[[SegmenterOptions, Threads], Segmenter]
    one_per_core: bool
    unit_size: int = 16


SEGMENTERS: Mapping[str, SegmenterEntry] = {
    "graphcut": SegmenterEntry(
        "graph cuts on colour and contrast; no weights, CPU", _build_graphcut, one_per_core=True
    ),
    "sam": SegmenterEntry(
        "Segment Anything, ViT-B/L/H by --checkpoint; CPU or GPU",
        _build_sam,
        one_per_core=False,
        unit_size=128,
    ),
    "hf": SegmenterEntry(
        "SAM, SAM-HQ, SAM 2 or 3, EdgeTAM of transformers, a folder by --checkpoint; CPU or GPU",
        _build_hf,
        one_per_core=False,
        unit_size=128,
    ),
    "simpleclick": SegmenterEntry(
        "SimpleClick, ViT-B/L/H by --checkpoint; clicks only; CPU or GPU",
        _build_simpleclick,
        one_per_core=False,
        unit_size=128,
    ),
}


SERVED_UNIT_SIZE = 128
"""Default number of targets per unit for a server: which segmenter it has is not known yet."""


def check_segmenter_name(name: str) -> str | None:
    """Return what is wrong with a `--segmenter` value, None if it can be looked up."""
    if is_address(name):
        return address_problem(name)
    module, colon, attribute = name.partition(":")
    if colon:
        if module and attribute.isidentifier():
            return None
        return f"--segmenter {name!r}: a class of your own is given as package.module:Class"
    if name in SEGMENTERS:
        return None
    hint = did_you_mean(name, SEGMENTERS)
    return (
        f"--segmenter {name!r} is unknown; {hint}choose from {', '.join(SEGMENTERS)}, "
        "or give package.module:Class or the address of a server"
    )


def load_segmenter(options: SegmenterOptions, *, threads: Threads | None = None) -> Segmenter:
    """Build a segmenter.

    Args:
        threads: for a tool that can use them; None runs it on the calling thread only.

    Raises:
        ConfigError: unknown name, import failure, a class that does not fit the protocol, or
            something the tool needs is missing.
        AnswerError: the server at an address serves another segmenter than `options.served`.
    """
    from hlmat.transforms.core.protocols import Segmenter

    if (problem := check_segmenter_name(options.name)) is not None:
        raise ConfigError([problem])
    if options.name in SEGMENTERS:
        return SEGMENTERS[options.name].build(options, threads or Threads())
    if is_address(options.name):
        from hlmat.transforms.segmenters.remote.segmenter import connect_segmenter

        return connect_segmenter(options)
    # The working folder is not on a worker's import path, so it is passed explicitly.
    search_path = options.search_path or (os.getcwd(),)
    with same_working_folder():
        segmenter_class = import_segmenter_class(options.name, search_path=search_path)
    try:
        with same_working_folder():
            segmenter = segmenter_class(**_accepted_arguments(segmenter_class, options))
    # The constructor is user code: report any exception it raises instead of crashing.
    except Exception as error:
        place = error_place(error, owner=segmenter_class, caller=__file__)
        raise ConfigError(
            [
                f"--segmenter {options.name!r}: constructing it failed: "
                f"{type(error).__name__}: {error}{place}"
            ]
        ) from error
    if not isinstance(segmenter, Segmenter):
        raise ConfigError(
            [
                f"--segmenter {options.name!r} needs the methods set_image(image) and "
                "predict(*, clicks, box=None, feedback=None)"
            ]
        )
    return segmenter


def segmenter_identity(
    segmenter: Segmenter, options: SegmenterOptions
) -> dict[str, str | int | float | bool | None]:
    """Return what identifies a segmenter's answers, for fingerprints and provenance.

    A user's class without `identity` is identified by the text of its module. A served segmenter
    has the identity that it has in the server's process.
    """
    from hlmat.transforms.core.protocols import HasIdentity

    if is_address(options.name):
        return dict(segmenter.identity()) if isinstance(segmenter, HasIdentity) else {}
    identity: dict[str, str | int | float | bool | None] = {"name": options.name}
    if options.name not in SEGMENTERS:
        identity["source_sha256"] = _source_sha256(type(segmenter))
        identity.update({f"argument {k}": str(v) for k, v in sorted(options.arguments.items())})
    if isinstance(segmenter, HasIdentity):
        identity.update(segmenter.identity())
    return identity


def _accepted_arguments(factory: Callable[..., Any], options: SegmenterOptions) -> dict[str, Any]:
    """Return the explicit arguments, with checkpoint and device if the class takes them."""
    parameters = inspect.signature(factory).parameters
    arguments = dict(options.arguments)
    if options.checkpoint is not None:
        arguments.setdefault("checkpoint", options.checkpoint)
    if "device" in parameters:
        arguments.setdefault("device", options.device)
    return arguments


def _source_sha256(segmenter_class: type) -> str:
    try:
        source = inspect.getsource(inspect.getmodule(segmenter_class) or segmenter_class)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()
