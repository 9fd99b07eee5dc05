"""Access Beam's file systems through the interface `Storage`.

Beam is imported when a URL is reached: local paths need none of it, and it takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hlmat.transforms.core.atomic_files import temporary_path
from hlmat.transforms.core.storage import LocalStorage, Storage

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems

# The value of Beam's CompressionTypes.UNCOMPRESSED.
_AS_IT_IS = "uncompressed"


def storage_for(*paths: str | None, scratch: str | None = None) -> Storage:
    """Return the storage that reaches all of the paths.

    Args:
        paths: local paths and URLs.
        scratch: folder of temporary files; None puts a hidden one beside each file.

    URLs (``gs://``, ``s3://``, ``hdfs://``, or any scheme that Beam knows here) go through Beam,
    which also reads local paths; local paths alone go straight to the disk.
    """
    if any(path is not None and "://" in path for path in paths):
        return BeamStorage(scratch)
    return LocalStorage(scratch)


def _file_systems() -> type[FileSystems]:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


@dataclass(frozen=True)
class BeamStorage:
    """Files of every scheme that Beam has a file system for; local paths go to the disk.

    Attributes:
        scratch: folder of temporary files; None puts a hidden one beside each file.
    """

    scratch: str | None = None

    def read_bytes(self, path: str) -> bytes:
        if "://" not in path:
            return LocalStorage().read_bytes(path)
        if not self.is_file(path):
            raise FileNotFoundError(path)
        with _file_systems().open(path, compression_type=_AS_IT_IS) as f:
            return f.read()

    def write_bytes(self, path: str, data: bytes) -> None:
        if "://" not in path:
            LocalStorage(self.scratch).write_bytes(path, data)
            return
        temporary = temporary_path(path, folder=self.scratch)
        with _file_systems().create(temporary, compression_type=_AS_IT_IS) as f:
            f.write(data)
        try:
            _file_systems().rename([temporary], [path])
        except OSError as error:
            raise OSError(f"{path}: {error}") from error

    def list_dir(self, path: str) -> list[str]:
        if "://" not in path:
            return LocalStorage().list_dir(path)
        prefix = path.rstrip("/") + "/"
        names = set()
        for found in self._match(prefix + "**"):
            first, slash, _ = found[len(prefix) :].partition("/")
            names.add(first + slash)
        return sorted(names)

    def is_file(self, path: str) -> bool:
        if "://" not in path:
            return LocalStorage().is_file(path)
        return _file_systems().exists(path)

    def is_dir(self, path: str) -> bool:
        if "://" not in path:
            return LocalStorage().is_dir(path)
        return bool(self._match(path.rstrip("/") + "/**", limit=1))

    def remove(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove(path)
        elif _file_systems().exists(path):
            _file_systems().delete([path])

    def remove_dir(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove_dir(path)
        elif found := self._match(path.rstrip("/") + "/**"):
            _file_systems().delete(found)

    def _match(self, pattern: str, *, limit: int | None = None) -> list[str]:
        try:
            result = _file_systems().match([pattern], limits=[limit])[0]
        except OSError as error:
            causes = (getattr(error, "exception_details", None) or {}).values()
            if causes and all(isinstance(cause, FileNotFoundError) for cause in causes):
                return []
            raise OSError(f"{pattern} cannot be listed: {error}") from error
        return [metadata.path for metadata in result.metadata_list]
