"""Data sets of image files and mask files that share their stems."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.protocols import Image, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.masks.mask_values import MaskValues
from hlmat.transforms.readers.files.images import (
    IMAGE_SUFFIXES,
    is_image_name,
    load_image_file,
    load_mask_file,
    split_suffix,
)
from hlmat.transforms.readers.level_targets import LevelTargets
from hlmat.transforms.readers.object_masks import ObjectMasks, mask_preference, take_object_masks

TextOfStem = Callable[[str], str]


@dataclass(frozen=True)
class PairedFolders:
    """A folder of images and a folder of masks, which may be the same one.

    Attributes:
        dataset: the `--dataset` name of the part they belong to.
        split: the part's own name of the split.
        images: folder relative to the data root.
        masks: folder relative to the data root; if it is `images`, masks are the ``.png`` files.
        rule: how mask images are read.
        text: gives the expression for a stem (with `group` in front of it).
        license: the part's terms.
        listing: a text file with one mask name per line: the members of the split.
        group: put before each stem, with a slash, in ids and for `text`.
        has_objects: whether an image may have several masks, one for each object.
    """

    dataset: str
    split: str
    images: str
    masks: str
    rule: MaskRule
    text: TextOfStem
    license: str
    listing: str | None = None
    group: str = ""
    has_objects: bool = False


@dataclass(frozen=True)
class PairedFilesReader:
    """Lists the pairs in some folders; each mask is one target.

    Attributes:
        name: the `--dataset` name.
        split: of the data set.
        root: the data root as the user gave it.
        storage: reaches `root`.
        folders: in the order in which they are listed.
        layout: the recognised layout, for messages.
        levels: meaning of the masks' levels, in place of the folders' rules; None uses the rules.
    """

    name: str
    split: str
    root: str
    storage: Storage
    folders: tuple[PairedFolders, ...]
    layout: str
    levels: LevelTargets | None = None

    def describe_layout(self) -> str:
        """Return one line on which layout was recognised, and where."""
        return self.layout

    def read_targets(self) -> Iterator[TargetRef | Reject]:
        """List every pair, folder by folder and sorted by stem; an unpaired file gives a `Reject`.

        Raises:
            DataError: a listing cannot be read.
        """
        for folders in self.folders:
            yield from self._read_folders(folders)

    def load_truth(self, ref: TargetRef) -> TruthMasks:
        """Read a target's mask. Raises TargetError."""
        return load_referenced_mask(self.storage, self.root, json.loads(ref.truth_ref))

    def load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Read an image as uint8 RGB. Raises TargetError."""
        return load_image_file(self.storage, self.root, image_path, size_hw=size_hw)

    def _read_folders(self, folders: PairedFolders) -> Iterator[TargetRef | Reject]:
        images, masks, unread = self._list_stems(folders)
        objects: dict[str, ObjectMasks] = {}
        if folders.has_objects:
            objects = take_object_masks(
                self.storage,
                images_folder=self._path(folders.images),
                masks_folder=self._path(folders.masks),
                images=images,
                masks=masks,
            )
        wanted = self._listed_stems(folders)
        stems = sorted((images.keys() | masks.keys()) if wanted is None else wanted)
        for stem in stems:
            of_stem = images.get(stem, [])
            found = objects.get(stem) or ObjectMasks.of_files(masks.get(stem, []))
            image = of_stem[0] if of_stem else f"{stem}.jpg"
            mask = next(iter(found.files.values()), f"{stem}.png")
            ref = _build_ref(folders, stem, image=image, mask=mask)
            if not of_stem:
                reason = RejectReason.MISSING_IMAGE
                why = f"{folders.images} has no image with the stem {stem!r}"
                yield Reject(ref, reason, why + _type_remark(unread.get((folders.images, stem))))
            elif not found.files:
                reason = RejectReason.MISSING_MASK
                why = f"{folders.masks} has no mask with the stem {stem!r}"
                yield Reject(ref, reason, why + _type_remark(unread.get((folders.masks, stem))))
            else:
                yield from self._read_objects(folders, stem, image=image, found=found)
            for other in of_stem[1:]:
                yield Reject(
                    _build_ref(folders, stem, image=other, mask=mask),
                    RejectReason.DUPLICATE_ID,
                    f"{other} has the stem of {image}, which was taken; keep one of the two images",
                )
            for other, why in found.left_out:
                yield Reject(
                    _build_ref(folders, stem, image=image, mask=other),
                    RejectReason.DUPLICATE_ID,
                    why,
                )

    def _read_objects(
        self, folders: PairedFolders, stem: str, *, image: str, found: ObjectMasks
    ) -> Iterator[TargetRef | Reject]:
        """Yield the targets of an image that has masks."""
        number = 0
        for key, mask in found.files.items():
            ref = _build_ref(folders, stem, image=image, mask=mask, key=key, number=number)
            items = (
                [ref]
                if self.levels is None
                else self.levels.targets_of(ref, storage=self.storage, root=self.root)
            )
            for item in items:
                yield item
                number += 1

    def _list_stems(
        self, folders: PairedFolders
    ) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[tuple[str, str], str]]:
        """Return image files by stem, mask files by stem, and files of other types.

        Of several files of a stem, the preferred one comes first. A file of another type than
        images have is given by its folder and stem.
        """
        images: dict[str, list[str]] = {}
        masks: dict[str, list[str]] = {}
        unread: dict[tuple[str, str], str] = {}
        is_flat = folders.images == folders.masks
        for name in self.storage.list_dir(self._path(folders.images)):
            stem, suffix = split_suffix(name)
            if not is_image_name(name):
                if not is_flat:
                    unread[folders.images, stem] = name
            elif is_flat and suffix == ".png":
                masks.setdefault(stem, []).append(name)
            else:
                images.setdefault(stem, []).append(name)
        if not is_flat:
            for name in self.storage.list_dir(self._path(folders.masks)):
                stem, _ = split_suffix(name)
                if is_image_name(name):
                    masks.setdefault(stem, []).append(name)
                else:
                    unread[folders.masks, stem] = name
        for names in masks.values():
            names.sort(key=mask_preference)
        return images, masks, unread

    def _listed_stems(self, folders: PairedFolders) -> set[str] | None:
        if folders.listing is None:
            return None
        path = self._path(folders.listing)
        try:
            text = self.storage.read_bytes(path).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read as a list of mask names ({error}); expected UTF-8 text "
                "with one name per line"
            ) from error
        names = (posixpath.basename(line.strip()) for line in text.splitlines())
        return {_without_image_suffix(name) for name in names if name}

    def _path(self, relative: str) -> str:
        return posixpath.join(self.root, relative) if relative else self.root


def _type_remark(unread: str | None) -> str:
    if unread is None:
        return ""
    return (
        f"; {unread} is not read: expected {', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"
    )


def _without_image_suffix(name: str) -> str:
    stem, suffix = split_suffix(name)
    return stem if suffix in IMAGE_SUFFIXES else name


def load_referenced_mask(storage: Storage, root: str, reference: Mapping[str, str]) -> TruthMasks:
    """Read the mask of a `truth_ref`: a path as `mask`, and a `rule` or the meaning of `values`.

    Raises:
        TargetError: as `load_mask_file`.
    """
    rule = (
        MaskValues.parse(reference["values"])
        if "values" in reference
        else MaskRule(reference["rule"])
    )
    return load_mask_file(storage, root, reference["mask"], rule=rule)


def _build_ref(
    folders: PairedFolders, stem: str, *, image: str, mask: str, key: str = "", number: int = 0
) -> TargetRef:
    grouped = f"{folders.group}/{stem}" if folders.group else stem
    reference = {"mask": posixpath.join(folders.masks, mask), "rule": str(folders.rule)}
    return TargetRef(
        target_id=f"{folders.dataset}/{folders.split}/{grouped}" + (f":{key}" if key else ""),
        dataset=folders.dataset,
        split=folders.split,
        image_path=posixpath.join(folders.images, image),
        image_name=image,
        image_id=None,
        object_id=number,
        expressions=(folders.text(grouped),),
        truth_ref=json.dumps(reference),
        license=folders.license,
    )


def has_pairs(storage: Storage, root: str, *, images: str, masks: str) -> bool:
    """Return whether two folders below a root contain images, or one contains both kinds."""
    suffixes = [_suffixes(storage, posixpath.join(root, folder)) for folder in (images, masks)]
    if images == masks:
        return ".png" in suffixes[0] and bool(suffixes[0] - {".png"})
    return all(suffixes)


def _suffixes(storage: Storage, folder: str) -> set[str]:
    return {split_suffix(name)[1] for name in storage.list_dir(folder) if is_image_name(name)}


def shown_entries(storage: Storage, folder: str) -> str:
    """Return what is in a folder, for messages."""
    names = storage.list_dir(folder)
    if not names:
        return "nothing" if storage.is_dir(folder) else "no such folder"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
