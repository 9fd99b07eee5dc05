"""The target list of a track: what a submission must have predicted, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hlmat.pipelines.hlmat_bench.tracks import Track
from hlmat.pipelines.run.planning import listed_items
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import evaluation_config
from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import Rle, TargetRef
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.readers.registry import open_reader


@dataclass(frozen=True, order=True)
class ListedTarget:
    """One expression of a track with its true mask.

    Attributes:
        truth: the mask.
        ignore: pixels that do not count, or None.
    """

    target_id: str
    expression: str
    truth: tuple[int, int, str]
    ignore: tuple[int, int, str] | None

    @classmethod
    def of(cls, target_id: str, expression: str, truth: Rle, ignore: Rle | None) -> ListedTarget:
        """Describe a target by its masks' run lengths."""
        return cls(
            target_id, expression, _as_tuple(truth), None if ignore is None else _as_tuple(ignore)
        )


def list_digest(targets: Iterable[ListedTarget]) -> str:
    """Return the sha256 over the targets as sorted lines of JSON, in hex."""
    lines = sorted(
        json.dumps([t.target_id, t.expression, t.truth, t.ignore], ensure_ascii=True)
        for t in targets
    )
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).hexdigest()


def track_config(track: Track, *, data_root: str | None) -> RunConfig:
    """Return the configuration of a run over a track's targets.

    Raises:
        ConfigError: the data root is missing or of another data set.
    """
    root = [] if data_root is None else ["--data-root", data_root]
    flags = [*track.flags, *root, "--policy", "centre", "--out", "out"]
    return evaluation_config(parse_command("evaluate", flags)).run


def read_targets(config: RunConfig, reader: DatasetReader) -> Iterator[ListedTarget]:
    """Read the targets of a track with their masks; those that cannot be used are left out."""
    for item in listed_items(reader, config):
        if not isinstance(item, TargetRef):
            continue
        try:
            masks = reader.load_truth(item)
        except TargetError:
            continue
        ignore = masks.ignore if masks.ignore is not None and masks.ignore.any() else None
        yield ListedTarget.of(
            item.target_id,
            item.expressions[0] if item.expressions else "",
            encode_mask(masks.truth),
            None if ignore is None else encode_mask(ignore),
        )


def read_track(track: Track, *, data_root: str | None) -> list[ListedTarget]:
    """Read a track's targets from a data set.

    Raises:
        ConfigError, DataError: the data set is not there or cannot be listed.
    """
    config = track_config(track, data_root=data_root)
    return list(read_targets(config, open_reader(config.dataset, config.reader)))


def _as_tuple(rle: Rle) -> tuple[int, int, str]:
    height, width = rle.size_hw
    return height, width, rle.counts
