"""Find the images that an annotation file names: their folders, and COCO's names for them."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from unicodedata import normalize
from urllib.parse import unquote

from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.storage import Storage, join_under

COCO_BASES = ("images/mscoco/images", "images", "", "coco", "coco/images", "mscoco/images")
"""Common places of COCO's images, relative to the data root."""

_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)20[0-9]{2}_)?([0-9]{12})(\.[A-Za-z]+)")
_COCO_SETS = (
    ("train2014", "COCO_train2014_"),
    ("val2014", "COCO_val2014_"),
    ("train2017", ""),
    ("val2017", ""),
    ("test2014", "COCO_test2014_"),
    ("test2015", "COCO_test2015_"),
    ("test2017", ""),
    ("unlabeled2017", ""),
)
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_PROBED_IMAGES = 20


def coco_name(image_id: int) -> str:
    """Return a COCO image's name in the 2017 format.

    >>> coco_name(42)
    '000000000042.jpg'
    """
    return f"{image_id:012d}.jpg"


def dated_splits(split: str) -> list[str]:
    """Return COCO's own names of a split that is given without its year, the newest first.

    >>> dated_splits("val"), dated_splits("val2017")
    (['val2017', 'val2014'], [])
    """
    return [f"{split}{year}" for year in (2017, 2014)] if split.isalpha() else []


def is_coco_name(name: str) -> bool:
    """Return whether an image's name is one that COCO gives.

    >>> is_coco_name("train2014/COCO_train2014_000000000042.jpg"), is_coco_name("42.jpg")
    (True, False)
    """
    return _COCO_NAME.fullmatch(posixpath.basename(name)) is not None


class ImagePlaces:
    """Finds images below a data root by the names that a file has for them.

    Folder listings are cached: one listing costs less than a check of each file.

    Args:
        storage: reaches `root`.
        root: the data root.
        folders: where images may lie, relative to the root; the first that holds some counts.
        names: all names in the annotation file.
        coco_bases: further places of images with COCO's names.
    """

    def __init__(
        self,
        storage: Storage,
        root: str,
        *,
        folders: Sequence[str],
        names: Iterable[str] = (),
        coco_bases: Sequence[str] = COCO_BASES,
    ) -> None:
        self._storage, self._root = storage, root
        self._listed: dict[str, frozenset[str]] = {}
        self._barred: TargetError | None = None
        self._coco_bases = coco_bases
        self._bare_names: Counter[str] | None = None
        self._spellings: Counter[str] | None = None
        self._spelled: dict[str, dict[str, list[str]]] = {}
        self._names = list(names)
        self.folders = tuple(dict.fromkeys(folders))
        self.folder = self._probe()

    def find(self, name: str) -> str:
        """Return an image's path relative to the root, with forward slashes.

        A name written on Windows is read with either separator. If no file has the name, COCO's
        other names for the image are tried, and the name without the eight characters that Label
        Studio prepends to uploads, if that is unambiguous. For a missing image, return where it
        should be.

        Raises:
            TargetError: PATH_ESCAPES_ROOT: the name leads out of the root, or a link does where the
                image may be.
        """
        join_under("data root", posixpath.join(self.folder, name))
        # Prepending a folder would hide that a name is absolute.
        join_under("data root", _without_steps_back(name))
        for path in self._candidates(name):
            if self._is_there(path):
                return path
        if self._barred is not None:
            raise self._barred
        if (path := self._by_other_spelling(name)) is not None:
            return path
        return _below(self.folder, name.replace("\\", "/")) or name

    def _candidates(self, name: str) -> Iterator[str]:
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            if (path := _below(self.folder, spelled)) is not None:
                yield path
        folder, bare = posixpath.split(name.replace("\\", "/"))
        if (digits := _COCO_NAME.fullmatch(bare)) is not None:
            yield from self._coco_paths(digits[1] + digits[2], folder)
        short = _without_upload_prefix(bare)
        if short != bare and self._is_only(short):
            path = _below(self.folder, posixpath.join(folder, short))
            yield from () if path is None else (path,)

    def _coco_paths(self, bare: str, folder: str) -> Iterator[str]:
        spelled = dict.fromkeys(prefix + bare for _, prefix in _COCO_SETS)
        for place in self.folders:
            for name in spelled:
                for inner in dict.fromkeys((folder, "")):
                    if (path := _below(posixpath.join(place, inner), name)) is not None:
                        yield path
        for base in self._coco_bases:
            for subset, prefix in _COCO_SETS:
                yield posixpath.join(base, subset, prefix + bare)

    def _by_other_spelling(self, name: str) -> str | None:
        """Return the only image whose name differs in case, in the form of its accents or by
        ``%20`` and its like, if the file names no other like it."""
        if self._spellings is None:
            names = {known.replace("\\", "/") for known in self._names}
            self._spellings = Counter(map(_spelling, names))
        if self._spellings[_spelling(name)] > 1:
            return None
        folder, bare = posixpath.split(name.replace("\\", "/"))
        for place in self.folders:
            below = _below(place, folder)
            if below is None:
                continue
            below = "" if below == "." else below
            if found := self._spelled_in(below).get(_spelling(bare)):
                return posixpath.join(below, found[0]) if len(found) == 1 else None
        return None

    def _is_only(self, short: str) -> bool:
        """Return whether one image alone has a name without its prefix."""
        if self._bare_names is None:
            bare = (posixpath.basename(name.replace("\\", "/")) for name in self._names)
            self._bare_names = Counter(map(_without_upload_prefix, bare))
        return self._bare_names[short] <= 1

    def _probe(self) -> str:
        """Return the folder that contains the first images, at worst under shorter names."""
        probed: list[str] = []
        for name in islice(self._names, _PROBED_IMAGES):
            try:
                join_under("data root", _without_steps_back(name))
            except TargetError:
                continue
            probed += dict.fromkeys((name, name.replace("\\", "/")))
        for name in (*probed, *map(_without_upload_prefix, probed)):
            for folder in self.folders:
                path = _below(folder, name)
                if path is not None and self._is_there(path):
                    return folder
        return self.folders[0]

    def _is_there(self, path: str) -> bool:
        folder, name = posixpath.split(path)
        return name in self._names_in(folder)

    def _spelled_in(self, folder: str) -> dict[str, list[str]]:
        """Return the files of a folder by a key that all spellings of a name share."""
        if folder not in self._spelled:
            files = self._spelled[folder] = {}
            for name in self._names_in(folder):
                if not name.endswith("/"):
                    files.setdefault(_spelling(name), []).append(name)
        return self._spelled[folder]

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            try:
                names = self._storage.list_dir(posixpath.join(self._root, folder))
            except TargetError as error:
                self._barred, names = error, []
            self._listed[folder] = frozenset(names)
        return self._listed[folder]


def _below(folder: str, name: str) -> str | None:
    """Join a name to a folder; None if that is not below the root."""
    path = posixpath.normpath(posixpath.join(folder, name))
    try:
        join_under("", path)
    except TargetError:
        return None
    return path


def _spelling(name: str) -> str:
    return normalize("NFC", unquote(name)).casefold()


def _without_upload_prefix(name: str) -> str:
    folder, slash, bare = name.replace("\\", "/").rpartition("/")
    return folder + slash + _UPLOAD_PREFIX.sub("", bare, count=1)


def _without_steps_back(name: str) -> str:
    """Return a name without leading ``..``."""
    parts = name.replace("\\", "/").split("/")
    while parts and parts[0] in ("..", "."):
        parts = parts[1:]
    return "/".join(parts)
