"""The files of an export for FiftyOne, by path below its output folder."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from hlmat.export.llama_factory.layout import WorkingLayout


@dataclass(frozen=True)
class FiftyOneLayout(WorkingLayout):
    """Paths of one export for FiftyOne.

    `metadata` is written last: a folder without it holds an unfinished export.
    """

    @property
    def metadata(self) -> str:
        """The fields of the data set."""
        return posixpath.join(self.out, "metadata.json")

    @property
    def samples(self) -> str:
        """The samples."""
        return posixpath.join(self.out, "samples.json")

    @property
    def images(self) -> str:
        """Folder of the images."""
        return posixpath.join(self.out, "data")
