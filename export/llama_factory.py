"""Trajectories as a LLaMA-Factory data set: a picture of each state, and the click taken in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TextIO

import cv2

from transforms.coordinates import make_codec
from transforms.dialogue import Dialogue
from transforms.errors import ConfigError, OutputError
from transforms.initial_boxes import truth_box
from transforms.masks import decode_rle
from transforms.prompts import PromptTemplate
from transforms.protocols import Image
from transforms.records import Box, Click, Finish, StopReason, TargetRef, Trajectory
from transforms.state_pictures import StateView

DATASET_INFO = "dataset_info.json"

# How a trajectory ends whose last mask is as good as it gets.
_DONE = frozenset(
    {
        StopReason.REACHED_IOU,
        StopReason.NO_GAIN,
        StopReason.NO_ERROR_LEFT,
        StopReason.FINISHED,
    }
)


class ImageLoader(Protocol):
    """Loads a target's picture, as `DatasetReader.load_image` does."""

    def __call__(self, image_path: str, *, size_hw: tuple[int, int]) -> Image: ...


@dataclass(frozen=True)
class LlamaFactoryOptions:
    """How samples are made.

    Attributes:
        dialogue: question and answer: prompt, codec, mask colour, whether answers carry the score
            of the mask shown, whether `Finish` is among the actions. With `Finish`, a trajectory
            that ended because nothing better was to be had gives a last sample that says so.
        view: how states are drawn. Where it reduces pictures, relative coordinates stay what they
            are; the codec `pixels` counts those of the reduced picture.
        box_prompt: the question for a target's box, asked of the image alone; None teaches none.
        expressions: "each" gives each expression of a target its own samples, "first" uses one.
        image_format: "jpg" or "png".
        jpeg_quality: 1 to 100.
        name: of the data set in dataset_info.json, and of its JSON file.

    Raises:
        ConfigError: with every problem at once.
    """

    dialogue: Dialogue = field(default_factory=lambda: Dialogue(make_codec("decimal")))
    view: StateView = field(default_factory=StateView)
    box_prompt: PromptTemplate | None = None
    expressions: Literal["each", "first"] = "each"
    image_format: Literal["jpg", "png"] = "jpg"
    jpeg_quality: int = 95
    name: str = "next_click"

    def __post_init__(self) -> None:
        problems = []
        if self.dialogue.colour != self.view.colour:
            problems.append(
                f"the question names a {self.dialogue.colour} mask, the pictures show a "
                f"{self.view.colour} one; give both the same colour"
            )
        if self.expressions not in ("each", "first"):
            problems.append(f"expressions is {self.expressions!r}; choose from each, first")
        if self.image_format not in ("jpg", "png"):
            problems.append(f"image format {self.image_format!r} is unknown; choose jpg or png")
        if not 1 <= self.jpeg_quality <= 100:
            problems.append(f"JPEG quality must be from 1 to 100, got {self.jpeg_quality}")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.name):
            problems.append(
                f"the data set's name {self.name!r} must be letters, digits, '_' and '-' only"
            )
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class ExportCounts:
    """What an export wrote.

    Attributes:
        samples: rows of the JSON file.
        pictures: files under images/.
        targets: trajectories with a sample.
        targets_without_samples: trajectories in which nothing can be learnt.
    """

    samples: int
    pictures: int
    targets: int
    targets_without_samples: int


@dataclass(frozen=True)
class Sample:
    """One state and what to do in it.

    Attributes:
        step: index of the state: how many steps came before.
        action: the click taken, the end, or the object's box.
        iou: IoU of the mask shown, in [0, 1].
    """

    step: int
    action: Click | Finish | Box
    iou: float


def next_click_samples(trajectory: Trajectory, *, with_finish: bool) -> Iterator[Sample]:
    """List a trajectory's samples for the next-click task.

    A set-up action gives no sample. `Finish` is learnt only from a trajectory that has a step and
    ended with nothing better to be had, not from one that ran out of clicks.
    """
    iou = 0.0
    for index, step in enumerate(trajectory.steps):
        if isinstance(step.action, Click) and not step.is_initial:
            yield Sample(step=index, action=step.action, iou=iou)
        iou = step.iou
    if with_finish and trajectory.steps and trajectory.stop_reason in _DONE:
        yield Sample(step=len(trajectory.steps), action=Finish(), iou=iou)


def export_next_click(
    trajectories: Iterable[Trajectory],
    load_image: ImageLoader,
    out_dir: str,
    options: LlamaFactoryOptions | None = None,
    *,
    records: Mapping[str, Callable[[], bytes]] | None = None,
) -> ExportCounts:
    """Write a LLaMA-Factory data set for the next-click task.

    The folder gets `dataset_info.json`, a sharegpt JSON file and `images/`. All of it is written
    beside and moved into place at the end; whatever stops the export leaves nothing that looks
    like a data set.

    Args:
        trajectories: the targets of one image stand one after another, or it is loaded again.
        load_image: as `DatasetReader.load_image`.
        out_dir: a folder on the local disk that does not exist yet, or is empty.
        options: how samples are made; the defaults if None.
        records: further files of the folder by name, made once every sample is written.

    Raises:
        OutputError: the folder is not empty or cannot be written, or there is no sample at all.
        TargetError: a picture cannot be loaded.
    """
    options = options or LlamaFactoryOptions()
    out = os.path.abspath(out_dir)
    if os.path.lexists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise OutputError(
            f"{out_dir} exists already and is not an empty folder; give another --out or remove it"
        )
    temporary = f"{out}.tmp-{uuid.uuid4().hex}"
    try:
        os.makedirs(temporary)
        counts = _Writer(temporary, load_image, options).write(trajectories)
        if counts.samples == 0:
            raise OutputError(
                f"none of the {counts.targets_without_samples} trajectories holds a sample (each "
                "ended before a click that gained), so there is nothing to train on; "
                f"{out_dir} was not written"
            )
        for name, make in (records or {}).items():
            with open(os.path.join(temporary, name), "wb") as f:
                f.write(make())
        os.rename(temporary, out)
    except OSError as error:
        raise OutputError(
            f"cannot write the data set {out_dir}: {error}; give a folder that can be written to, "
            "with enough room"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


class _Writer:
    """Writes one data set into a folder."""

    def __init__(self, folder: str, load_image: ImageLoader, options: LlamaFactoryOptions) -> None:
        self._folder = folder
        self._options = options
        codec = options.view.seen_through(options.dialogue.codec)
        self._dialogue = replace(options.dialogue, codec=codec)
        self._pictures = _PictureWriter(folder, load_image, options)

    def write(self, trajectories: Iterable[Trajectory]) -> ExportCounts:
        samples = targets = without = 0
        with open(self._path(f"{self._options.name}.json"), "w", encoding="ascii") as f:
            f.write("[")
            for trajectory in trajectories:
                count = self._write_target(f, trajectory, is_first=samples == 0)
                samples += count
                targets += count > 0
                without += count == 0
            f.write("\n]\n")
            _sync(f)
        with open(self._path(DATASET_INFO), "w", encoding="ascii") as f:
            json.dump(self._dataset_info(), f, indent=2)
            f.write("\n")
            _sync(f)
        return ExportCounts(samples, self._pictures.written, targets, without)

    def _write_target(self, f: TextIO, trajectory: Trajectory, *, is_first: bool) -> int:
        count = 0
        ref = trajectory.target.ref
        expressions = ref.expressions
        if self._options.expressions == "first":
            expressions = expressions[:1]
        for dialogue, sample in self._samples(trajectory):
            picture = self._pictures.picture(trajectory, sample.step)
            answer = dialogue.answer(
                sample.action, size_hw=trajectory.target.size_hw, iou=sample.iou
            )
            for expression in expressions:
                row = {
                    "messages": [
                        {"role": "user", "content": dialogue.question(expression)},
                        {"role": "assistant", "content": answer},
                    ],
                    "images": [picture],
                    "target_id": ref.target_id,
                    "step": sample.step,
                }
                f.write("\n" if is_first and count == 0 else ",\n")
                f.write(json.dumps(row))
                count += 1
        return count

    def _samples(self, trajectory: Trajectory) -> Iterator[tuple[Dialogue, Sample]]:
        """List a trajectory's samples, each with the dialogue that asks for it."""
        prompt = self._options.box_prompt
        if prompt is not None and trajectory.steps and trajectory.mask_before(0) is None:
            box = truth_box(decode_rle(trajectory.target.truth))
            asking = replace(self._dialogue, prompt=prompt, with_score=False)
            yield asking, Sample(step=0, action=box, iou=0.0)
        for sample in next_click_samples(trajectory, with_finish=self._dialogue.with_finish):
            yield self._dialogue, sample

    def _dataset_info(self) -> dict[str, Any]:
        return {
            self._options.name: {
                "file_name": f"{self._options.name}.json",
                "formatting": "sharegpt",
                "columns": {"messages": "messages", "images": "images"},
                "tags": {
                    "role_tag": "role",
                    "content_tag": "content",
                    "user_tag": "user",
                    "assistant_tag": "assistant",
                },
            }
        }

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


class _PictureWriter:
    """Renders states, each once; the image alone, before any mask, once for all its targets."""

    def __init__(self, folder: str, load_image: ImageLoader, options: LlamaFactoryOptions) -> None:
        self.written = 0
        self._folder = folder
        self._load_image = load_image
        self._options = options
        self._image: tuple[tuple[str, str, tuple[int, int]], Image] | None = None

    def picture(self, trajectory: Trajectory, step: int) -> str:
        """Write the picture of a state if it is not there; return its name below the folder."""
        ref = trajectory.target.ref
        mask = trajectory.mask_before(step)
        name = _picture_name(trajectory, None if mask is None else step, self._options.image_format)
        path = os.path.join(self._folder, name)
        if os.path.exists(path):
            return name
        image = self._loaded(ref, trajectory.target.size_hw)
        shown = self._options.view.draw(image, None if mask is None else decode_rle(mask))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(self._encoded(shown))
        self.written += 1
        return name

    def _loaded(self, ref: TargetRef, size_hw: tuple[int, int]) -> Image:
        key = (ref.dataset, ref.image_path, size_hw)
        if self._image is None or self._image[0] != key:
            self._image = (key, self._load_image(ref.image_path, size_hw=size_hw))
        return self._image[1]

    def _encoded(self, image: Image) -> bytes:
        parameters = (
            [cv2.IMWRITE_JPEG_QUALITY, self._options.jpeg_quality]
            if self._options.image_format == "jpg"
            else []
        )
        encoded = cv2.imencode(
            f".{self._options.image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters
        )[1]
        return encoded.tobytes()


def _picture_name(trajectory: Trajectory, step: int | None, suffix: str) -> str:
    """Return a name that any file system takes, the same in every export."""
    ref = trajectory.target.ref
    owner = [ref.image_path, *trajectory.target.size_hw] if step is None else [ref.target_id]
    identity = json.dumps([ref.dataset, ref.split, *owner])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
    state = "image" if step is None else f"{step:02d}"
    return f"images/{digest[:2]}/{digest}-{state}.{suffix}"


def _sync(f: TextIO) -> None:
    f.flush()
    os.fsync(f.fileno())
