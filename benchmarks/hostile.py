"""Peak memory and time of inputs that are made to exhaust a machine.

    python -m benchmarks.hostile
    python -m benchmarks.hostile --megapixels 119

Each input is read in a process of its own, forked when all is imported. `--megapixels` makes a run
of six grey images of 16 bit and that size in one unit, and the same run with small images.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as PilImage

from hlmat.pipelines.settings.yaml_files import read_override
from hlmat.transforms.core.errors import HlmatError
from hlmat.transforms.core.storage import LocalStorage
from hlmat.transforms.masks.images import decode_image
from hlmat.transforms.masks.rle import rle_problem
from hlmat.transforms.readers.files.json import read_json
from hlmat.transforms.readers.files.parquet_rows import RowCache
from hlmat.transforms.readers.files.pickle import load_plain_pickle
from hlmat.transforms.torch_support.checkpoint_file import check_checkpoint

_PROTO = b"\x80\x02"
_PIXELS = 10**6
_IMAGES = 6


def main() -> None:
    """Run the measurement and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.megapixels:
            _measure_unit(Path(folder), arguments.megapixels)
            return
        print("| input | bytes | outcome | peak, MB | processor, s |\n|---|---|---|---|---|")
        for name, (data, read) in _inputs(Path(folder)).items():
            outcome, peak_mb, seconds = _measured(read)
            print(f"| {name} | {len(data):,} | {outcome} | {peak_mb:.0f} | {seconds:.2f} |")


def _inputs(folder: Path) -> Mapping[str, tuple[bytes, Callable[[], object]]]:
    pickles = {
        "a tuple nested 100,000 deep as a key": _PROTO + b"})" + b"\x85" * 100_000 + b"K\x01s.",
        "an index of 2^28": _PROTO + b"]r" + struct.pack("<I", 1 << 28) + b"(K\x01K\x02e.",
        "shared lists": _PROTO + _shared_lists(60) + b".",
    }
    found: dict[str, tuple[bytes, Callable[[], object]]] = {}
    for name, data in pickles.items():
        found[f"refs: {name}"] = data, _bound(load_plain_pickle, data, name="refs.p")
    for name, data in pickles.items():
        archive = _archive(data)
        found[f".pth: {name}"] = archive, _bound(check_checkpoint, archive)
    runs = b"_oooo3" * 64
    found["run lengths of large numbers"] = runs, _bound(rle_problem, runs.decode(), (480, 640))
    deep = b"[" * 10**6
    (folder / "deep.json").write_bytes(deep)
    found["JSON nested a million deep"] = (
        deep,
        _bound(read_json, LocalStorage(), str(folder / "deep.json")),
    )
    aliases = (
        "a="
        + "[&a [x,x,x,x,x,x,x,x,x]"
        + "".join(
            f",&{chr(98 + k)} [{','.join(f'*{chr(97 + k)}' for _ in range(9))}]" for k in range(9)
        )
    )
    found["YAML that grows by its aliases"] = (
        aliases.encode(),
        _bound(read_override, aliases + "]"),
    )
    claim = _png_that_claims(60_000, 60_000)
    found["a PNG that claims 3,600 megapixels"] = claim, _bound(decode_image, claim, name="a.png")
    table = _table_of_one_image(folder / "a.parquet")
    found["a Parquet file with one image in 400 rows"] = (
        table,
        _bound(RowCache().value, LocalStorage(), str(folder), "a.parquet", row=399, column="image"),
    )
    return found


def _bound(function: Callable[..., object], *values: Any, **named: Any) -> Callable[[], object]:
    return lambda: function(*values, **named)


def _shared_lists(levels: int) -> bytes:
    parts = [b")q\x000"]
    for level in range(levels):
        get = b"h" + bytes([level])
        parts.append(b"](" + get + get + b"eq" + bytes([level + 1]) + b"0")
    return b"".join(parts) + b"h" + bytes([levels])


def _archive(pickled: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def _png_that_claims(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    PilImage.new("L", (8, 8)).save(stream, "PNG")
    data = stream.getvalue()
    head = data[12:16] + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def _table_of_one_image(path: Path) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PilImage.fromarray(image).save(stream, "PNG")
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), [stream.getvalue()])
    options: Any = {"use_dictionary": ["image"], "dictionary_pagesize_limit": 1 << 26}
    pq.write_table(pa.table({"image": cells}), path, store_schema=False, **options)
    return path.read_bytes()


def _measured(read: Callable[[], object]) -> tuple[str, float, float]:
    """Read an input in another process; return the outcome, the peak in MB and the seconds."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _status_kb("VmRSS")
        try:
            problem = read()
            outcome = problem if isinstance(problem, str) else "read"
        except HlmatError as error:
            outcome = str(error)
        # An outcome like any other in the table, where it would stand out.
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        text = f"{(_status_kb('VmHWM') - before) / 1e3} {' '.join(outcome.split())[:60]}"
        os.write(sender, text.encode("utf-8", "replace"))
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as f:
        text = f.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        return f"ended by {status}", usage.ru_maxrss / 1e3, usage.ru_utime + usage.ru_stime
    peak_mb, _, outcome = text.partition(" ")
    return outcome.replace("|", "/"), float(peak_mb), usage.ru_utime + usage.ru_stime


def _status_kb(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise SystemExit(f"/proc/self/status has no {key}: this needs Linux")


def _measure_unit(folder: Path, megapixels: int) -> None:
    """Print the peak of a run over large images, and of the same run over small ones."""
    side = int((megapixels * _PIXELS) ** 0.5)
    for name, length in (("small", 64), ("large", side)):
        root = folder / name
        _write_images(root, side=length)
        started = time.monotonic()
        command = [
            *(sys.executable, "-m", "hlmat", "trajectories", "--dataset", "folder", "-q"),
            *("--data-root", str(root), "--workers", "1", "--max-clicks", "1", "--unit-size", "6"),
            *("--segmenter", "hlmat.transforms.segmenters.disc:DiscSegmenter"),
            *("--out", str(folder / f"{name}-out")),
        ]
        subprocess.run(command, check=True)
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        seconds = time.monotonic() - started
        print(f"six images of {length} x {length}: {peak_mb:.0f} MB, {seconds:.0f} s", flush=True)


def _write_images(root: Path, *, side: int) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    row = np.linspace(0, 65_535, side, dtype=np.uint16)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    for number in range(_IMAGES):
        image = np.broadcast_to(np.roll(row, number), (side, side))
        PilImage.fromarray(np.ascontiguousarray(image)).save(
            root / "images" / f"{number}.png", compress_level=1
        )
        PilImage.fromarray(mask).save(root / "masks" / f"{number}.png", compress_level=1)


if __name__ == "__main__":
    main()
