"""The files of an export as tables, by path below its output folder."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from hlmat.export.llama_factory.layout import WorkingLayout

_SHARD = re.compile(r"[A-Za-z0-9_.]+-\d{5,}-of-\d{5,}\.parquet")


@dataclass(frozen=True)
class TableLayout(WorkingLayout):
    """Paths of one export as tables.

    `last` is written last: a folder without it holds an unfinished export.

    Attributes:
        last_name: name of the file that is written last.
        folders: of the tables.
        names: of further files that the export writes.
    """

    last_name: str
    folders: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """The file that makes the folder a finished export."""
        return posixpath.join(self.out, self.last_name)

    def path(self, name: str) -> str:
        """Return the path of a file by its name in the folder."""
        return posixpath.join(self.out, name)

    @staticmethod
    def shard_name(folder: str, split: str, index: int, count: int) -> str:
        """Return the name of a table's file, in the form that the Hub recommends.

        >>> TableLayout.shard_name("data", "train", 0, 3)
        'data/train-00000-of-00003.parquet'
        """
        return f"{folder}/{split}-{index:05d}-of-{count:05d}.parquet"

    @staticmethod
    def is_shard(name: str) -> bool:
        """Return whether a name without its folder is that of a table's file."""
        return _SHARD.fullmatch(name) is not None
