"""The job `hlmat noise`: where clicks chase errors of the ground truth, and texts do not fit."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from tqdm import tqdm

from hlmat.export.reports.noise_report import NoiseEntry, noise_picture, render_noise
from hlmat.export.runs.flags import Flag, FlagKind, Key, flags_to_csv
from hlmat.export.runs.trajectories import read_trajectories
from hlmat.pipelines.correction.derived_run import SourceRun
from hlmat.pipelines.settings.noise_options import NoiseKind, NoiseOptions, noise_options
from hlmat.pipelines.viewing.view import open_run
from hlmat.transforms.core.errors import DataError, OutputError, TargetError
from hlmat.transforms.core.protocols import Image, Mask
from hlmat.transforms.core.records import Trajectory
from hlmat.transforms.core.threads import Threads, available_cores
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.masks.near_duplicates import Look, look_of, near_duplicates
from hlmat.transforms.masks.rle import decode_rle
from hlmat.transforms.metrics.mask_noise import (
    ChasedClicks,
    Defects,
    chased_clicks,
    find_defects,
    measure_outline,
)
from hlmat.transforms.metrics.text_noise import (
    NamedTarget,
    colour_shares,
    shared_texts,
    swapped_texts,
)

MEANINGS: Mapping[NoiseKind, str] = {
    "hole": "the ground truth has holes of a few pixels",
    "island": "the ground truth has parts of a few pixels",
    "sliver": "the ground truth has thin spurs or gaps",
    "shared": "another object of the image has the same text",
    "swapped": "the texts of two objects of the image fit each other's better",
    "duplicate": "an earlier image of the run looks the same",
    "chased": "later clicks are at defects, in thin parts of the error or along the border",
    "unreachable": "what is left of the error has parts too thin to reach",
}
_KEPT_IMAGES = 4
_WHOLE_SHARE = 0.01
"""Share of the object's area at which its holes, islands or slivers count in full."""
_UNREACHABLE_SHARE = 0.02
"""Share of the object's area from which on the thin parts of the last error are a finding."""


@dataclass(frozen=True)
class Finding:
    """Something that makes a target doubtful.

    Attributes:
        kind: what was found.
        strength: above 0, up to 1; targets are ranked by the sum.
        text: for people.
    """

    kind: NoiseKind
    strength: float
    text: str


@dataclass(frozen=True)
class JudgedTarget:
    """A target and what was found.

    Attributes:
        number: of its row in the run, from 0.
        key: data set, split and id.
        image: its image's path and data set.
        named: what its texts are compared with.
        outline: length in pixels and corners of its outline.
        look: what its image looks like; None for the other targets of an image, or without one.
    """

    number: int
    key: Key
    image: tuple[str, str]
    named: NamedTarget
    outline: tuple[float, int]
    findings: tuple[Finding, ...] = ()
    look: Look | None = field(default=None, repr=False)

    @property
    def score(self) -> float:
        """The sum of the findings' strengths."""
        return sum(finding.strength for finding in self.findings)


def report_noise(arguments: argparse.Namespace, *, quiet: bool) -> dict[str, Any]:
    """Find noise in a run, write what was asked for, and return the figures to print.

    Args:
        arguments: of the command.
        quiet: show no progress.

    Raises:
        ConfigError: with every problem of the command line.
        DataError: no finished run, or one without trajectories.
        OutputError: a file cannot be written.
    """
    asked = noise_options(arguments)
    run = SourceRun.open(asked.run_folder)
    images = _Images(asked)
    trajectories = read_trajectories(run.storage, run.out, manifest=run.manifest)
    count = int(run.manifest.counts.get("trajectories", 0))
    judged = find_noise(tqdm(trajectories, total=count, disable=quiet or None), images)
    if not judged:
        raise DataError(f"{run.out} has no trajectory to judge")
    ranked = sorted((t for t in judged if t.findings), key=lambda t: (-t.score, t.number))
    figures = _figures(run, judged, ranked[: asked.top], images)
    if asked.report is not None:
        data = _report(asked, run, figures, ranked[: asked.top], images)
        _write(asked.report, data)
        figures["report"] = asked.report
    if asked.flags is not None:
        flags = [flag for target in judged for flag in _flags_of(target, asked.kinds)]
        _write(asked.flags, flags_to_csv(flags))
        figures["flags"] = asked.flags
        figures["flagged"] = len(flags)
    return figures


def format_noise(figures: Mapping[str, Any]) -> str:
    """Return figures as lines of text."""
    lines = [
        f"targets        {figures['targets']} of {figures['images']} images"
        + (f", {figures['images_missing']} images missing" if figures["images_missing"] else ""),
        f"with findings  {figures['with_findings']}",
        *(f"{kind:<14} {figures['findings'][kind]:<6} {MEANINGS[kind]}" for kind in MEANINGS),
        f"outlines       {figures['corners_per_100_pixels']:.2f} corners in 100 pixels",
    ]
    for entry in figures["worst"][:10]:
        kinds = ", ".join(f"{kind} ({text})" for kind, text in entry["findings"].items())
        lines.append(f"{entry['score']:<14.2f} {entry['target_id']}: {kinds}")
    for name in ("report", "flags"):
        if name in figures:
            more = f" ({figures['flagged']} targets to drop)" if name == "flags" else ""
            lines.append(f"{name:<14} {figures[name]}{more}")
    return "\n".join(lines)


def find_noise(trajectories: Iterable[Trajectory], images: TargetImages) -> list[JudgedTarget]:
    """Judge targets, in their order; each is compared with the others of its image."""
    threads = Threads(available_cores())
    seen: set[tuple[str, str]] = set()

    def jobs() -> Iterator[tuple[int, Trajectory, bool]]:
        for number, trajectory in enumerate(trajectories):
            ref = trajectory.target.ref
            image = (ref.image_path, ref.dataset)
            yield number, trajectory, image not in seen
            seen.add(image)

    def judge(job: tuple[int, Trajectory, bool]) -> JudgedTarget:
        number, trajectory, is_first = job
        return _judged(number, trajectory, images, with_look=is_first)

    made = threads.map_ahead(judge, jobs(), ahead=2 * threads.count)
    found = list(made)
    _add_texts(found)
    _add_duplicates(found)
    return found


class TargetImages(Protocol):
    """Gives the images of targets."""

    def of(self, trajectory: Trajectory) -> Image | None:
        """Return a target's image, None if there is none."""
        ...


class _Images:
    """A run's images; `missing` counts the distinct ones that cannot be read."""

    def __init__(self, asked: NoiseOptions) -> None:
        run = open_run(asked.run_folder, data_root=asked.data_root)
        # The targets of an image follow one another.
        self._load = lru_cache(_KEPT_IMAGES)(
            lambda path, size_hw: run.images.of_target(path, size_hw=size_hw)
        )
        self._is_used = asked.images
        self._missing: set[str] = set()

    @property
    def missing(self) -> int:
        return len(self._missing)

    def of(self, trajectory: Trajectory) -> Image | None:
        """Return a target's image, None if there is none."""
        if not self._is_used:
            return None
        target = trajectory.target
        try:
            return self._load(target.ref.image_path, target.size_hw)
        except TargetError:
            self._missing.add(target.ref.image_path)
            return None


def _judged(
    number: int, trajectory: Trajectory, images: TargetImages, *, with_look: bool
) -> JudgedTarget:
    target = trajectory.target
    ref = target.ref
    truth = decode_rle(target.truth)
    defects = find_defects(truth)
    chased = chased_clicks(trajectory, defects)
    image = images.of(trajectory)
    outline = measure_outline(truth)
    return JudgedTarget(
        number=number,
        key=(ref.dataset, ref.split, ref.target_id),
        image=(ref.image_path, ref.dataset),
        named=NamedTarget(
            texts=ref.expressions,
            centre_xy=_centre(truth),
            colours={} if image is None else colour_shares(image, truth),
            same=(ref.object_id, target.truth.counts),
        ),
        outline=(outline.length, outline.corners),
        findings=tuple(_mask_findings(int(truth.sum()), defects, chased)),
        look=look_of(image) if with_look and image is not None else None,
    )


def _centre(truth: Mask) -> tuple[float, float]:
    height, width = truth.shape
    area = max(1, int(truth.sum()))
    columns, rows = truth.sum(axis=0), truth.sum(axis=1)
    x = float((columns * range(width)).sum()) / area
    y = float((rows * range(height)).sum()) / area
    return x / width, y / height


def _mask_findings(area: int, defects: Defects, chased: ChasedClicks) -> Iterator[Finding]:
    by_kind: Mapping[NoiseKind, tuple[int, ...]] = {
        "hole": defects.holes,
        "island": defects.islands,
        "sliver": defects.slivers,
    }
    for kind, areas in by_kind.items():
        if areas:
            strength = min(1.0, sum(areas) / (_WHOLE_SHARE * area))
            yield Finding(kind, strength, f"{len(areas)} of {sum(areas)} pixels in all")
    if chased.share:
        places = Counter(place for place in chased.places if place != "object")
        shown = ", ".join(f"{count} {place}" for place, count in sorted(places.items()))
        text = f"{sum(places.values())} of {len(chased.places)} later clicks: {shown}"
        yield Finding("chased", chased.share, text)
    share = chased.unreachable / max(1, area)
    if share >= _UNREACHABLE_SHARE:
        text = f"{chased.unreachable} of {chased.left} wrong pixels"
        yield Finding("unreachable", min(1.0, share), text)


def _add_texts(found: list[JudgedTarget]) -> None:
    by_image: dict[tuple[str, str], list[int]] = {}
    for place, target in enumerate(found):
        by_image.setdefault(target.image, []).append(place)
    for places in by_image.values():
        named = [found[place].named for place in places]
        for index, text in shared_texts(named).items():
            _add(found, places[index], Finding("shared", 1.0, repr(text)))
        for index, other in swapped_texts(named).items():
            text = f"with {found[places[other]].key[2]}: {named[other].texts[0]!r}"
            _add(found, places[index], Finding("swapped", 1.0, text))


def _add_duplicates(found: list[JudgedTarget]) -> None:
    """Mark the targets of images that look like an earlier one."""
    firsts = [target for target in found if target.look is not None]
    looks = [target.look for target in firsts if target.look is not None]
    copies: dict[tuple[str, str], str] = {}
    for first, second in near_duplicates(looks):
        copies.setdefault(firsts[second].image, firsts[first].image[0])
    for place, target in enumerate(found):
        if target.image in copies:
            _add(found, place, Finding("duplicate", 1.0, f"of {copies[target.image]}"))


def _add(found: list[JudgedTarget], place: int, finding: Finding) -> None:
    target = found[place]
    found[place] = replace(target, findings=(*target.findings, finding))


def _figures(
    run: SourceRun, judged: Sequence[JudgedTarget], worst: Sequence[JudgedTarget], images: _Images
) -> dict[str, Any]:
    counts = Counter(finding.kind for target in judged for finding in target.findings)
    length = sum(target.outline[0] for target in judged)
    corners = sum(target.outline[1] for target in judged)
    return {
        "out": run.out,
        "targets": len(judged),
        "images": len({target.image for target in judged}),
        "images_missing": images.missing,
        "with_findings": sum(bool(target.findings) for target in judged),
        "findings": {kind: counts[kind] for kind in MEANINGS},
        "corners_per_100_pixels": 100 * corners / length if length else 0.0,
        "worst": [
            {
                "dataset": target.key[0],
                "split": target.key[1],
                "target_id": target.key[2],
                "image_path": target.image[0],
                "score": round(target.score, 4),
                "findings": {finding.kind: finding.text for finding in target.findings},
            }
            for target in worst
        ],
    }


def _report(
    asked: NoiseOptions,
    run: SourceRun,
    figures: Mapping[str, Any],
    worst: Sequence[JudgedTarget],
    images: _Images,
) -> bytes:
    wanted = {target.number: target for target in worst}
    pictures: dict[int, NoiseEntry] = {}
    for number, trajectory in enumerate(
        read_trajectories(run.storage, run.out, manifest=run.manifest)
    ):
        if number in wanted:
            pictures[number] = _entry(wanted[number], trajectory, images)
    config = run.manifest.config
    return render_noise(
        [pictures[target.number] for target in worst],
        title=f"Noise in {asked.run_folder}",
        counts={kind: (figures["findings"][kind], meaning) for kind, meaning in MEANINGS.items()},
        facts={
            "data set": f"{config['dataset']} ({config['split']})",
            "targets": figures["targets"],
            "images": figures["images"],
            "images missing": figures["images_missing"],
            "corners in 100 pixels of outline": f"{figures['corners_per_100_pixels']:.2f}",
        },
    )


def _entry(target: JudgedTarget, trajectory: Trajectory, images: _Images) -> NoiseEntry:
    truth = decode_rle(trajectory.target.truth)
    clicks = trajectory.clicks_before(len(trajectory.steps))
    picture = noise_picture(images.of(trajectory), truth, find_defects(truth).mask, clicks)
    texts = " | ".join(target.named.texts)
    return NoiseEntry(
        f"{target.key[2]}: {texts}",
        {finding.kind: finding.text for finding in target.findings},
        picture,
    )


def _flags_of(target: JudgedTarget, kinds: Sequence[NoiseKind]) -> Iterator[Flag]:
    chosen = [finding for finding in target.findings if finding.kind in kinds]
    if chosen:
        note = "; ".join(f"{finding.kind}: {finding.text}" for finding in chosen)
        yield Flag(*target.key, FlagKind.DROP, note=note)


def _write(path: str, data: bytes) -> None:
    try:
        storage_for(path).write_bytes(path, data)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}; name another file") from error
