"""Settings that a segmenter is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SkipValidation

from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.storage import LocalStorage, Storage


@options
class SegmenterOptions:
    """Settings that a segmenter is built from.

    Attributes:
        name: a key of `SEGMENTERS`, `package.module:Class`, or the address of a server.
        arguments: further keyword arguments of a dotted class, or settings of a tool by name.
        search_path: folders searched first for the module of a dotted class.
        timeout_s: time limit of a call for each image or request in it; a call that exceeds it ends
            the run.
        storage: reads `checkpoint`.
        served: the digest of the segmenter that the server at `name` must serve; None for any.
    """

    name: str = setting(default="graphcut", metavar="NAME", help="the segmenter")
    checkpoint: str | None = setting(
        default=None, metavar="PATH", in_fingerprint=False, help="the segmenter's weights"
    )
    device: str = setting(default="auto", metavar="DEV", help="cpu, cuda, cuda:N")
    arguments: Mapping[str, Any] = setting(
        default_factory=dict,
        metavar="KEY=JSON",
        help="a setting of sam, or an argument of your own class; repeatable",
    )
    search_path: tuple[str, ...] = setting(
        default=(),
        metavar="DIR",
        in_fingerprint=False,
        help="folder of the module of your own class; repeatable (the working folder)",
    )
    timeout_s: float = setting(
        default=600.0,
        gt=0,
        metavar="SECONDS",
        in_fingerprint=False,
        help="end the run when the segmenter takes longer for an image or request",
    )
    storage: SkipValidation[Storage] = setting(
        default_factory=LocalStorage, in_fingerprint=False, help="reaches `checkpoint`"
    )
    served: str | None = setting(
        default=None, in_fingerprint=False, help="what the server must serve"
    )
