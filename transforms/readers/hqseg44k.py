"""HQSeg-44K and its parts, in sam-hq's tree or in each part's original one."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hlmat.transforms.core.errors import LayoutError
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.readers.captions import (
    coift_text,
    dis5k_text,
    fss1000_text,
    salient_object,
    thinobject5k_text,
)
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

SAM_HQ = "sam-hq's tree"
ORIGINAL = "the original tree"
# Sub-folder names that identify neither data set nor split.
_COMMON_NAMES = (("", ""), ("im", "gt"), ("images", "masks"))


@dataclass(frozen=True)
class Layout:
    """One layout of a split of a part on disk.

    Attributes:
        tree: whose tree it is, for messages.
        folder: from the root of that tree. The data root may be any folder on the path, down to
            this one.
        images: below `folder`; empty if the images are in it.
        masks: below `folder`; equal to `images` if both are together.
        listing: below `folder`: which masks belong to the split.
        by_class: `folder` holds one folder per class, with images and masks together.
        rule: how masks are read.
    """

    tree: str
    folder: str
    images: str = ""
    masks: str = ""
    listing: str | None = None
    by_class: bool = False
    rule: MaskRule = MaskRule.FOREGROUND


@dataclass(frozen=True)
class Part:
    """A data set that is part of HQSeg-44K.

    Attributes:
        text: derives the expression from a stem.
        layouts: by split, those to look for in this order.
    """

    text: TextOfStem
    layouts: Mapping[str, Sequence[Layout]]


def _dis5k(folder: str) -> list[Layout]:
    return [Layout(SAM_HQ, f"DIS5K/{folder}", "im", "gt")]


def _thinobject5k(split: str) -> list[Layout]:
    folder = "ThinObject5K"
    return [
        Layout(SAM_HQ, f"thin_object_detection/{folder}", f"images_{split}", f"masks_{split}"),
        Layout(ORIGINAL, folder, "images", "masks", listing=f"list/{split}.txt"),
    ]


def _duts(folder: str) -> list[Layout]:
    return [
        Layout(SAM_HQ, f"cascade_psp/{folder}"),
        Layout(ORIGINAL, f"DUTS/{folder}", f"{folder}-Image", f"{folder}-Mask"),
    ]


PARTS: Mapping[str, Part] = {
    "dis5k": Part(
        dis5k_text,
        {
            "train": _dis5k("DIS-TR"),
            "val": _dis5k("DIS-VD"),
            **{f"te{i}": _dis5k(f"DIS-TE{i}") for i in range(1, 5)},
        },
    ),
    "thinobject5k": Part(
        thinobject5k_text,
        {"train": _thinobject5k("train"), "test": _thinobject5k("test")},
    ),
    "fss1000": Part(
        fss1000_text,
        {
            "train": [
                Layout(SAM_HQ, "cascade_psp/fss_all"),
                Layout(ORIGINAL, "fewshot_data", by_class=True),
                Layout(ORIGINAL, "FSS-1000", by_class=True),
            ]
        },
    ),
    "duts": Part(
        salient_object,
        {"train": _duts("DUTS-TR"), "test": _duts("DUTS-TE")},
    ),
    "ecssd": Part(
        salient_object,
        {
            "train": [
                Layout(SAM_HQ, "cascade_psp/ecssd"),
                Layout(ORIGINAL, "ECSSD", "images", "ground_truth_mask"),
            ]
        },
    ),
    "msra10k": Part(
        salient_object,
        {
            "train": [
                Layout(SAM_HQ, "cascade_psp/MSRA_10K"),
                Layout(ORIGINAL, "MSRA10K_Imgs_GT/Imgs"),
            ]
        },
    ),
    "coift": Part(
        coift_text,
        {
            "val": [
                Layout(
                    SAM_HQ,
                    "thin_object_detection/COIFT",
                    "images",
                    "masks",
                    rule=MaskRule.OBJECT_ID,
                )
            ]
        },
    ),
    "hrsod": Part(
        salient_object,
        {
            "val": [
                Layout(SAM_HQ, "thin_object_detection/HRSOD", "images", "masks_max255"),
                Layout(ORIGINAL, "HRSOD", "images", "masks", rule=MaskRule.OBJECT_ID),
            ]
        },
    ),
}

COLLECTIONS: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]] = {
    "hqseg44k": {
        "train": [
            ("dis5k", "train"),
            ("thinobject5k", "train"),
            ("fss1000", "train"),
            ("duts", "train"),
            ("duts", "test"),
            ("ecssd", "train"),
            ("msra10k", "train"),
        ],
        "val": [
            ("dis5k", "val"),
            ("coift", "val"),
            ("hrsod", "val"),
            ("thinobject5k", "test"),
        ],
    },
    "hres": {
        "train": [("dis5k", "train"), ("thinobject5k", "train")],
        "val": [("dis5k", "val"), ("thinobject5k", "test")],
    },
}
"""The splits of parts that make up a split of a collection."""


def splits_of(name: str) -> tuple[str, ...]:
    """Return the splits of a part or a collection, the default first."""
    return tuple(COLLECTIONS[name] if name in COLLECTIONS else PARTS[name].layouts)


def open_hqseg(name: str, options: ReaderOptions) -> PairedFilesReader:
    """Open a part, or a collection of the parts that are present.

    Args:
        name: a key of `PARTS` or `COLLECTIONS`.
        options: with the split resolved.

    Raises:
        LayoutError: none of it is below the data root.
    """
    root, split = options.data_root or "", options.split or splits_of(name)[0]
    members = COLLECTIONS[name][split] if name in COLLECTIONS else [(name, split)]
    found: list[PairedFolders] = []
    said: list[str] = []
    missing: list[str] = []
    for part, part_split in members:
        recognised = _recognise(part, part_split, root=root, storage=options.storage)
        if recognised is None:
            missing.append(f"{part} {part_split}")
        else:
            folders, description = recognised
            found.extend(folders)
            said.append(f"{part} {part_split} in {description}")
    if not found:
        raise LayoutError(_not_found(name, split, members, root=root, storage=options.storage))
    layout = "; ".join(said)
    if missing:
        layout += f"; not there: {', '.join(missing)}"
    return PairedFilesReader(
        name, split, root, options.storage, tuple(found), layout, LevelTargets.of(options)
    )


def _recognise(
    part: str, split: str, *, root: str, storage: Storage
) -> tuple[list[PairedFolders], str] | None:
    for layout in PARTS[part].layouts[split]:
        for base in _places(layout, root=root, storage=storage):
            folders = _folders_at(base, layout, part, split, root=root, storage=storage)
            if folders:
                return folders, f"{layout.tree} at {base or root}"
    return None


def _places(layout: Layout, *, root: str, storage: Storage) -> Iterator[str]:
    """List where below the root a layout's folder may be: its whole path, every end of it, the
    root itself if it has the folder's name or identifying sub-folders, and one level deeper."""
    parts = layout.folder.split("/")
    for skipped in range(len(parts)):
        yield "/".join(parts[skipped:])
    root_name = posixpath.basename(root.rstrip("/"))
    is_telling = (layout.images, layout.masks) not in _COMMON_NAMES or layout.listing
    if is_telling or root_name.casefold() == parts[-1].casefold():
        yield ""
    for name in storage.list_dir(root):
        if name.endswith("/"):
            yield name + layout.folder


def _folders_at(
    base: str, layout: Layout, part: str, split: str, *, root: str, storage: Storage
) -> list[PairedFolders]:
    def below(name: str) -> str:
        return posixpath.join(base, name) if name else base

    plain = PairedFolders(
        dataset=part,
        split=split,
        images=below(layout.images),
        masks=below(layout.masks),
        rule=layout.rule,
        text=PARTS[part].text,
        license=LICENSES[part],
        listing=below(layout.listing) if layout.listing else None,
    )
    if layout.by_class:
        classes = [
            name.rstrip("/")
            for name in storage.list_dir(posixpath.join(root, base))
            if name.endswith("/")
        ]
        grouped = [
            replace(plain, images=below(name), masks=below(name), group=name) for name in classes
        ]
        return grouped if any(_is_there(f, root=root, storage=storage) for f in grouped) else []
    if plain.listing and not storage.is_file(posixpath.join(root, plain.listing)):
        return []
    return [plain] if _is_there(plain, root=root, storage=storage) else []


def _is_there(folders: PairedFolders, *, root: str, storage: Storage) -> bool:
    return has_pairs(storage, root, images=folders.images, masks=folders.masks)


def _not_found(
    name: str,
    split: str,
    members: Sequence[tuple[str, str]],
    *,
    root: str,
    storage: Storage,
) -> str:
    wanted = []
    for part, part_split in members:
        for layout in PARTS[part].layouts[part_split]:
            names = (
                "<class>/<n>.jpg and .png"
                if layout.by_class
                else " and ".join(dict.fromkeys(filter(None, (layout.images, layout.masks))))
                or ".jpg and .png side by side"
            )
            wanted.append(f"  {layout.folder} with {names} ({layout.tree})")
    return (
        f"{root} does not contain {name}, split {split}. Looked for, there or one level deeper:\n"
        + "\n".join(wanted)
        + f"\nfound in {root}: {shown_entries(storage, root)}; check --data-root and --split"
    )
