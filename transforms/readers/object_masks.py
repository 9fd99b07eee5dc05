"""Find the masks of an image's objects by their names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from hlmat.transforms.core.storage import Storage
from hlmat.transforms.readers.files.images import is_image_name, split_suffix

# Lossless first: of two masks, the JPEG is a preview.
_MASK_PREFERENCE = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")
_WORDS = "mask|masks|seg|segmentation|gt|label|labels|matte|object|obj|instance|inst"
_ENDING = re.compile(
    rf"[-_. ](?:(?:{_WORDS})(?:[-_. ]?([0-9]+))?|([0-9]+)(?:[-_. ](?:{_WORDS}))?)", re.IGNORECASE
)
_OWN_STEM, _NAMED, _NUMBERED, _FOLDER = range(4)


@dataclass(frozen=True)
class ObjectMasks:
    """The mask files of one image.

    Attributes:
        files: by what distinguishes each from the image's others; empty for a single file.
        left_out: further files, with the reason.
    """

    files: Mapping[str, str]
    left_out: Sequence[tuple[str, str]] = ()

    @classmethod
    def of_files(cls, names: Sequence[str]) -> ObjectMasks:
        """Return the mask of an image that has the same stem.

        Args:
            names: preferred file first.
        """
        return cls(
            {"": names[0]} if names else {},
            [
                (
                    other,
                    f"{other} has the stem of {names[0]}, which was taken; keep one of the two "
                    "masks",
                )
                for other in names[1:]
            ],
        )


def mask_preference(name: str) -> tuple[int, str]:
    """Return the key by which mask files of one stem are sorted."""
    return _MASK_PREFERENCE.index(split_suffix(name)[1]), name


def files_by_stem(names: Iterable[str]) -> dict[str, str]:
    """Return the image files of a folder by stem, lossless ones first."""
    found: dict[str, str] = {}
    files = [name for name in names if is_image_name(name)]
    for name in sorted(files, key=mask_preference):
        found.setdefault(split_suffix(name)[0], name)
    return found


def take_object_masks(
    storage: Storage,
    *,
    images_folder: str,
    masks_folder: str,
    images: Mapping[str, Sequence[str]],
    masks: MutableMapping[str, list[str]],
) -> dict[str, ObjectMasks]:
    """Return the masks of each image, and remove them from `masks`.

    For an image ``cup.jpg`` these are, in this order, ``cup.png`` (or ``cup.jpg.png``);
    ``cup_mask.png`` and its like; ``cup_0.png``, ``cup_1.png``, ... (or ``cup_mask_0.png``); the
    files of a folder ``cup/``. Only the first of these that exists is used, so that no object
    counts twice; files in the other forms are left out.

    Args:
        storage: reaches both folders.
        images_folder: a folder in it of the same name as an image is one of images, and so is the
            one of masks next to it.
        masks_folder: the folder of the masks.
        images: image files by stem.
        masks: mask files by stem.
    """
    stems = {name: stem for stem, names in images.items() for name in names}
    ways: dict[str, list[dict[str, list[str]]]] = {}
    for stem in [stem for stem in masks if stem not in images]:
        image, way, key = _image_of(stem, images=images, stems=stems)
        if image is not None:
            of_way = ways.setdefault(image, [{}, {}, {}, {}])[way]
            of_way.setdefault(key, []).extend(masks.pop(stem))
    folders = {entry for entry in storage.list_dir(images_folder) if entry.endswith("/")}
    for entry in storage.list_dir(masks_folder):
        name = entry.removesuffix("/")
        image = name if name in images else stems.get(name)
        if image is None or not entry.endswith("/") or entry in folders:
            continue
        if inside := _masks_in(storage, masks_folder, name):
            ways.setdefault(image, [{}, {}, {}, {}])[_FOLDER].update(inside)
    for image, of_image in ways.items():
        if image in masks:
            of_image[_OWN_STEM].setdefault("", []).extend(masks.pop(image))
    return {image: _one_way(image, of_image) for image, of_image in ways.items()}


def is_object_folder(storage: Storage, images: str, name: str) -> bool:
    """Return whether a folder of masks contains the objects of one image.

    Args:
        storage: reaches `images`.
        images: the folder of images next to the folder of masks.
        name: of the folder of masks.
    """
    entries = storage.list_dir(images)
    if f"{name}/" in entries:
        return False
    return any(
        entry == name or (split_suffix(entry)[0] == name and is_image_name(entry))
        for entry in entries
    )


def _image_of(
    stem: str, *, images: Mapping[str, Sequence[str]], stems: Mapping[str, str]
) -> tuple[str | None, int, str]:
    """Return an image's stem, the form in which a mask's stem extends it, and the rest."""
    if stem in stems:
        return stems[stem], _OWN_STEM, ""
    # The longest image stem that the mask's stem begins with.
    for end in range(len(stem) - 1, 0, -1):
        if not (ending := _ENDING.fullmatch(stem, end)):
            continue
        image = stem[:end] if stem[:end] in images else stems.get(stem[:end])
        if image is not None:
            number = ending[1] or ending[2]
            return image, _NAMED if number is None else _NUMBERED, stem[end + 1 :]
    return None, _OWN_STEM, ""


def _masks_in(storage: Storage, folder: str, name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in storage.list_dir(posixpath.join(folder, name)):
        if is_image_name(file):
            found.setdefault(split_suffix(file)[0], []).append(posixpath.join(name, file))
    return found


def _one_way(image: str, ways: Sequence[Mapping[str, list[str]]]) -> ObjectMasks:
    """Return the masks in the first form of which an image has any."""
    way, taken = next((number, taken) for number, taken in enumerate(ways) if taken)
    files: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    for key in sorted(taken, key=_by_number):
        first, *others = sorted(taken[key], key=mask_preference)
        left_out += ObjectMasks.of_files([first, *others]).left_out
        files[key] = first
    first = next(iter(files.values()))
    rest = [name for further in ways[way + 1 :] for names in further.values() for name in names]
    if way == _NAMED:
        rest += [name for name in files.values() if name != first]
        files = {"": first}
    left_out += [
        (
            other,
            f"{other} is another mask of the image {image!r}, whose mask is {first}; keep its "
            "masks in one way: one file, numbered files, or a folder",
        )
        for other in rest
    ]
    return ObjectMasks(files, sorted(left_out))


def _by_number(key: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10."""
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", key)
    ]
