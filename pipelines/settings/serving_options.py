"""The flags of `hlmat serve-segmenter`."""

from __future__ import annotations

import argparse

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.run_flags import SEGMENTER
from hlmat.pipelines.settings.run_options import segmenter_options
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.url_storage import url_problem
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import check_segmenter_name
from hlmat.transforms.segmenters.remote.address import is_address

_BYTES_PER_GB = 1e9


@options
class ServingOptions:
    """How a segmenter is served.

    Attributes:
        cache_gb: of images with their encodings, and as much again of feedback.
    """

    host: str = setting(
        default="127.0.0.1",
        min_length=1,
        metavar="ADDRESS",
        help="where clients reach it: 127.0.0.1 is this machine only, 0.0.0.0 any",
    )
    port: int = setting(default=8100, ge=0, le=65535, metavar="N", help="0 takes a free one")
    cache_gb: float = setting(
        default=4.0,
        gt=0,
        metavar="GB",
        help="memory for images with their embeddings, and as much again for feedback",
    )
    join_clients: bool = setting(
        default=False,
        help="one call of the segmenter for the requests of several clients: faster for small "
        "ones; masks may differ by rounding",
    )
    max_clients: int = setting(default=64, ge=1, metavar="N", help="connections at once")
    receive_timeout_s: float = setting(
        default=120.0, gt=0, metavar="SECONDS", help="within which a request must have arrived"
    )

    @property
    def cache_bytes(self) -> int:
        """The limit of each cache in bytes."""
        return int(self.cache_gb * _BYTES_PER_GB)


SERVE_SEGMENTER = (
    SEGMENTER,
    Group(
        "server",
        (
            Flag("host", ServingOptions),
            Flag("port", ServingOptions),
            Flag("cache-gb", ServingOptions),
            Flag("join-clients", ServingOptions),
            Flag("max-clients", ServingOptions),
            Flag("receive-timeout", ServingOptions, "receive_timeout_s"),
        ),
    ),
)


def serving_options(arguments: argparse.Namespace) -> tuple[SegmenterOptions, ServingOptions]:
    """Validate the arguments of `hlmat serve-segmenter`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, SERVE_SEGMENTER, check)
    values.read_given()
    segmenter = segmenter_options(values)
    if is_address(segmenter.name):
        check.note(f"--segmenter {segmenter.name}: is a server already; name the segmenter itself")
    else:
        check.maybe(check_segmenter_name(segmenter.name))
    check.maybe(url_problem(segmenter.checkpoint))
    served = values.build(ServingOptions)
    check.done()
    return segmenter, served
