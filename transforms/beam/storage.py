"""Access Beam's file systems through the interface `Storage`."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hlmat.transforms.core.atomic_files import temporary_path
from hlmat.transforms.core.storage import LocalStorage, Storage


def storage_for(*paths: str | None) -> Storage:
    """Return the storage that reaches all of the paths.

    URLs (``gs://``, ``s3://``, ``hdfs://``, or any scheme that Beam knows here) go through Beam,
    which also reads local paths; local paths alone go straight to the disk.
    """
    if any(path is not None and "://" in path for path in paths):
        return BeamStorage()
    return LocalStorage()


@dataclass(frozen=True)
class BeamStorage:
    """Files of every scheme that Beam has a file system for; local paths go to the disk."""

    def read_bytes(self, path: str) -> bytes:
        if "://" not in path:
            return LocalStorage().read_bytes(path)
        if not self.is_file(path):
            raise FileNotFoundError(path)
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            return f.read()

    def write_bytes(self, path: str, data: bytes) -> None:
        if "://" not in path:
            LocalStorage().write_bytes(path, data)
            return
        temporary = temporary_path(path)
        with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as f:
            f.write(data)
        try:
            FileSystems.rename([temporary], [path])
        except BeamIOError as error:
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
        return FileSystems.exists(path)

    def is_dir(self, path: str) -> bool:
        if "://" not in path:
            return LocalStorage().is_dir(path)
        return bool(self._match(path.rstrip("/") + "/**", limit=1))

    def remove(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove(path)
        elif FileSystems.exists(path):
            FileSystems.delete([path])

    def remove_dir(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove_dir(path)
        elif found := self._match(path.rstrip("/") + "/**"):
            FileSystems.delete(found)

    def _match(self, pattern: str, *, limit: int | None = None) -> list[str]:
        try:
            result = FileSystems.match([pattern], limits=[limit])[0]
        except BeamIOError as error:
            causes = (error.exception_details or {}).values()
            if causes and all(isinstance(cause, FileNotFoundError) for cause in causes):
                return []
            raise OSError(f"{pattern} cannot be listed: {error}") from error
        return [metadata.path for metadata in result.metadata_list]
