"""The images of a work unit with their targets, read ahead as far as a memory budget allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from hlmat.transforms.core.errors import SegmenterError, TargetError
from hlmat.transforms.core.image_digest import image_digest
from hlmat.transforms.core.protocols import DatasetReader, Image, Mask, TruthMasks
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.dataset_io.work_units import WorkItem, ref_of
from hlmat.transforms.rollout.initial_mask import first_mask
from hlmat.transforms.rollout.options import AreaFilter, FirstMask

MAX_BYTES_AT_ONCE = 1 << 30
"""Images and masks that are rolled out together, in bytes."""
MAX_BYTES_AHEAD = 1 << 27
"""Largest image with its masks that is read ahead, in bytes; a larger one waits its turn."""
_IMAGE_BYTES = 3
# Truth, mask before and after a click, and what is computed from them.
_TARGET_BYTES = 6


class Loaded(NamedTuple):
    """A target with its masks.

    Attributes:
        position: in the unit.
        first: the mask that the rollout begins with; None for an empty one.
    """

    position: int
    ref: TargetRef
    masks: TruthMasks
    first: Mask | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        height, width = self.masks.truth.shape
        return height, width


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and those of its targets whose masks have one size.

    Attributes:
        targets: with the position of each in its unit.
        digest: of the image's pixels.
        encoded: what the segmenter encoded in advance, or None.
    """

    image: Image
    targets: Sequence[Loaded]
    digest: str
    encoded: Any | SegmenterError | None = None

    @property
    def num_bytes(self) -> int:
        """An estimate of the memory that its rollout needs."""
        height, width = self.image.shape[:2]
        return _bytes_of((height, width), num_targets=len(self.targets))


Entry = tuple[int, WorkItem]
"""An item with its position in the unit."""
Rejected = tuple[int, Reject]


class _Later(NamedTuple):
    """An image that is not read ahead: its items."""

    entries: Sequence[Entry]


class _Large(NamedTuple):
    """An image that is too large to be read ahead: its items and the size of their masks."""

    entries: Sequence[Entry]
    size_hw: tuple[int, int]


class _ReadImage(NamedTuple):
    """An image with its digest, or the reason why it cannot be used."""

    image: Image | None
    digest: str = ""
    reason: RejectReason = RejectReason.UNREADABLE_IMAGE
    message: str = ""


@dataclass
class UnitImages:
    """Reads a unit's images and targets ahead of their use, on threads.

    Once an image is too large to be read ahead, the rest of the unit is read image by image. So
    memory is bounded for images of any size: if an image's targets need more than the budget, they
    are yielded in parts.

    Attributes:
        reader: of the data set.
        area_filter: targets outside it are rejected.
        seed: for initial masks.
        first_mask: the mask that rollouts begin with; None for an empty one.
        threads: for reading.
    """

    reader: DatasetReader
    area_filter: AreaFilter
    seed: int
    first_mask: FirstMask | None
    threads: Threads
    _reads_ahead: bool = field(default=True, init=False)

    def batches(
        self, items: Sequence[WorkItem], *, max_scenes: int, rejects: dict[int, Reject]
    ) -> Iterator[list[Scene]]:
        """Yield batches of scenes to roll out together, independent of the number of threads.

        The caller should drop a batch before it asks for the next one.

        Args:
            items: the unit's items; those of one image are adjacent.
            max_scenes: largest number of scenes in a batch.
            rejects: receives the items that cannot be used, by position.
        """
        by_image = [
            list(group) for _, group in groupby(enumerate(items), key=lambda e: _path_of(e[1]))
        ]
        read = self.threads.map_ahead(
            self._read_ahead,
            by_image,
            ahead=2 * self.threads.count if self.threads.count > 1 else 0,
        )
        batch: list[Scene] = []
        for found in read:
            scenes = self._read(found.entries) if isinstance(found, _Later) else found
            if isinstance(scenes, _Large):
                if batch:
                    yield batch
                    batch = []
                yield from self._parts(scenes, rejects=rejects)
                continue
            for scene in scenes:
                if not isinstance(scene, Scene):
                    rejects.update([scene])
                    continue
                num_bytes = sum(each.num_bytes for each in batch) + scene.num_bytes
                if batch and (len(batch) == max_scenes or num_bytes > MAX_BYTES_AT_ONCE):
                    yield batch
                    batch = []
                batch.append(scene)
        if batch:
            yield batch

    def _parts(self, large: _Large, *, rejects: dict[int, Reject]) -> Iterator[list[Scene]]:
        """Yield the scenes of a large image one by one, each with as many targets as fit."""
        left = MAX_BYTES_AT_ONCE - _bytes_of(large.size_hw, num_targets=0)
        count = max(left // _bytes_of(large.size_hw, num_images=0, num_targets=1), 1)
        images: dict[tuple[int, int], _ReadImage] = {}
        for first in range(0, len(large.entries), count):
            targets = self._targets(large.entries[first : first + count])
            assert not isinstance(targets, _Large)
            found = self._with_images(*targets, images)
            del targets
            # Only the caller keeps a scene alive while the next one is read.
            while found:
                scene = found.pop(0)
                if isinstance(scene, Scene):
                    batch = [scene]
                    del scene
                    yield batch
                    del batch
                else:
                    rejects.update([scene])

    def _read_ahead(self, entries: Sequence[Entry]) -> list[Scene | Rejected] | _Later:
        found = self._read(entries) if self._reads_ahead else None
        if isinstance(found, list):
            return found
        self._reads_ahead = False
        return _Later(entries)

    def _read(self, entries: Sequence[Entry]) -> list[Scene | Rejected] | _Large:
        """Load an image and its targets unless it is large; reject what cannot be loaded."""
        targets = self._targets(entries, max_bytes=MAX_BYTES_AHEAD)
        return targets if isinstance(targets, _Large) else self._with_images(*targets, {})

    def _targets(
        self, entries: Sequence[Entry], *, max_bytes: int | None = None
    ) -> tuple[list[Rejected], list[Loaded]] | _Large:
        rejects: list[Rejected] = []
        loaded: list[Loaded] = []
        for position, item in entries:
            read = item if isinstance(item, Reject) else self._load(position, item)
            if isinstance(read, Reject):
                rejects.append((position, read))
                continue
            num_bytes = _bytes_of(read.size_hw, num_targets=len(entries))
            if max_bytes is not None and num_bytes > max_bytes:
                return _Large(entries, read.size_hw)
            loaded.append(read)
        return rejects, loaded

    def _with_images(
        self,
        rejects: Sequence[Rejected],
        loaded: Sequence[Loaded],
        images: dict[tuple[int, int], _ReadImage],
    ) -> list[Scene | Rejected]:
        """Load the image of each size of masks; `images` keeps those of earlier calls."""
        found: list[Scene | Rejected] = [*rejects]
        for size_hw, group in groupby(loaded, key=lambda target: target.size_hw):
            targets = list(group)
            if size_hw not in images:
                images[size_hw] = self._load_image(targets[0].ref.image_path, size_hw=size_hw)
            read = images[size_hw]
            if read.image is None:
                found += [
                    (target.position, Reject(target.ref, read.reason, read.message))
                    for target in targets
                ]
            else:
                found.append(Scene(read.image, targets, read.digest))
        return found

    def _load(self, position: int, ref: TargetRef) -> Loaded | Reject:
        first: Mask | None = None
        try:
            masks = self.reader.load_truth(ref)
            if self.first_mask is not None:
                first = first_mask(self.first_mask, masks, seed=self.seed, target_id=ref.target_id)
        except TargetError as error:
            return Reject(ref=ref, reason=error.reason, message=error.message)
        except MemoryError as error:
            return Reject(ref, RejectReason.OUT_OF_MEMORY, f"reading the mask: {error}")
        problem = self.area_filter.problem(int(np.count_nonzero(masks.truth)))
        if problem is not None:
            return Reject(ref=ref, reason=RejectReason.OUTSIDE_AREA_FILTER, message=problem)
        return Loaded(position, ref, masks, first)

    def _load_image(self, image_path: str, *, size_hw: tuple[int, int]) -> _ReadImage:
        try:
            image = self.reader.load_image(image_path, size_hw=size_hw)
            return _ReadImage(image, image_digest(image))
        except TargetError as error:
            return _ReadImage(None, reason=error.reason, message=error.message)
        except MemoryError as error:
            reason = RejectReason.OUT_OF_MEMORY
            return _ReadImage(None, reason=reason, message=f"reading the image: {error}")


def _path_of(item: WorkItem) -> str:
    return ref_of(item).image_path


def _bytes_of(size_hw: tuple[int, int], *, num_images: int = 1, num_targets: int) -> int:
    pixels = size_hw[0] * size_hw[1]
    return pixels * (_IMAGE_BYTES * num_images + _TARGET_BYTES * num_targets)
