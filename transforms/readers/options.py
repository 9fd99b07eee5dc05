"""What every reader is opened with."""

from __future__ import annotations

from dataclasses import dataclass, field

from hlmat.transforms.core.storage import LocalStorage, Storage
from hlmat.transforms.readers.shapes.scene import ShapesOptions


@dataclass(frozen=True)
class ReaderOptions:
    """What a reader is opened with.

    Attributes:
        data_root: the data set's folder, a path or URL; None for generated data.
        split: the data set's own name of a split; None takes its default.
        storage: reaches `data_root`.
        split_by: RefCOCO family: who made the split; None takes the default.
        annotations: coco, trace: the JSON file, relative to `data_root`.
        shapes: what to generate.
    """

    data_root: str | None = None
    split: str | None = None
    storage: Storage = field(default_factory=LocalStorage)
    split_by: str | None = None
    annotations: str | None = None
    shapes: ShapesOptions = field(default_factory=ShapesOptions)
