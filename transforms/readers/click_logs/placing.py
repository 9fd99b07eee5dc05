"""Logged clicks put on the errors that people saw."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hlmat.transforms.clickability.choices import ClickedError, clicked_error
from hlmat.transforms.clickability.click_model import FEATURES
from hlmat.transforms.clickability.features import error_pixels
from hlmat.transforms.core.errors import TargetError
from hlmat.transforms.core.protocols import DatasetReader, Mask, TruthMasks
from hlmat.transforms.core.records import RejectReason, TargetRef
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.core.storage import Storage
from hlmat.transforms.masks.images import MaskRule
from hlmat.transforms.readers.click_logs.records import LoggedClick, RejectedRow, RowReason
from hlmat.transforms.readers.files.images import load_mask_file, split_suffix

MAX_PIXELS = 2048
"""Of an error, so many represent it."""
MAX_VALUES = 60_000_000
"""Of features in memory; with more errors each is represented by fewer pixels."""
_MIN_PIXELS = 128


class _RowError(Exception):
    def __init__(self, reason: RowReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


@dataclass(frozen=True)
class Masks:
    """Where the masks of a click log come from.

    Attributes:
        storage: reaches `root`.
        root: the folder of the masks that the log names.
        reader: the data set of the log's targets; None where the log names masks.
        is_by_stem: whether targets are named by their image's stem, as RClicks names them.
    """

    storage: Storage
    root: str
    reader: DatasetReader | None = None
    is_by_stem: bool = False


@dataclass
class PlacedClicks:
    """The errors with their clicks.

    Attributes:
        errors: in the order of their first clicks.
        rejects: clicks that could not be placed, by line.
    """

    errors: list[ClickedError] = field(default_factory=list)
    rejects: list[RejectedRow] = field(default_factory=list)


def place_clicks(clicks: Sequence[LoggedClick], masks: Masks, *, seed: int) -> PlacedClicks:
    """Put clicks on the errors that people saw.

    A click is placed on the pixel that contains it. It is rejected if it is outside the image, on a
    pixel that is no error, or has the wrong label there; also if its number is above 1 and the log
    does not name the mask that the person saw.

    Args:
        clicks: as logged.
        masks: where their masks are.
        seed: chooses the pixels that represent a large error.
    """
    placed = PlacedClicks()
    groups: dict[tuple[str, str], list[LoggedClick]] = defaultdict(list)
    for click in clicks:
        if click.click > 1 and not click.previous_mask:
            message = f"click {click.click} names no previous_mask, the mask that the person saw"
            placed.rejects.append(RejectedRow(click.line, RowReason.NO_PREVIOUS_MASK, message))
        else:
            groups[click.target, click.previous_mask].append(click)
    refs = None if masks.reader is None else _refs(masks.reader, clicks, masks.is_by_stem)
    pixels = MAX_VALUES // (len(FEATURES) * max(len(groups), 1))
    pixels = min(max(pixels, _MIN_PIXELS), MAX_PIXELS)
    for (target, previous), group in groups.items():
        try:
            image, truth = _truth(target, masks, refs)
            prediction = _previous_mask(previous, masks, truth.truth)
        except _RowError as error:
            placed.rejects += [RejectedRow(c.line, error.reason, error.message) for c in group]
            continue
        _place(group, image, truth, prediction, placed, seed=seed, max_pixels=pixels)
    placed.rejects.sort(key=lambda reject: reject.line)
    return placed


def _place(
    group: Sequence[LoggedClick],
    image: str,
    truth: TruthMasks,
    prediction: Mask,
    placed: PlacedClicks,
    *,
    seed: int,
    max_pixels: int,
) -> None:
    error = error_pixels(prediction, truth.truth, ignore=truth.ignore)
    height, width = truth.truth.shape
    index = np.full((height, width), -1, np.int32)
    index[error.y, error.x] = np.arange(len(error))
    places = []
    for click in group:
        try:
            places.append(_pixel_of(click, index, truth.truth))
        except _RowError as problem:
            placed.rejects.append(RejectedRow(click.line, problem.reason, problem.message))
    if places:
        name = f"{group[0].target}\n{group[0].previous_mask}"
        placed.errors.append(
            clicked_error(
                error,
                places,
                name=name,
                image=group[0].image or image,
                max_pixels=max_pixels,
                draw=float(target_rng(seed, name, "pixels").random()),
            )
        )


def _pixel_of(click: LoggedClick, index: np.ndarray, truth: Mask) -> int:
    height, width = truth.shape
    shown_width, shown_height = click.size_wh or (width, height)
    x, y = np.floor([click.x * width / shown_width, click.y * height / shown_height]).astype(int)
    if not (0 <= x < width and 0 <= y < height):
        raise _RowError(
            RowReason.OUTSIDE_IMAGE,
            f"({click.x:g}, {click.y:g}) is outside the image of {width} x {height} pixels",
        )
    where = f"({click.x:g}, {click.y:g})"
    if index[y, x] < 0:
        raise _RowError(
            RowReason.OUTSIDE_ERROR, f"{where} is no error of the mask that the person saw"
        )
    if bool(truth[y, x]) != click.is_positive:
        sides = ("missed", "positive") if truth[y, x] else ("wrongly included", "negative")
        raise _RowError(
            RowReason.WRONG_LABEL, f"{where} is {sides[0]}, so a click there is {sides[1]}"
        )
    return int(index[y, x])


def _truth(
    target: str, masks: Masks, refs: Mapping[str, Sequence[TargetRef]] | None
) -> tuple[str, TruthMasks]:
    """Return a target's image and masks."""
    try:
        if refs is None or masks.reader is None:
            found = load_mask_file(masks.storage, masks.root, target, rule=MaskRule.FOREGROUND)
            return target, found
        known = refs.get(target, ())
        if not known:
            raise _RowError(
                RowReason.UNKNOWN_TARGET,
                f"{target!r:.80} is no target of {masks.reader.name}, split {masks.reader.split}",
            )
        if len(known) > 1:
            raise _RowError(
                RowReason.AMBIGUOUS_TARGET,
                f"{target!r:.80} may be any of {len(known)} targets of {masks.reader.name}",
            )
        return known[0].image_path, masks.reader.load_truth(known[0])
    except TargetError as error:
        raise _RowError(RowReason.UNUSABLE_MASK, error.message) from error


def _previous_mask(path: str, masks: Masks, truth: Mask) -> Mask:
    if not path:
        return np.zeros_like(truth)
    try:
        mask = load_mask_file(masks.storage, masks.root, path, rule=MaskRule.FOREGROUND).truth
    except TargetError as error:
        if error.reason is RejectReason.EMPTY_MASK:
            return np.zeros_like(truth)
        raise _RowError(RowReason.UNUSABLE_MASK, f"previous_mask: {error.message}") from error
    if mask.shape != truth.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (mask.shape, truth.shape)]
        raise _RowError(
            RowReason.UNUSABLE_MASK,
            f"previous_mask {path} has {sizes[0]} pixels, the object's mask {sizes[1]}",
        )
    return mask


def _refs(
    reader: DatasetReader, clicks: Iterable[LoggedClick], is_by_stem: bool
) -> dict[str, list[TargetRef]]:
    """Return the targets that clicks name, by that name."""
    names: dict[str, set[str]] = defaultdict(set)
    for click in clicks:
        names[click.target].add(click.target)
        if is_by_stem and "#" in click.target:
            names[click.target.rpartition("#")[0]].add(click.target)
    found: dict[str, list[TargetRef]] = defaultdict(list)
    for item in reader.read_targets():
        if isinstance(item, TargetRef):
            stem = split_suffix(posixpath.basename(item.image_path))[0]
            for name in names.get(stem if is_by_stem else item.target_id, ()):
                found[name].append(item)
    return dict(found)
