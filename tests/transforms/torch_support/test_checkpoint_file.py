"""Files of torch.save: what is sound loads, and no size in a file is trusted."""

from __future__ import annotations

import io
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import pytest

from hostile_pickles import HOSTILE_PICKLES

torch = pytest.importorskip("torch")

from hlmat.transforms.torch_support.checkpoint_file import (  # noqa: E402
    check_checkpoint,
    load_checkpoint,
    refusal,
)

BOUNDS = (
    "is a key; texts|is to be remembered|is more than 32 times as large|nests deeper|to call after|"
    "numbers of 64 bits|is cut short|inside a container|holds a call to|instead of a storage"
)


def saved(content: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def rezipped(
    data: bytes, replaced: Mapping[str, bytes] | None = None, *, method: int = zipfile.ZIP_STORED
) -> bytes:
    """Write an archive again, with other content under some names."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(buffer, "w", compression=method) as new,
    ):
        for entry in old.infolist():
            name = entry.filename.rpartition("/")[2]
            new.writestr(entry.filename, (replaced or {}).get(name, old.read(entry)))
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_checkpoints_consist_of(zipped: bool):
    base = torch.arange(12.0)
    content = {
        "state_dict": OrderedDict(
            weight=base.reshape(3, 4),
            view=base[2:5],
            half=torch.ones(3, dtype=torch.float16),
            brain=torch.ones(3, dtype=torch.bfloat16),
            truth=torch.tensor([True, False]),
            empty=torch.zeros(0, 7),
            parameter=torch.nn.Parameter(torch.ones(2)),
            number=torch.tensor(5),
        ),
        "config": {"sizes": [1, 2], "names": ("a", "b"), "kind": {"x"}, "shape": torch.Size([3])},
        7: None,
    }
    loaded = load_checkpoint(saved(content, zipped=zipped))
    state = loaded.pop("state_dict")
    assert loaded == {"config": content["config"], 7: None}
    assert list(state) == list(content["state_dict"])
    for name, tensor in content["state_dict"].items():
        assert torch.equal(state[name], tensor), name


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", HOSTILE_PICKLES)
def test_pickles_that_are_endless_to_read_are_refused(name: str, zipped: bool):
    pickled = HOSTILE_PICKLES[name]
    if zipped:
        data = rezipped(saved([torch.ones(1)]), {"data.pkl": pickled})
    else:
        whole = saved([], zipped=False)
        data = whole[: whole.index(b"\x80\x02]q\x00.")] + pickled
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=BOUNDS):
            check_checkpoint(data)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_tensor_of_many_dimensions():
    # The product of a million sides is a number of a million digits.
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"
    sides = b"(" + b"K\xff" * 1_000_000 + b"t"
    pickled = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00"
        + sides
        + sides
        + b"\x89}tR."
    )
    data = rezipped(saved([torch.ones(1)]), {"data.pkl": pickled})
    with pytest.raises(ValueError, match=r"^its tensor has 1000000 dimensions; PyTorch has 64 at"):
        check_checkpoint(data)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_storage_of_more_bytes_than_the_file(zipped: bool):
    data = saved([torch.ones(2)], zipped=zipped)
    before, after = (b"K\x02tq\x06Q", b"J\xff\xff\xff\x7ftq\x06Q")
    if zipped:
        pickled = zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")
        assert before in pickled
        data = rezipped(data, {"data.pkl": pickled.replace(before, after)})
    else:
        before, after = before.replace(b"tq", b"Ntq"), after.replace(b"tq", b"Ntq")
        assert before in data
        data = data.replace(before, after)
    with pytest.raises(ValueError, match=r"declares 8589934588 bytes, the file has \d+ for it"):
        load_checkpoint(data)


def test_a_record_shorter_than_its_storage():
    data = rezipped(saved([torch.ones(1000)]), {"0": b"\0" * 8})
    with pytest.raises(ValueError, match="declares 4000 bytes, the file has 8 for it"):
        load_checkpoint(data)


def test_storages_that_together_are_larger_than_the_rest_of_the_file():
    data = saved([torch.ones(100), torch.ones(100)], zipped=False)
    with pytest.raises(ValueError, match="declare 800 bytes, 316 are left for them"):
        load_checkpoint(data[:-500])


def test_a_tensor_larger_than_its_storage():
    with pytest.raises(ValueError, match=r"shape \(1000000, 1000\) has more elements than its s"):
        load_checkpoint(saved([torch.ones(1).expand(1_000_000, 1000)]))


def test_compressed_entries():
    data = rezipped(saved([torch.zeros(1000)]), method=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"compressed, which torch\.save never does"):
        load_checkpoint(data)


def test_entries_that_share_their_bytes():
    data = bytearray(saved([torch.zeros(100), torch.ones(100)]))
    # The list of entries announces 2^20 bytes for the storage of the first tensor.
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
    data[place + 20 : place + 28] = struct.pack("<LL", 1 << 20, 1 << 20)
    with pytest.raises(ValueError, match=r"its entries declare \d+ bytes, the file has"):
        load_checkpoint(bytes(data))


@pytest.mark.parametrize("name", ["archive/data.pkl", "ARCHIVE/data.PKL"])
def test_a_second_pickle(name: str):
    buffer = io.BytesIO(saved([1]))
    with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate name")
        archive.writestr(name, b"\x80\x02K\x01.")
    with pytest.raises(ValueError, match=r"holds 'archive/data\.pkl' twice"):
        load_checkpoint(buffer.getvalue())


def test_a_list_of_entries_that_is_somewhere_else():
    data = saved([1])
    for changed in (data + b"\0", b"PK\x03\x04" + data, data[:-1] + b"\x09"):
        with pytest.raises(ValueError, match=r"its archive is (damaged|cut short)"):
            load_checkpoint(changed)


def test_tar_files():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(ValueError, match="has no operand"):
        load_checkpoint(buffer.getvalue())


def test_what_may_be_called():
    for content in (bytearray(3), slice(3), complex(1, 2)):
        with pytest.raises(ValueError, match="its pickle holds a call to"):
            load_checkpoint(saved(content))


def test_why_a_file_is_refused():
    with pytest.raises(ValueError, match="holds a call to") as caught:
        load_checkpoint(saved(complex(1, 2)))
    assert refusal(caught.value) == "it holds code or objects (complex), and none of that is run"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_files_cut_short(zipped: bool, share: float):
    data = saved({"a": torch.ones(50)}, zipped=zipped)
    with pytest.raises((ValueError, RuntimeError)):
        load_checkpoint(data[: int(len(data) * share)])
