"""Load files of `torch.save` after checking every size in them against the file's.

`torch.load(weights_only=True)` runs no code, but trusts sizes: it allocates what a file declares,
reads past the end of a short storage, and unpacks compressed entries.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hlmat.transforms.core.pickle_reader import PickleReader
from hlmat.transforms.core.plain_content import brief, keys_among

_ZIP_START = b"PK\x03\x04"
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_MAX_DIRECTORY = 16 << 20
_MAX_PICKLE = 64 << 20
_MAX_DIMENSIONS = 64
"""The most dimensions of a tensor in PyTorch."""
# The first pickle of the older format, after its protocol number.
_LEGACY_MAGIC = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
_BYTES_OF_STORAGE = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("QUInt8Storage", "QInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
_SET = "set"
_DICT = "collections.OrderedDict"
_CALLED = frozenset(
    {
        _DICT,
        _SET,
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        # Their results are refused, because they are not dense tensors.
        "torch.serialization._get_layout",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_meta_tensor_no_storage",
    }
)


def load_checkpoint(data: bytes, *, stand_ins: Sequence[tuple[Any, str]] = ()) -> Any:
    """Load tensors and plain containers; no code named in the file is run.

    Args:
        data: the file's content.
        stand_ins: objects that replace further names, `package.module.name`, in the file.

    Returns:
        What was saved, on the CPU.

    Raises:
        ValueError: damaged, of another kind, contains code, or has sizes that exceed the file.
        Exception: any error that torch raises.
    """
    check_checkpoint(data, also_called={name for _, name in stand_ins})
    import torch

    with torch.serialization.safe_globals(list(stand_ins)):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def check_checkpoint(data: bytes, *, also_called: Collection[str] = ()) -> None:
    """Check everything that loading a file would allocate against the file's size.

    Args:
        data: the file's content: the zip format of torch 1.6 or the one before.
        also_called: names that the file may call besides those of tensors.

    Raises:
        ValueError: as `load_checkpoint`.
    """
    called = _CALLED | set(also_called)
    if data.startswith(_ZIP_START):
        _check_archive(data, called)
    else:
        _check_legacy(data, called)


def refusal(error: Exception) -> str:
    """Return why `load_checkpoint` failed, without torch's advice to load the file unsafely.

    >>> refusal(ValueError("its pickle holds a call to os.system"))
    'it holds code or objects (os.system), and none of that is run'
    """
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)|call to (\S+)|instantiate class (\S+)", text):
        named = next(n for n in found.groups() if n)
        return f"it holds code or objects ({named[:80]}), and none of that is run"
    first_sentence = (text.splitlines() or [""])[0].partition(". ")[0]
    return (
        "it is cut short, damaged or another kind of file "
        f"({type(error).__name__}: {first_sentence[:160]})"
    )


@dataclass(frozen=True)
class _Name:
    """A class or function named in the file; nothing is imported."""

    dotted: str


@dataclass
class _Made:
    """What a call would create."""

    arguments: tuple[Any, ...]
    items: list[Any] = field(default_factory=list)
    state: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class _Storage:
    numel: int
    num_bytes: int


class _CheckpointReader(PickleReader):
    """Builds a skeleton of a checkpoint: names, calls and storages, without any tensor.

    Args:
        called: names that may be called.
        room_for: returns how many bytes the file has for the storage with a key; None for no
            storage.
    """

    def __init__(
        self,
        data: bytes,
        start: int = 0,
        *,
        called: Collection[str] = (),
        room_for: Callable[[Any], int | None] = lambda _: None,
    ) -> None:
        super().__init__(data, start)
        self._called = called
        self._room_for = room_for
        self.storages: dict[Any, int] = {}

    def named(self, module: str, name: str) -> Any:
        return _Name(name if module in ("builtins", "__builtin__") else f"{module}.{name}")

    def called(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(function, _Name) or function.dotted not in self._called:
            what = function.dotted[:80] if isinstance(function, _Name) else type(function).__name__
            raise ValueError(f"its pickle holds a call to {what}")
        if function.dotted == "torch._utils._rebuild_tensor_v2":
            _check_tensor(arguments)
        elif function.dotted == _SET:
            keys_among([key for part in arguments for key in part])
        elif function.dotted == _DICT:
            keys_among([key for pairs in arguments for key, _ in pairs])
        return _Made(arguments)

    def stored(self, identity: Any) -> Any:
        match identity:
            case ("storage", _Name(dotted), key, str(), numel, *view) if len(view) < 2:
                size = _BYTES_OF_STORAGE.get(dotted.rpartition(".")[2])
            case _:
                raise ValueError(f"its pickle refers to {brief(identity)} instead of a storage")
        if size is None or not isinstance(key, str | int) or type(numel) is not int or numel < 0:
            raise ValueError(f"its storage {brief(key)} has {brief(numel)} of {dotted[:80]}")
        room = self._room_for(key)
        if room is None or numel * size > room:
            raise ValueError(
                f"its storage {brief(key)} declares {numel * size} bytes, the file has "
                f"{room or 0} for it"
            )
        self.storages[key] = max(numel * size, self.storages.get(key, 0))
        return _Storage(numel, numel * size)

    def filled(self, thing: Any, *, items: Sequence[Any] = (), state: Any = None) -> None:
        if not isinstance(thing, _Made):
            raise ValueError(f"its pickle fills a {type(thing).__name__}")
        keys_among(items[::2])
        thing.items += items
        thing.state.append(state)

    def parts_of(self, thing: Any) -> Iterable[Any]:
        if isinstance(thing, _Made):
            return [thing.arguments, thing.items, thing.state]
        return ()


def _check_tensor(arguments: tuple[Any, ...]) -> None:
    """Refuse a tensor larger than its storage: a view with a stride of 0 is huge once copied."""
    match arguments:
        case (_Storage(numel), int(), tuple(size), *_) if all(type(n) is int for n in size):
            if len(size) > _MAX_DIMENSIONS:
                raise ValueError(
                    f"its tensor has {len(size)} dimensions; PyTorch has {_MAX_DIMENSIONS} at most"
                )
            if math.prod(size) > numel:
                raise ValueError(
                    f"its tensor of shape {size!s:.80} has more elements than its storage, {numel}"
                )
        case _:
            raise ValueError("its pickle makes a tensor of something else than a storage")


def _check_archive(data: bytes, called: Collection[str]) -> None:
    sizes, pickle = _read_archive(data)
    _CheckpointReader(pickle, called=called, room_for=sizes.get).read()


def _read_archive(data: bytes) -> tuple[Mapping[Any, int], bytes]:
    """Return the size of each storage by its key, and the pickle that refers to them."""
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, size=len(data))
            # Torch takes the folder of the first entry as the archive's name.
            root = entries[0].filename.partition("/")[0] if entries else ""
            sizes = {
                entry.filename.removeprefix(f"{root}/data/"): entry.file_size
                for entry in entries
                if entry.filename.startswith(f"{root}/data/")
            }
            entry = archive.getinfo(f"{root}/data.pkl")
            if entry.file_size > _MAX_PICKLE:
                raise ValueError(f"its pickle has {entry.file_size} bytes, more than {_MAX_PICKLE}")
            return sizes, archive.read(entry)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"its archive is damaged: {error}") from error


def _check_entries(entries: Sequence[zipfile.ZipInfo], *, size: int) -> None:
    names: set[str] = set()
    for entry in entries:
        # Torch finds entries without regard to case.
        name = entry.filename.lower()
        if name in names or not name.isascii():
            raise ValueError(f"its archive holds {brief(name)} twice, or a name that is not ASCII")
        names.add(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {brief(name)} is compressed, which torch.save never does")
    total = sum(entry.file_size for entry in entries)
    if total > size:
        raise ValueError(f"its entries declare {total} bytes, the file has {size}")


def _check_directory(data: bytes) -> None:
    """Refuse an archive with a huge list of entries, or one that others could read differently."""
    start = len(data) - _ZIP_END.size
    if start < 0 or data[start : start + 4] != b"PK\x05\x06":
        raise ValueError("its archive is cut short: the list of entries is missing")
    *_, directory, offset, comment = _ZIP_END.unpack_from(data, start)
    locator = start - _ZIP64_LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        end = _ZIP64_LOCATOR.unpack_from(data, locator)[2]
        if end + _ZIP64_END.size != locator or data[end : end + 4] != b"PK\x06\x06":
            raise ValueError("its archive is damaged: the list of entries is somewhere else")
        directory, offset = _ZIP64_END.unpack_from(data, end)[-2:]
        start = end
    if comment or directory > _MAX_DIRECTORY or directory + offset != start:
        raise ValueError("its archive is damaged: the list of entries does not fit")


def _check_legacy(data: bytes, called: Collection[str]) -> None:
    """Check the format before torch 1.6: five pickles, then each storage's bytes."""
    if data[:1] != b"\x80" or not data.startswith(_LEGACY_MAGIC, 2):
        # Another kind of pickle: an error about its calls is clearer than one about a missing
        # header.
        _CheckpointReader(data, called=called).read()
        raise ValueError("it does not begin as torch writes files")
    position = 2 + len(_LEGACY_MAGIC)
    for _ in ("the protocol's version", "the machine that wrote it"):
        reader = _CheckpointReader(data, position)
        reader.read()
        position = reader.position
    reader = _CheckpointReader(data, position, called=called, room_for=lambda _: len(data))
    reader.read()
    keys = _CheckpointReader(data, reader.position)
    keys.read()
    total, left = sum(reader.storages.values()), len(data) - keys.position
    if total > left:
        raise ValueError(f"its storages declare {total} bytes, {left} are left for them")
