"""The tracks of HLMAT-Bench v1: which targets, by which rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.metrics.budget_figures import MAX_CLICKS

VERSION = "1"
_SOLID = "54bd4b30fb025354494dbeb692aee1945d341d28178b7c7e3b07e66abf0f34c0"
_THIN = "0b6a48419b52c6f946dbc6254c47e54ce623692733e2836e7fdd5b46ed4f3e1a"


@dataclass(frozen=True)
class Track:
    """A fixed list of targets.

    Attributes:
        name: as a submission gives it.
        summary: one line for lists.
        flags: of `hlmat evaluate`: data set and rules.
        sha256: digest of the target list (`target_list.list_digest`); None if the data set could
            not be had when the track was defined, so that a list can only be checked against the
            user's own copy.
        needs_data_root: whether the data set has to be there.
    """

    name: str
    summary: str
    flags: tuple[str, ...]
    sha256: str | None = None
    needs_data_root: bool = True


def _rules() -> tuple[str, ...]:
    return ("--expressions", "each", "--max-clicks", str(MAX_CLICKS))


def _shapes(name: str, difficulty: str, summary: str, sha256: str) -> Track:
    flags = (
        *("--dataset", "shapes", "--split", "test", "--shapes-images", "100"),
        *("--shapes-size", "240x320", "--shapes-objects", "2-5"),
        *("--shapes-difficulty", difficulty, "--shapes-seed", "2026"),
    )
    return Track(name, summary, (*flags, *_rules()), sha256, needs_data_root=False)


def _of_dataset(name: str, dataset: str, split: str, *more: str) -> Track:
    flags = ("--dataset", dataset, "--split", split, *more)
    return Track(name, f"{dataset}, split {split}", (*flags, *_rules()))


_UMD = ("--split-by", "umd")
TRACKS: Mapping[str, Track] = {
    track.name: track
    for track in (
        _shapes("shapes-solid", "simple", "100 generated images of solid shapes", _SOLID),
        _shapes("shapes-thin", "thin", "100 generated images of thin or holed shapes", _THIN),
        *(
            _of_dataset(f"{dataset}-{split.lower()}", dataset, split)
            for dataset in ("refcoco", "refcoco+")
            for split in ("val", "testA", "testB")
        ),
        *(_of_dataset(f"refcocog-{split}", "refcocog", split, *_UMD) for split in ("val", "test")),
        *(_of_dataset(f"grefcoco-{split}", "grefcoco", split) for split in ("val",)),
        *(_of_dataset(f"reasonseg-{split}", "reasonseg", split) for split in ("val", "test")),
        _of_dataset("dis5k-vd", "dis5k", "val"),
    )
}


def track_problem(name: str) -> str | None:
    """Return what is wrong with the name of a track, None if there is one."""
    if name in TRACKS:
        return None
    return f"track {name!r} is unknown; {did_you_mean(name, TRACKS)}choose from {', '.join(TRACKS)}"
