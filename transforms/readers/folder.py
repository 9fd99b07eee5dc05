"""A user's own data: a folder of images, a folder of masks, optional captions."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hlmat.transforms.core.errors import LayoutError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.readers.caption_files import CaptionFiles, find_caption_files
from hlmat.transforms.readers.class_names import CLASS_FILES
from hlmat.transforms.readers.files.images import load_image_file
from hlmat.transforms.readers.given_captions import Captioned, give_captions
from hlmat.transforms.readers.level_targets import LevelTargets
from hlmat.transforms.readers.mask_folders import PairedFilesReader, PairedFolders, shown_entries
from hlmat.transforms.readers.object_masks import is_object_folder
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.panoptic import PanopticReader, find_panoptic
from hlmat.transforms.readers.terms import LICENSES

IMAGES, MASKS = "images", "masks"


def the_object(stem: str) -> str:
    """Return the text of a target without a caption."""
    return "the object"


@dataclass(frozen=True)
class FolderReader:
    """Pairs of ``images/`` and ``masks/``, sub-folders included, with captions by file name.

    Attributes:
        pairs: the pairs, or the segments of panoptic masks, without their captions.
        captions: the files of captions.
    """

    pairs: PairedFilesReader | PanopticReader
    captions: CaptionFiles

    @property
    def name(self) -> str:
        """The `--dataset` name."""
        return self.pairs.name

    @property
    def split(self) -> str:
        """The data set's name of the split."""
        return self.pairs.split

    def describe_layout(self) -> str:
        """Return one line: the recognised layout, and how many targets have captions.

        Raises:
            DataError: as `read_targets`.
        """
        listed = self._listed
        files = ", ".join(listed.files) or "none"
        return (
            f"{self.pairs.layout}, captions: {files}; {listed.captioned} of {listed.targets} "
            "targets have one"
        )

    def remarks(self) -> list[str]:
        """Return remarks on the captions, a sentence each.

        Raises:
            DataError: as `read_targets`.
        """
        return list(self._listed.remarks)

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List every target with its captions.

        Raises:
            DataError: captions are malformed, or none of them names an existing file; raised before
                the first target, so that a limited run fails too.
        """
        yield from self._listed.items

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's mask. Raises TargetError."""
        return self.pairs.load_truth(ref)

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(
            self.pairs.storage, self.pairs.root, image_path, size_hw=size_hw, turn_must_show=True
        )

    @cached_property
    def _listed(self) -> Captioned:
        return give_captions(
            list(self.pairs.read_targets()),
            self.captions,
            storage=self.pairs.storage,
            root=self.pairs.root,
        )

    def __getstate__(self) -> dict[str, Any]:
        # A listed file stays where it was found.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def open_folder(name: str, options: ReaderOptions) -> FolderReader:
    """Open a folder with ``images/`` and ``masks/``.

    Raises:
        LayoutError: one of the two is not there, or there are two files of captions or of
            panoptic annotations.
        DataError: the names of classes cannot be read.
    """
    root, storage = options.data_root or "", options.storage
    absent = [f"{n}/" for n in (IMAGES, MASKS) if not storage.is_dir(posixpath.join(root, n))]
    if absent:
        raise LayoutError(
            f"{root} is not a folder data set: {' and '.join(absent)} missing; expected {IMAGES}/ "
            f"and {MASKS}/ with files of the same stems, and captions.csv (or .tsv, .json, .jsonl) "
            f"if there are captions; found: {shown_entries(storage, root)}"
        )
    groups = ["", *sorted(_sub_folders(storage, root))]
    folders = tuple(
        PairedFolders(
            dataset=name,
            split="all",
            images=posixpath.join(IMAGES, group) if group else IMAGES,
            masks=posixpath.join(MASKS, group) if group else MASKS,
            rule=MaskRule.TWO_LEVELS,
            text=the_object,
            license=LICENSES["folder"],
            group=group,
            has_objects=True,
        )
        for group in groups
    )
    captions = find_caption_files(
        storage, root, folders=["", *(f.images for f in folders), MASKS], known=CLASS_FILES
    )
    layout = f"images and masks in {root}"
    levels = LevelTargets.of(options)
    pairs = None if levels is not None else find_panoptic(name, options)
    if pairs is None:
        pairs = PairedFilesReader(name, "all", root, storage, folders, layout, levels)
    return FolderReader(pairs, captions)


def _sub_folders(storage: Storage, root: str) -> set[str]:
    """Return the folders below images/ and masks/, relative to these, except those that contain the
    objects of one image."""
    found: set[str] = set()
    for top in (IMAGES, MASKS):
        waiting = [""]
        while waiting:
            group = waiting.pop()
            beside = posixpath.join(root, IMAGES, group)
            for name in storage.list_dir(posixpath.join(root, top, group)):
                if not name.endswith("/") or name.startswith((".", "__MACOSX")):
                    continue
                if top == MASKS and is_object_folder(storage, beside, name.rstrip("/")):
                    continue
                below = posixpath.join(group, name.rstrip("/"))
                found.add(below)
                waiting.append(below)
    return found
