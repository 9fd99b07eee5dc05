"""A storage that follows no links out of a data root."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.records import RejectReason
from hlmat.transforms.core.storage import OpensFiles, ReadableFile, Storage


@dataclass(frozen=True)
class ConfinedStorage:
    """Files below a local folder; links that lead out of it are not followed.

    Attributes:
        inner: reads the files.
        root: the folder, which may be a link itself.
    """

    inner: Storage
    root: str

    def read_bytes(self, path: str) -> bytes:
        """Return a file's content; also raises TargetError (PATH_ESCAPES_ROOT)."""
        self.check(path)
        return self.inner.read_bytes(path)

    def open_file(self, path: str) -> ReadableFile | None:
        """Open a file; None if `inner` cannot; also raises TargetError (PATH_ESCAPES_ROOT)."""
        self.check(path)
        return self.inner.open_file(path) if isinstance(self.inner, OpensFiles) else None

    def write_bytes(self, path: str, data: bytes) -> None:
        self.check(path)
        self.inner.write_bytes(path, data)

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        self.check(path)
        self.inner.write_pieces(path, pieces)

    def list_dir(self, path: str) -> list[str]:
        """Return the names in a folder; also raises TargetError (PATH_ESCAPES_ROOT)."""
        self.check(path)
        return self.inner.list_dir(path)

    def is_file(self, path: str) -> bool:
        return self.inner.is_file(path)

    def is_dir(self, path: str) -> bool:
        return self.inner.is_dir(path)

    def remove(self, path: str) -> None:
        self.check(path)
        self.inner.remove(path)

    def remove_dir(self, path: str) -> None:
        self.check(path)
        self.inner.remove_dir(path)

    def check(self, path: str) -> None:
        """Raise TargetError (PATH_ESCAPES_ROOT) if a link leads from a path out of the root."""
        if "\0" in path:
            return
        root, real = os.path.realpath(self.root), os.path.realpath(path)
        if real != root and not real.startswith(os.path.join(root, "")):
            raise TargetError(
                RejectReason.PATH_ESCAPES_ROOT,
                f"{path} is a link to {real}, outside of the data root {self.root}; add "
                "--follow-links if that is meant",
            )
