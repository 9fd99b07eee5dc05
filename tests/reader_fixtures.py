"""Small data sets in memory, and checks that every reader must pass."""

from __future__ import annotations

import io
import json
import pickle
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image as PilImage

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.core.storage import MemoryStorage

SIZE_HW = (6, 8)
SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]


def image(size_hw: tuple[int, int] = SIZE_HW, kind: str = "JPEG") -> bytes:
    """Return the file of a grey image."""
    return _file(np.full((*size_hw, 3), 90, np.uint8), kind)


def mask_image(size_hw: tuple[int, int] = SIZE_HW, kind: str = "PNG") -> bytes:
    """Return the file of a mask with a rectangle of 255."""
    values = np.zeros(size_hw, np.uint8)
    values[1:4, 2:6] = 255
    return _file(values, kind)


def turned_image(size_hw: tuple[int, int], orientation: int, kind: str = "JPEG") -> bytes:
    """Return the file of an image that is dark left of the middle, with an EXIF tag."""
    values = np.full((*size_hw, 3), 200, np.uint8)
    values[:, : size_hw[1] // 2] = 20
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    return _file(values, kind, exif=exif)


def _file(values: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def as_json(content: object) -> bytes:
    return json.dumps(content).encode()


def split_items(reader: DatasetReader) -> tuple[list[TargetRef], list[Reject]]:
    """List a reader's targets and rejects, after the checks that hold for every reader."""
    items = list(reader.read_targets())
    again = list(pickle.loads(pickle.dumps(reader)).read_targets())
    assert items == again, "the order must be fixed and a reader must survive pickling"
    refs = [item for item in items if isinstance(item, TargetRef)]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert max(Counter(ref.target_id for ref in refs).values(), default=1) == 1
    assert all(ref.expressions and all(ref.expressions) for ref in refs)
    assert all(ref.license and ref.split and not ref.image_path.startswith("/") for ref in refs)
    assert all(reject.message for reject in rejects)
    assert reader.describe_layout()
    return refs, rejects


def reasons(rejects: list[Reject]) -> list[str]:
    return [str(reject.reason) for reject in rejects]


def assert_all_load(reader: DatasetReader, refs: list[TargetRef]) -> None:
    """Check that image and mask of every target can be read and have one size."""
    for ref in refs:
        masks = reader.load_truth(ref)
        assert masks.truth.any()
        assert masks.truth.dtype == np.bool_
        size_hw = (masks.truth.shape[0], masks.truth.shape[1])
        image = reader.load_image(ref.image_path, size_hw=size_hw)
        assert image.shape == (*size_hw, 3)
        assert image.dtype == np.uint8


def truth_error(reader: DatasetReader, ref: TargetRef) -> TargetError:
    """Return the error that a target's mask gives."""
    try:
        reader.load_truth(ref)
    except TargetError as error:
        return error
    raise AssertionError(f"{ref.target_id} can be read")


def memory(files: dict[str, bytes]) -> MemoryStorage:
    """Return a storage with files below ``data/``."""
    return MemoryStorage({f"data/{name}": content for name, content in files.items()})
