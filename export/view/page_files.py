"""The files of a run's page by name, each made on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

from hlmat.export.llama_factory.images import StateImages
from hlmat.export.runs.manifest import Manifest
from hlmat.export.view.details import TrainingView, target_details
from hlmat.export.view.images import thumbnail, whole_image
from hlmat.export.view.index import (
    index_columns,
    outcomes_of,
    paired_columns,
    reject_columns,
    row_numbers,
)
from hlmat.export.view.page_flags import PageFlags
from hlmat.export.view.run_rows import RunRows
from hlmat.export.view.static_files import INDEX_ROWS, Made, data_script, page_file, page_names
from hlmat.transforms.core.errors import DataError, TargetError
from hlmat.transforms.core.protocols import Image
from hlmat.transforms.core.records import Reject, Rle
from hlmat.transforms.dataset_io.arrow import row_to_reject, row_to_trajectory
from hlmat.transforms.dataset_io.schemas import REJECT_SCHEMA, TRAJECTORY_SCHEMA
from hlmat.transforms.metrics.click_curves import THRESHOLDS


class RunImages(Protocol):
    """The images of a run."""

    def of_target(self, image_path: str, *, size_hw: tuple[int, int]) -> Image:
        """Load a target's image. Raises TargetError."""
        ...

    def of_reject(self, reject: Reject) -> tuple[Image, Rle | None]:
        """Load what can be read of a reject: its image and its mask. Raises TargetError."""
        ...


@dataclass(frozen=True)
class ViewedRun:
    """A run shown on a page.

    Attributes:
        name: shown as its title.
        out: its folder, a local path or a URL.
        images: loads its images.
    """

    name: str
    out: str
    manifest: Manifest
    images: RunImages

    @cached_property
    def targets(self) -> RunRows:
        """Its trajectories."""
        return RunRows(self.out, self.manifest, folder="trajectories", schema=TRAJECTORY_SCHEMA)

    @cached_property
    def rejects(self) -> RunRows:
        """Its rejects."""
        return RunRows(self.out, self.manifest, folder="rejects", schema=REJECT_SCHEMA)


@dataclass(frozen=True)
class PageFiles:
    """The files of a page by name; the same names on a server and in a folder.

    Attributes:
        run: the run to show.
        against: another run over the same targets, to show side by side with it.
        training: how training rows are made; None shows none.
        targets_per_file: number of targets whose details share a file.
        max_side: longest side of whole images in pixels; None keeps every size.
        with_rendered: whether to include training images, so that the page need not draw them.
        flags: the flags of the run; None shows none at first.
        can_save: whether the page can change them; otherwise it offers them as a file.
    """

    run: ViewedRun
    against: ViewedRun | None = None
    training: TrainingView | None = None
    targets_per_file: int = 1
    max_side: int | None = None
    with_rendered: bool = True
    flags: PageFlags | None = None
    can_save: bool = False
    _made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str) -> bytes | None:
        """Return a file of the page; None if there is no such file.

        Raises:
            DataError: a file of the run cannot be read.
            TargetError: an image cannot be read.
        """
        if name in page_names():
            return page_file(name)
        for pattern, make in self._makers.items():
            if (match := re.fullmatch(pattern, name)) is not None:
                with _damage_named(name):
                    return make(*(int(number) for number in match.groups()))
        return None

    def data_names(self) -> Iterator[str]:
        """Yield the names of all data files, without images."""
        run, against = self.run, self.against
        yield "data/page.js"
        yield "data/flags.js"
        for prefix, rows, size in (
            ("index", run.targets, INDEX_ROWS),
            ("rejects", run.rejects, INDEX_ROWS),
            ("targets", run.targets, self.targets_per_file),
            ("reject", run.rejects, 1),
            *([] if against is None else [("against", against.targets, self.targets_per_file)]),
        ):
            for number in range(-(-rows.count // size)):
                yield f"data/{prefix}-{number}.js"

    @cached_property
    def _makers(self) -> Mapping[str, Callable[..., bytes | None]]:
        number = r"(0|[1-9]\d{0,9})"
        return {
            "data/page.js": self._page,
            "data/flags.js": self._flags,
            rf"data/index-{number}.js": self._index,
            rf"data/rejects-{number}.js": self._rejects,
            rf"data/targets-{number}.js": lambda k: self._targets("targets", self.run, k),
            rf"data/against-{number}.js": lambda k: self._targets("against", self.against, k),
            rf"data/reject-{number}.js": self._reject,
            rf"data/problem-{number}.js": self._problem,
            rf"thumbs/{number}.jpg": lambda n: self._thumbnail(n, self.run.targets, self.image),
            rf"images/{number}.jpg": lambda n: self._whole(n, self.run.targets, self.image),
            rf"thumbs/reject-{number}.jpg": lambda n: self._thumbnail(
                n, self.run.rejects, self.reject_image
            ),
            rf"images/reject-{number}.jpg": lambda n: self._whole(
                n, self.run.rejects, self.reject_image
            ),
            rf"rendered/{number}-{number}-{number}.(?:jpg|png)": self.rendered,
        }

    def image(self, number: int) -> Image:
        """Load the image of a target by its number. Raises TargetError."""
        columns = self.run.targets.columns(number, 1, ["image_path", "height", "width"])
        row = columns.to_pylist()[0]
        return self.run.images.of_target(row["image_path"], size_hw=(row["height"], row["width"]))

    def reject_image(self, number: int) -> Image:
        """Load the image of a reject by its number. Raises TargetError."""
        return self.run.images.of_reject(row_to_reject(self.run.rejects.row(number)))[0]

    def rendered(self, number: int, row: int, place: int) -> bytes | None:
        """Return an image of a training row as the model sees it; None if there is none.

        Args:
            number: the target's number.
            row: index of the training row.
            place: index of the image in the row.
        """
        if self.training is None or not self.with_rendered or number >= self.run.targets.count:
            return None
        trajectory = row_to_trajectory(self.run.targets.row(number))
        rows = [images for _, images in self.training.rows(trajectory).rows]
        if row >= len(rows) or place >= len(rows[row]):
            return None
        images = StateImages(self.run.images.of_target, self.training.options)
        return images.encoded(images.drawn(trajectory.target, rows[row][place]))

    def image_jobs(self) -> Iterator[Callable[[], Made]]:
        """Yield functions that make the files of the images, a few at a time."""
        rows = self.run.targets
        for first in range(0, rows.count, INDEX_ROWS):
            # The images that the index names.
            with _damage_named("the index"):
                numbers = index_columns(rows, first, INDEX_ROWS)["image"]
            for number in dict.fromkeys(numbers):
                yield partial(self._job, self._image_files, number)
        for number in range(self.run.rejects.count):
            yield partial(self._job, self._reject_files, number)
        if self.training is not None and self.with_rendered:
            make = partial(self._rendered_files, self.training)
            for number in range(rows.count):
                yield partial(self._job, make, number)

    def _job(self, make: Callable[[int], Made], number: int) -> Made:
        with _damage_named(f"row {number}"):
            return make(number)

    def _thumbnail(self, number: int, rows: RunRows, load: Callable[[int], Image]) -> bytes | None:
        return thumbnail(load(number)) if number < rows.count else None

    def _whole(self, number: int, rows: RunRows, load: Callable[[int], Image]) -> bytes | None:
        if number >= rows.count:
            return None
        return whole_image(load(number), max_side=self.max_side)

    def _image_files(self, number: int) -> Made:
        try:
            image = self.image(number)
        except TargetError as error:
            return {f"data/problem-{number}.js": problem_script(number, error.message)}, 0, 1
        return self._both_sizes(str(number), image)

    def _reject_files(self, number: int) -> Made:
        try:
            image = self.reject_image(number)
        except TargetError:
            return {}, 0, 1
        return self._both_sizes(f"reject-{number}", image)

    def _both_sizes(self, name: str, image: Image) -> Made:
        whole = whole_image(image, max_side=self.max_side)
        return {f"thumbs/{name}.jpg": thumbnail(image), f"images/{name}.jpg": whole}, 1, 0

    def _rendered_files(self, training: TrainingView, number: int) -> Made:
        trajectory = row_to_trajectory(self.run.targets.row(number))
        images = StateImages(self.run.images.of_target, training.options)
        files: dict[str, bytes] = {}
        for row, (_, shown) in enumerate(training.rows(trajectory).rows):
            for place, state in enumerate(shown):
                name = f"rendered/{number}-{row}-{place}.{training.options.image_format}"
                try:
                    files[name] = images.encoded(images.drawn(trajectory.target, state))
                except TargetError:
                    # The image itself is already counted as missing.
                    return files, len(files), 0
        return files, len(files), 0

    def _page(self) -> bytes:
        run, against, training = self.run, self.against, self.training
        protocol = {
            name: run.manifest.config.get(name)
            for name in ("max_clicks", "target_iou", "stop_on_no_gain", "initial_action")
        }
        return data_script(
            "page",
            {
                "title": run.name,
                "targets": run.targets.count,
                "rejects": run.rejects.count,
                "indexRows": INDEX_ROWS,
                "targetsPerFile": self.targets_per_file,
                "facts": _facts(run.manifest),
                "protocol": protocol,
                "canSave": self.can_save,
                "thresholds": THRESHOLDS,
                "against": None
                if against is None
                else {"title": against.name, "facts": _facts(against.manifest)},
                "training": None
                if training is None
                else {
                    "task": training.task.name,
                    "rendered": self.with_rendered,
                    "suffix": training.options.image_format,
                    "colour": training.options.view.colour,
                    "opacity": training.options.view.opacity,
                },
            },
        )

    def save_flags(self, data: bytes) -> None:
        """Replace the flags of one target; see `PageFlags.set`."""
        if self.flags is None or not self.can_save:
            raise ValueError("the flags of this page cannot be changed; start hlmat edit")
        self.flags.set(data)

    def _flags(self) -> bytes:
        return data_script("flags", {} if self.flags is None else self.flags.by_number())

    def _index(self, chunk: int) -> bytes | None:
        first = chunk * INDEX_ROWS
        if first >= self.run.targets.count:
            return None
        columns = index_columns(self.run.targets, first, INDEX_ROWS)
        if self.against is not None:
            if "pairs" not in self._made:
                rows = self.against.targets
                self._made["pairs"] = (row_numbers(rows), outcomes_of(rows))
            columns |= paired_columns(columns, *self._made["pairs"])
        return data_script(f"index-{chunk}", columns)

    def _rejects(self, chunk: int) -> bytes | None:
        first = chunk * INDEX_ROWS
        if first >= self.run.rejects.count:
            return None
        return data_script(f"rejects-{chunk}", reject_columns(self.run.rejects, first, INDEX_ROWS))

    def _targets(self, kind: str, run: ViewedRun | None, chunk: int) -> bytes | None:
        if run is None:
            return None
        first = chunk * self.targets_per_file
        last = min(first + self.targets_per_file, run.targets.count)
        if first >= last:
            return None
        asked = run.manifest.config.get("policy_settings")
        training = self.training if run is self.run else None
        return data_script(
            f"{kind}-{chunk}",
            [
                target_details(run.targets.row(number), training=training, asked=asked)
                for number in range(first, last)
            ],
        )

    def _reject(self, number: int) -> bytes | None:
        if number >= self.run.rejects.count:
            return None
        row = self.run.rejects.row(number)
        details = {name: row[name] for name in ("image_path", "truth_ref", "license")}
        truth = problem = None
        try:
            truth = self.run.images.of_reject(row_to_reject(row))[1]
        except TargetError as error:
            problem = error.message
        if truth is not None:
            details["truth_rle"] = truth.counts
            details["height"], details["width"] = truth.size_hw
        return data_script(f"reject-{number}", {**details, "problem": problem})

    def _problem(self, number: int) -> bytes | None:
        if number >= self.run.targets.count:
            return None
        try:
            self.image(number)
            problem = None
        except TargetError as error:
            problem = error.message
        return problem_script(number, problem)


def problem_script(number: int, problem: str | None) -> bytes:
    """Return the file that says why a target's image cannot be shown."""
    return data_script(f"problem-{number}", problem)


@contextmanager
def _damage_named(part: str) -> Iterator[None]:
    """Turn what a damaged file's values raise into a DataError that names what was asked for."""
    try:
        yield
    except (ValueError, TypeError, LookupError) as error:
        raise DataError(
            f"{part} cannot be shown: a file of the run was changed or damaged ({error}); run "
            "again with --overwrite"
        ) from error


def _facts(manifest: Manifest) -> dict[str, Any]:
    """Return basic facts about a run, by label."""
    config = manifest.config
    facts = {
        "data set": f"{config['dataset']} ({config['split']})",
        "segmenter": config["segmenter"]["name"],
        "policy": config["policy"],
        "most clicks": config["max_clicks"],
        "seed": config["seed"],
    }
    return {name: str(value) for name, value in facts.items()}
