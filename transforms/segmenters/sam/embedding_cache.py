"""Cache image embeddings on the device, in memory and on disk, each of bounded size.

A second policy, another click limit or a search over the same images then encodes nothing.
Embeddings that do not fit on the device move to memory, least recently used first. The folder is
written immediately, so that later processes find them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.storage import LocalStorage

if TYPE_CHECKING:
    import torch

_SUFFIX = ".npy"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreLimits:
    """The capacity of an `EmbeddingStore`.

    Attributes:
        device_bytes: on the device that the model runs on.
        host_bytes: in memory.
        folder: a local folder that outlives the process, or None.
        folder_bytes: in that folder.
    """

    device_bytes: int = 0
    host_bytes: int = 0
    folder: str | None = None
    folder_bytes: int = 100 * 1024**3

    def __post_init__(self) -> None:
        for name in ("device_bytes", "host_bytes", "folder_bytes"):
            if getattr(self, name) < 0:
                raise ConfigError([f"{name} must be 0 or more, got {getattr(self, name)}"])
        if self.folder is not None and "://" in self.folder:
            raise ConfigError(
                [f"embeddings are kept in a local folder; {self.folder!r} is a URL, give a path"]
            )


def embedding_key(image: Image, *, identity: str) -> str:
    """Return the name of an image's embedding.

    Args:
        image: uint8 RGB. Shape: (H, W, 3).
        identity: everything else that determines the embedding: weights, precision.
    """
    digest = hashlib.sha256(f"{identity} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class EmbeddingStore:
    """Keeps embeddings by key; not thread-safe.

    Several processes may share a folder.

    Args:
        limits: the capacity of each place.
        device: where `get` returns embeddings.

    Raises:
        ConfigError: the folder cannot be created.
    """

    def __init__(self, limits: StoreLimits, *, device: torch.device) -> None:
        self._limits = limits
        self._device = device
        self._on_device = _Shelf(limits.device_bytes)
        self._in_memory = _Shelf(limits.host_bytes)
        self._folder = None if limits.folder is None else _Folder(limits)

    def get(self, key: str) -> torch.Tensor | None:
        """Return an embedding on the device, or None if none is cached."""
        found = self._on_device.take(key)
        if found is None:
            found = self._in_memory.take(key)
            if found is None and self._folder is not None:
                found = self._folder.read(key)
            if found is None:
                return None
            found = found.to(self._device, non_blocking=True)
        self._keep(key, found)
        return found

    def put(self, key: str, embedding: torch.Tensor) -> None:
        """Cache an embedding if there is room."""
        self._keep(key, embedding)
        if self._folder is not None:
            self._folder.write(key, embedding)

    def _keep(self, key: str, embedding: torch.Tensor) -> None:
        for moved_key, moved in self._on_device.add(key, embedding):
            self._in_memory.add(moved_key, moved.cpu())


class _Shelf:
    """Tensors up to a total size; the least recently used is evicted first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tensors: OrderedDict[str, torch.Tensor] = OrderedDict()

    def take(self, key: str) -> torch.Tensor | None:
        tensor = self._tensors.pop(key, None)
        if tensor is not None:
            self._bytes -= tensor.nbytes
        return tensor

    def add(self, key: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """Add a tensor; return the evicted ones: the tensor itself if it is too large."""
        self.take(key)
        self._tensors[key] = tensor
        self._bytes += tensor.nbytes
        left: list[tuple[str, torch.Tensor]] = []
        while self._bytes > self._max_bytes:
            oldest, leaving = self._tensors.popitem(last=False)
            self._bytes -= leaving.nbytes
            left.append((oldest, leaving))
        return left


class _Folder:
    """Embeddings as NumPy files; the least recently used is removed first."""

    def __init__(self, limits: StoreLimits) -> None:
        self._path = os.path.abspath(limits.folder or "")
        self._max_bytes = limits.folder_bytes
        self._writable = True
        try:
            os.makedirs(self._path, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                [
                    f"the folder of embeddings {self._path} cannot be made: {error.strerror}; "
                    "give another one"
                ]
            ) from error
        self._bytes = sum(size for _, _, size in self._files())

    def read(self, key: str) -> torch.Tensor | None:
        import torch

        path = self._file(key)
        try:
            # Memory-mapped, so that a header cannot declare more data than the file contains.
            array = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            _log.warning("%s cannot be read (%s); computing it again", path, error)
            return None
        return torch.from_numpy(array)

    def write(self, key: str, embedding: torch.Tensor) -> None:
        if not self._writable:
            return
        buffer = io.BytesIO()
        np.save(buffer, embedding.cpu().numpy(), allow_pickle=False)
        data = buffer.getvalue()
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            self._make_room(len(data))
        if len(data) > self._max_bytes:
            return
        try:
            LocalStorage().write_bytes(self._file(key), data)
        except OSError as error:
            self._writable = False
            _log.warning(
                "%s cannot be written (%s): the run goes on, further embeddings are not kept",
                self._path,
                error.strerror,
            )

    def _make_room(self, size: int) -> None:
        """Remove the least recently used files, a tenth more than needed, so that this is rare."""
        files = sorted(self._files())
        held = sum(size for _, _, size in files)
        goal = max(0.9 * self._max_bytes - size, 0)
        for _, path, size_of_file in files:
            if held <= goal:
                break
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            held -= size_of_file
        self._bytes = held + size

    def _files(self) -> list[tuple[float, str, int]]:
        """Return (last use, path, bytes) of each embedding; another process may remove some."""
        found: list[tuple[float, str, int]] = []
        with os.scandir(self._path) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        found.append((status.st_mtime, entry.path, status.st_size))
        return found

    def _file(self, key: str) -> str:
        return os.path.join(self._path, key + _SUFFIX)
