"""Files behind URLs, through fsspec: object stores, Hugging Face, and HTTP to read from.

Credentials and endpoints are those of each store's own tools: environment variables
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, ...), their
configuration files, and `FSSPEC_<STORE>_<OPTION>`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from hlmat.transforms.core.atomic_files import remove_stale_files, temporary_path
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.core.suggestions import did_you_mean

_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "azure"),
    **dict.fromkeys(("hf", "http", "https"), "web"),
}
"""Extra of the package that reaches a scheme."""
_WAITS_S = (0.5, 2.0)
"""Before a failed request is repeated."""
_REPEATING = ("s3", "gcs", "azure")
"""Extras whose library repeats requests itself, with backoff."""
_IN_PARTS = ("s3", "gcs")
"""Extras whose library uploads a large file in parts of a size that can be chosen."""
_PART_BYTES = 1 << 23
_KEPT_BYTES = 1 << 26
_DIGEST_KEYS = ("md5Hash", "crc32c", "blob_id", "ETag", "etag")
_TIME_KEYS = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
"""Of a file, in the listings of fsspec's file systems."""

Result = TypeVar("Result")


def storage_for(*paths: str | None, scratch: str | None = None, is_data: bool = False) -> Storage:
    """Return the storage that reaches all of the paths.

    Args:
        paths: local paths and URLs; local paths alone go straight to the disk.
        scratch: folder of temporary files on the disk; None puts a hidden one next to each file.
        is_data: they belong to a data set, which nobody changes meanwhile: a folder behind a URL
            is listed once, and the latest files are kept.
    """
    if any(path is not None and "://" in path for path in paths):
        return UrlStorage(scratch, keeps=is_data)
    return LocalStorage(scratch)


def url_problem(path: str | None) -> str | None:
    """Return why a URL is unsupported, as a sentence; None for local paths too."""
    if path is None or "://" not in path:
        return None
    import fsspec

    scheme = path.partition("://")[0]
    if scheme in ("file", "local"):
        return f"{path}: give a local path without {scheme}://"
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        return (
            f"{path}: {scheme}:// is not a supported scheme; {did_you_mean(scheme, _EXTRAS)}choose "
            "s3://, gs://, az:// or, to read from, hf:// or https://"
        )
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        cure = f"pip install 'hlmat[{extra}]'" if extra else "install it"
        return f"{path}: the package for {scheme}:// is missing ({error}); {cure}"
    return None


@dataclass(frozen=True)
class FileStamp:
    """What a store's listing says of a file.

    Attributes:
        size: in bytes.
        mark: a digest of the content, or when it was written, as the store names it.
    """

    size: int
    mark: str


@dataclass(frozen=True)
class UrlStorage:
    """Files of every scheme that fsspec has a file system for; local paths go to the disk.

    An object appears whole or not at all, so nothing is written under another name first.

    Attributes:
        scratch: as in `storage_for`.
        keeps: listings and the latest files, as in `storage_for`.
    """

    scratch: str | None = None
    keeps: bool = False

    def read_bytes(self, path: str) -> bytes:
        if "://" not in path:
            return LocalStorage().read_bytes(path)

        def read() -> bytes:
            return _attempt(path, lambda fs, place: fs.cat_file(place))

        return _FILES.get(path, read) if self.keeps else read()

    def write_bytes(self, path: str, data: bytes) -> None:
        if "://" not in path:
            LocalStorage(self.scratch).write_bytes(path, data)
            return
        try:
            _attempt(path, lambda fs, place: fs.pipe_file(place, data))
        except FileNotFoundError as error:
            raise _no_bucket(path, error) from error

    def write_pieces(self, path: str, pieces: Iterable[bytes]) -> None:
        """Write a file as `write_bytes` does, through a temporary one on this machine's disk.

        The pieces are complete before the upload begins. The upload holds some parts of
        `_PART_BYTES` in memory.
        """
        if "://" not in path:
            LocalStorage(self.scratch).write_pieces(path, pieces)
            return
        parts = {"chunksize": _PART_BYTES} if _extra_of(path) in _IN_PARTS else {}
        with _on_disk(pieces) as file:
            try:
                _attempt(path, lambda fs, place: fs.put_file(file, place, **parts))
            except FileNotFoundError as error:
                raise _no_bucket(path, error) from error

    def list_dir(self, path: str) -> list[str]:
        if "://" not in path:
            return LocalStorage().list_dir(path)
        return sorted(self._names(path.rstrip("/")))

    def is_file(self, path: str) -> bool:
        if "://" not in path:
            return LocalStorage().is_file(path)
        folder, _, name = path.rpartition("/")
        if self.keeps and not path.startswith("http"):
            return name in self._names(folder)
        try:
            return _attempt(path, lambda fs, place: fs.info(place))["type"] == "file"
        except FileNotFoundError:
            return False

    def is_dir(self, path: str) -> bool:
        if "://" not in path:
            return LocalStorage().is_dir(path)
        return bool(self._names(path.rstrip("/")))

    def remove(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove(path)
            return
        try:
            _attempt(path, lambda fs, place: fs.rm_file(place))
        except FileNotFoundError:
            return

    def remove_dir(self, path: str) -> None:
        if "://" not in path:
            LocalStorage().remove_dir(path)
            return
        try:
            _attempt(path, lambda fs, place: fs.rm(place, recursive=True))
        except FileNotFoundError:
            return

    def listed_stamp(self, path: str) -> FileStamp | None:
        """Return a file's entry in the listing of its folder; None without one.

        Raises:
            FileNotFoundError: the folder was listed, and the file is not in it.
        """
        folder, _, name = path.rpartition("/")
        names = _LISTINGS.peek(folder) if self.keeps else None
        if not names:
            return None
        if name not in names:
            raise FileNotFoundError(path)
        return names[name]

    def _names(self, folder: str) -> Mapping[str, FileStamp | None]:
        def names() -> Mapping[str, FileStamp | None]:
            try:
                return _attempt(folder, _listed)
            except (FileNotFoundError, NotADirectoryError):
                return {}

        return _LISTINGS.get(folder, names) if self.keeps else names()


def _listed(fs: Any, place: str) -> dict[str, FileStamp | None]:
    prefix = place.rstrip("/") + "/"
    names: dict[str, FileStamp | None] = {}
    for entry in fs.ls(place, detail=True):
        name = entry["name"].rstrip("/").removeprefix(prefix)
        # A file is listed as itself; some tools mark a folder by an object of its name.
        if name and "/" not in name:
            is_folder = entry["type"] == "directory"
            names[f"{name}/" if is_folder else name] = None if is_folder else _stamp(entry)
    return names


def _stamp(entry: Mapping[str, Any]) -> FileStamp | None:
    """Return what a store's listing says of a file's content: a digest, else when it changed."""
    size = entry.get("size")
    if not isinstance(size, int):
        return None
    for keys, kind in ((_DIGEST_KEYS, "digest"), (_TIME_KEYS, "changed")):
        for key in keys:
            if value := entry.get(key):
                return FileStamp(size, f"{kind} {key} {value}".replace('"', ""))
    return FileStamp(size, "size alone")


def _attempt(path: str, work: Callable[[Any, str], Result]) -> Result:
    """Do something with a file system and its own name of a path; repeat it if that may help.

    Raises:
        FileNotFoundError, NotADirectoryError, PermissionError: as the store says.
        OSError: of any other failure, in one line.
        ConfigError: no package reaches the path.
    """
    for wait_s in (None,) if _extra_of(path) in _REPEATING else (*_WAITS_S, None):
        try:
            fs = _file_system(path)
            return work(fs, fs._strip_protocol(path))
        except (FileNotFoundError, NotADirectoryError, ConfigError):
            raise
        except PermissionError as error:
            text = " ".join(str(error).split())
            raise PermissionError(f"{path}: access denied: {text}") from error
        except NotImplementedError as error:
            raise OSError(f"{path}: files there can only be read") from error
        # The stores' libraries raise their own exceptions.
        except Exception as error:
            if wait_s is None:
                raise OSError(f"{path}: {_one_line(error)}") from error
            time.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")


def _file_system(path: str) -> Any:
    if (problem := url_problem(path)) is not None:
        raise ConfigError([problem])
    import fsspec

    # fsspec keeps one for each scheme. Its cache of listings would hide other workers' files.
    return fsspec.filesystem(path.partition("://")[0], use_listings_cache=False)


@contextlib.contextmanager
def _on_disk(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield a temporary file with the pieces; a killed process's are removed by the next one."""
    folder = tempfile.gettempdir()
    remove_stale_files(folder)
    path = temporary_path("upload", folder=folder)
    try:
        with open(path, "wb") as f:
            try:
                f.writelines(pieces)
                f.flush()
            except OSError as error:
                # A full disk names no file.
                error.filename = error.filename or folder
                raise
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _extra_of(path: str) -> str | None:
    return _EXTRAS.get(path.partition("://")[0])


def _no_bucket(path: str, error: FileNotFoundError) -> OSError:
    """Return the error of writing to a store, which has no folders: its bucket is missing."""
    return OSError(f"{path}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Kept:
    """What was read of URLs, the latest of it; shared by the threads of this process."""

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self._values: OrderedDict[str, Any] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    def peek(self, path: str) -> Any:
        """Return what is kept, None if nothing is."""
        with self._lock:
            return self._values.get(path)

    def get(self, path: str, read: Callable[[], Result]) -> Result:
        with self._lock:
            if path in self._values:
                self._values.move_to_end(path)
                return self._values[path]
        value: Any = read()
        with self._lock:
            if path not in self._values:
                self._values[path] = value
                self._bytes += len(value)
            while self._max_bytes is not None and self._bytes > self._max_bytes:
                self._bytes -= len(self._values.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
            self._bytes = 0


_FILES = _Kept(max_bytes=_KEPT_BYTES)
_LISTINGS = _Kept()


def forget_kept() -> None:
    """Forget listings and files, which a process that lives on may find changed."""
    _FILES.clear()
    _LISTINGS.clear()
