"""Choose targets or whole images at random: seeded, stratified, independent of the run's order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hlmat.pipelines.correction.derived_run import Place, SourceRun, listed
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.dataset_io.arrow import Row

_NAMES = ("dataset", "split", "target_id", "image_path")
_COLUMNS = (*_NAMES, "image_digest", "stop_reason", "num_clicks", "final_iou", "truth_area")
_SMALL, _MEDIUM = 32**2, 96**2
_IOU_TENTHS = 10
_REJECTS = ("only rejects",)

Stratum = tuple[str, ...]
"""The values that targets are stratified by, as texts."""


@dataclass
class Group:
    """What is chosen as one: a target, or an image with all its targets and rejects.

    Attributes:
        strata: how many of its targets are in each stratum.
        trajectories: where its trajectories are, in order.
        rejects: where its rejects are.
    """

    strata: Counter[Stratum] = field(default_factory=Counter)
    trajectories: list[Place] = field(default_factory=list)
    rejects: list[Place] = field(default_factory=list)

    @property
    def stratum(self) -> Stratum:
        """The stratum of most of its targets, the first of several; one for rejects alone."""
        most = max(self.strata.values(), default=0)
        found = (stratum for stratum, count in self.strata.items() if count == most)
        return min(found, default=_REJECTS)


def groups_of(run: SourceRun, *, by: str, stratify: Sequence[str]) -> dict[str, Group]:
    """Return what there is to choose from, by name.

    Args:
        by: `image` keeps the targets and rejects of an image together, and images of the same
            pixels; `target` takes trajectories one by one, without rejects.
        stratify: the values that make a stratum: `dataset`, `split`, `stop`, `clicks`, `iou`,
            `area`.

    Raises:
        DataError: a file is not as the manifest lists it.
    """
    groups: defaultdict[str, Group] = defaultdict(Group)
    known: dict[tuple[str, str], str] = {}
    for place, row in listed(run.trajectories, _COLUMNS):
        image = (row["dataset"], row["image_path"])
        if by == "image":
            name = known.setdefault(image, row["image_digest"] or "\0".join(image))
        else:
            name = "\0".join((row["dataset"], row["split"], row["target_id"]))
        group = groups[name]
        group.strata[tuple(_value_of(row, each) for each in stratify)] += 1
        group.trajectories.append(place)
    if by == "image":
        for place, row in listed(run.rejects, _NAMES):
            image = (row["dataset"], row["image_path"])
            groups[known.get(image, "\0".join(image))].rejects.append(place)
    return dict(groups)


def apportion(
    groups: Mapping[str, Group], shares: Mapping[str, float], *, seed: int
) -> dict[str, list[Group]]:
    """Distribute groups to parts of given shares, each stratum as evenly as possible.

    The groups are put in order by stratum, at random within one; each then goes to the part that is
    furthest behind its share. With two parts each gets its share of the groups up to rounding.

    Args:
        groups: by name.
        shares: by the name of the part; they add up to 1.
        seed: the same seed gives the same parts, whatever the order of `groups`.
    """
    strata: defaultdict[Stratum, list[str]] = defaultdict(list)
    for name in sorted(groups):
        strata[groups[name].stratum].append(name)
    parts: dict[str, list[Group]] = {part: [] for part in shares}
    done = 0
    for stratum in sorted(strata):
        names = strata[stratum]
        order = target_rng(seed, "\0".join(stratum), "choose").permutation(len(names))
        for index in order:
            done += 1
            behind = {part: share * done - len(parts[part]) for part, share in shares.items()}
            part = max(behind, key=lambda each: behind[each])
            parts[part].append(groups[names[int(index)]])
    return parts


def places_in(groups: Sequence[Group]) -> tuple[list[Place], list[Place]]:
    """Return where the trajectories and the rejects of groups are, in the run's order."""
    return (
        sorted(place for group in groups for place in group.trajectories),
        sorted(place for group in groups for place in group.rejects),
    )


def _value_of(row: Row, name: str) -> str:
    match name:
        case "stop":
            return row["stop_reason"]
        case "clicks":
            return str(row["num_clicks"])
        case "iou":
            return str(min(_IOU_TENTHS - 1, int(row["final_iou"] * _IOU_TENTHS)))
        case "area":
            area = row["truth_area"]
            return "small" if area < _SMALL else "medium" if area < _MEDIUM else "large"
        case _:
            return row[name]
