"""A worker's part of an export for FiftyOne: from the rows of a unit to images and samples."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hlmat.export.fiftyone.documents import StoredImage, sample_document, used_fields
from hlmat.export.llama_factory.export_units import ExportUnit
from hlmat.export.llama_factory.images import ImageLoader, StateImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.unit_export import read_outcome
from hlmat.export.llama_factory.unit_samples import BETWEEN_ROWS, reject_entry
from hlmat.export.llama_factory.writer import write_image
from hlmat.export.runs.row_slices import RowReader, TrajectoryFiles
from hlmat.transforms.core.errors import OutputError, TargetError
from hlmat.transforms.core.records import Reject, Target, Trajectory
from hlmat.transforms.core.storage import Storage

_LONGEST_STEM = 60
_MIME_TYPES = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class SamplesSettings:
    """A worker's recipe. Small and picklable.

    Attributes:
        run: the trajectories.
        load_image: as `DatasetReader.load_image`.
        options: how images are stored.
        out: folder of the data set.
        storage: reaches it.
    """

    run: TrajectoryFiles
    load_image: ImageLoader
    options: LlamaFactoryOptions
    out: str
    storage: Storage

    def build(self) -> SamplesExport:
        """Return what exports units, in a worker."""
        return SamplesExport(self)


@dataclass(frozen=True)
class UnitDocuments:
    """A unit's part of the data set.

    Attributes:
        targets: trajectories in the samples.
        samples: how many there are.
        used: the fields with labels that not every data set has.
        rejects: targets that cannot be used, as `reject_entry` describes them.
        documents: the samples as JSON, separated by `BETWEEN_ROWS`.
    """

    targets: int
    samples: int
    used: tuple[str, ...]
    rejects: tuple[Mapping[str, str], ...]
    documents: str

    def to_bytes(self) -> bytes:
        """Return the unit's file: a line of JSON, then the samples."""
        head = {
            "targets": self.targets,
            "samples": self.samples,
            "used": self.used,
            "rejects": self.rejects,
        }
        return f"{json.dumps(head, sort_keys=True)}\n{self.documents}".encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str) -> UnitDocuments:
        """Read what `to_bytes` wrote.

        Raises:
            OutputError: the file is something else.
        """
        try:
            head, _, documents = data.decode("ascii").partition("\n")
            content = json.loads(head)
            return cls(
                int(content["targets"]),
                int(content["samples"]),
                tuple(content["used"]),
                tuple(content["rejects"]),
                documents,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"the unit file {name} is damaged ({type(error).__name__}: {error}); remove it and "
                "run the same command again"
            ) from error


class SamplesExport:
    """Exports units, one at a time."""

    def __init__(self, settings: SamplesSettings) -> None:
        self._settings = settings
        self._rows = RowReader(settings.run)
        self._images = StateImages(settings.load_image, settings.options)

    def __call__(self, unit: ExportUnit) -> bytes:
        """Write the images of a unit, and return the unit's file.

        Raises:
            DataError: a file of the run is not as its manifest lists it.
            OSError: an image cannot be written.
        """
        found = [read_outcome(row) for part in unit.rows for row in self._rows.rows(part)]
        rejects = [reject_entry(each) for each in found if isinstance(each, Reject)]
        documents: list[str] = []
        used: set[str] = set()
        targets = 0
        for together in _by_image(each for each in found if isinstance(each, Trajectory)):
            try:
                image = self._stored(together[0].target)
            except TargetError as error:
                rejects += [
                    reject_entry(Reject(each.target.ref, error.reason, error.message))
                    for each in together
                ]
                continue
            sample = sample_document(together, image)
            used |= used_fields(sample)
            documents.append(json.dumps(sample))
            targets += len(together)
        made = UnitDocuments(
            targets,
            len(documents),
            tuple(sorted(used)),
            tuple(rejects),
            BETWEEN_ROWS.join(documents),
        )
        return made.to_bytes()

    def _stored(self, target: Target) -> StoredImage:
        """Write a target's image at its full size. Raises TargetError."""
        settings = self._settings
        suffix = settings.options.image_format
        data = self._images.encoded(self._images.plain(target))
        name = stored_name(target, suffix=suffix)
        if "://" in settings.out:
            settings.storage.write_bytes(posixpath.join(settings.out, name), data)
        else:
            write_image(settings.out, name, data)
        return StoredImage(name, len(data), _MIME_TYPES[suffix])


def stored_name(target: Target, *, suffix: str) -> str:
    """Return a name that any file system accepts, with what it shares with the image's own name."""
    ref = target.ref
    identity = json.dumps([ref.dataset, ref.image_path, *target.size_hw])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
    stem = posixpath.splitext(posixpath.basename(ref.image_path))[0]
    shown = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[-_LONGEST_STEM:] or "image"
    return f"data/{digest[:2]}/{digest}-{shown}.{suffix}"


def _by_image(trajectories: Iterator[Trajectory]) -> Iterator[list[Trajectory]]:
    """Yield the adjacent trajectories of each image and split."""

    def image(trajectory: Trajectory) -> Any:
        ref = trajectory.target.ref
        return ref.dataset, ref.split, ref.image_path, trajectory.target.size_hw

    for _, group in groupby(trajectories, key=image):
        yield list(group)
