"""The benchmarks of interactive segmentation in their usual layout: GrabCut, Berkeley, DAVIS,
COCO_MVal."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from hlmat.transforms.core.errors import LayoutError
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.readers.captions import coco_mval_text, main_object
from hlmat.transforms.readers.level_targets import LevelTargets
from hlmat.transforms.readers.mask_folders import (
    PairedFilesReader,
    PairedFolders,
    TextOfStem,
    has_pairs,
    shown_entries,
)
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.terms import LICENSES


@dataclass(frozen=True)
class Benchmark:
    """One benchmark; its only split is called test."""

    folder: str
    images: str
    masks: str
    rule: MaskRule
    text: TextOfStem


BENCHMARKS: Mapping[str, Benchmark] = {
    "grabcut": Benchmark(
        "GrabCut",
        "data_GT",
        "boundary_GT",
        MaskRule.TRIMAP,
        main_object,
    ),
    "berkeley": Benchmark(
        "Berkeley",
        "images",
        "masks",
        MaskRule.FOREGROUND,
        main_object,
    ),
    "davis": Benchmark("DAVIS", "img", "gt", MaskRule.PALETTE_INDEX, main_object),
    "coco_mval": Benchmark(
        "COCO_MVal",
        "img",
        "gt",
        MaskRule.FOREGROUND,
        coco_mval_text,
    ),
}


def open_interactive(name: str, options: ReaderOptions) -> PairedFilesReader:
    """Open a benchmark; the data root is the folder that holds it, or the benchmark's own.

    Raises:
        LayoutError: it is not there.
    """
    benchmark = BENCHMARKS[name]
    root, storage = options.data_root or "", options.storage
    for base in (benchmark.folder, ""):
        images, masks = (posixpath.join(base, sub) for sub in (benchmark.images, benchmark.masks))
        if not has_pairs(storage, root, images=images, masks=masks):
            continue
        folders = PairedFolders(
            dataset=name,
            split="test",
            images=images,
            masks=masks,
            rule=benchmark.rule,
            text=benchmark.text,
            license=LICENSES[name],
        )
        layout = f"{name} in the usual layout at {base or root}"
        levels = LevelTargets.of(options)
        return PairedFilesReader(name, "test", root, storage, (folders,), layout, levels)
    raise LayoutError(
        f"{root} does not contain {name}: looked for {benchmark.folder}/{benchmark.images} with "
        f"{benchmark.folder}/{benchmark.masks}, or {benchmark.images} with {benchmark.masks}; "
        f"found: {shown_entries(storage, root)}; check --data-root"
    )
