"""What a published data set is: the facts that its card and its Croissant metadata state."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlmat.export.hub.declared_license import DeclaredLicense
from hlmat.export.runs.citation import references
from hlmat.transforms.readers.sources import SOURCES
from hlmat.transforms.readers.terms import HUB_LICENSES, LICENSES

STATES, TRAJECTORIES = "states", "trajectories"
"""The names of the two tables, and of their folders."""

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_LARGEST = "n>1T"

ALL_TARGETS = "train"
"""The Hub's name for a data set without splits."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of a table.

    Attributes:
        name: below the data set's folder.
        rows: how many it has.
        size_bytes: of the file.
        table_bytes: what its columns take when they are not compressed.
        sha256: hex digest of its content.
    """

    name: str
    rows: int
    size_bytes: int
    table_bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceTerms:
    """A data set that images, expressions and ground truth come from.

    Attributes:
        name: its `--dataset` name.
        terms: as its rows say.
        has_images: its images are included.
        declared: the license that the publisher declares for it, whose own data it is.
    """

    name: str
    terms: str
    has_images: bool
    declared: DeclaredLicense | None = None

    @property
    def origin(self) -> str:
        """Where it comes from: an address, or what it is."""
        if self.declared is not None:
            return "the publisher's own data"
        return SOURCES[self.name].origin if self.name in SOURCES else "unknown"

    @property
    def is_original(self) -> bool:
        """Whether it is published here first: drawn by hlmat, or the publisher's own."""
        return self.name == "shapes" or self.declared is not None

    @property
    def license_id(self) -> str | None:
        """The Hub's name of its license; None without one, or if a row says something else."""
        if self.declared is not None:
            return self.declared.hub_id
        is_usual = self.terms == LICENSES.get(self.name)
        return HUB_LICENSES.get(self.name) if is_usual else None


@dataclass(frozen=True)
class Publication:
    """The facts of a published data set.

    Attributes:
        name: of the data set.
        runs: the configurations of the runs, in order, by the split's name on the Hub.
        counts: targets read and trajectories, by the split's name.
        sources: the data sets behind the rows.
        states: the files of the table of states, by split.
        trajectories: the files of the table of trajectories, by split.
        drawn: how states show masks: `opacity`, `rgb`, and in `reduced` what bounds their size.
        version: of hlmat.
        date: of publication, as year-month-day.
    """

    name: str
    runs: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]
    sources: Sequence[SourceTerms]
    states: Mapping[str, Sequence[PublishedFile]]
    trajectories: Mapping[str, Sequence[PublishedFile]]
    drawn: Mapping[str, Any]
    version: str
    date: str

    @property
    def license_id(self) -> str:
        """The Hub's name of the license, `other` where sources have several or none."""
        names = {source.license_id for source in self.sources}
        name = names.pop() if len(names) == 1 else None
        return name or "other"

    @property
    def size_category(self) -> str:
        """The Hub's name for the number of rows of the table of states."""
        rows = sum(file.rows for files in self.states.values() for file in files)
        return next((name for most, name in _SIZES if rows < most), _LARGEST)

    @property
    def has_all_images(self) -> bool:
        """Whether no image is left out."""
        return all(source.has_images for source in self.sources)

    @property
    def cited_sources(self) -> list[str]:
        """The data sets to cite; the publisher's own data, in whatever format, is not one."""
        return [source.name for source in self.sources if source.declared is None]

    @property
    def segmenters(self) -> list[Mapping[str, Any]]:
        """The identities of the segmenters, by run."""
        return [config["segmenter"] for config in self.runs.values()]

    @property
    def citations(self) -> list[str]:
        """The references that are known, each once."""
        return references(self.cited_sources, self.segmenters)

    @property
    def files(self) -> list[PublishedFile]:
        """Every file of both tables, in order."""
        tables = (self.states, self.trajectories)
        return [file for table in tables for files in table.values() for file in files]


def hub_split(split: str) -> str:
    """Return a split's name as the Hub accepts it.

    The Hub has no split `all`, which selects every split; a data set without splits is `train`.

    >>> hub_split("testA"), hub_split("my-split"), hub_split("all")
    ('testA', 'my_split', 'train')
    """
    name = re.sub(r"\W+", "_", split, flags=re.ASCII).strip("_")
    return ALL_TARGETS if name in ("", "all") else name
