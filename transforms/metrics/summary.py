"""Figures of a run, computed from sums over its targets that are kept by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hlmat.transforms.core.records import Reject, StopReason
from hlmat.transforms.metrics.bootstrap import Interval, bootstrap_intervals, ratios
from hlmat.transforms.metrics.click_curves import ClickProtocol, clicks_at_most, clicks_to_reach
from hlmat.transforms.metrics.target_results import TargetResult

# IoUs are summed as whole multiples of 2^-60: integer sums do not depend on the order.
_IOU_UNIT = 1 << 60

_FOUND_IOU = 0.5
"""From here on a mask counts as one of the target object."""

_OPTIONAL = ("boundary_iou", "model_calls", "decoder_calls", "stop_reason")
"""Attributes of a result that may be None; a figure of one needs its value for every target."""


@dataclass(frozen=True)
class _Figure:
    """A ratio of two sums, by the names of their columns.

    Attributes:
        group: the list or dictionary that it belongs to; None for a figure outside any group.
        label: its name within the group.
        is_count: whether it is shown as a number of targets instead of a share of them.
    """

    group: str | None
    label: str
    top: str
    bottom: str = "targets"
    is_count: bool = False


class Summary:
    """Sums over results and rejects, independent of their order; `+` merges two.

    Memory grows with the number of images, not of targets.

    Args:
        protocol: the rules of the run; summaries of different protocols do not merge. None omits
            the figures over clicks (IoU@k, NoC, NoF).
        by_image: whether to keep sums by image, which intervals need; one sum otherwise.
    """

    def __init__(self, protocol: ClickProtocol | None = None, *, by_image: bool = True) -> None:
        self.protocol = protocol
        self.rejects: Counter[str] = Counter()
        self._by_image = by_image
        self._rows: dict[str, list[int]] = {}
        self._known: Counter[str] = Counter()
        self._columns = {name: place for place, name in enumerate(_column_names(protocol))}

    def add(self, result: TargetResult) -> None:
        """Add a target's result.

        Raises:
            ValueError: it has more clicks than the protocol allows, or no boundary IoU by click
            although the protocol has it.
        """
        values = _column_values(result, self.protocol)
        image = result.image if self._by_image else ""
        row = self._rows.get(image)
        self._rows[image] = values if row is None else _added(row, values)
        self._known.update(name for name in _OPTIONAL if getattr(result, name) is not None)

    def add_reject(self, reject: Reject) -> None:
        """Count a target without a trajectory."""
        self.rejects[reject.reason.value] += 1

    def __add__(self, other: Summary) -> Summary:
        if self.protocol != other.protocol or self._by_image != other._by_image:
            raise ValueError(
                f"figures of different protocols do not add up: {self.protocol} and "
                f"{other.protocol}"
            )
        merged = Summary(self.protocol, by_image=self._by_image)
        merged.rejects = self.rejects + other.rejects
        merged._known = self._known + other._known
        merged._rows = dict(self._rows)
        for image, values in other._rows.items():
            row = merged._rows.get(image)
            merged._rows[image] = values if row is None else _added(row, values)
        return merged

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Summary):
            return NotImplemented
        mine, theirs = (
            (s.protocol, s.rejects, s._rows, s._known, s._by_image) for s in (self, other)
        )
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_targets(self) -> int:
        """How many results were added."""
        return sum(row[0] for row in self._rows.values())

    def values(self) -> dict[str, Any]:
        """Return the figures without intervals, as plain JSON values; means of nothing are None.

        Returns:
            `targets`, `trajectories`, `rejected`, `rejects`, `stop_reasons` (counts),
            `clicks_per_target`, `gIoU`, `cIoU`, `IoU@k` (a list, k = 1 to max_clicks), `IoU@0`
            (only after an initial action), `NoC` and `NoF` (by label, see `ClickProtocol.label`),
            `boundary_IoU@k` (a list, if the protocol has it), and whatever else every result has:
            `boundary_IoU`, calls, `invalid_rate`. If some targets' mask after the first click has
            an IoU below 0.5, also `recovery_rate`, the share of these whose prediction reaches 0.5;
            the first click is the initial one after the initial action wrong-click. If some
            targets have no object, also `N-acc`, the share of them whose prediction is empty, and
            `T-acc`, the share of the others whose prediction is not (Liu et al., GRES, CVPR 2023).
        """
        figures = self._figures()
        count = self.num_targets
        shares: Sequence[float | None] = [None] * len(figures)
        if count:
            total = [sum(column) for column in zip(*self._rows.values(), strict=True)]
            shares = self._statistic(figures)(np.array([self._scaled(total)]))[0].tolist()
        cells = [
            round((share or 0) * count) if figure.is_count else share
            for figure, share in zip(figures, shares, strict=True)
        ]
        rejected = self.rejects.total()
        return {
            "targets": count + rejected,
            "trajectories": count,
            "rejected": rejected,
            "rejects": dict(sorted(self.rejects.items())),
            **self._assembled(figures, cells),
        }

    def figures(self) -> dict[str, Any]:
        """Return every figure with its 95 % interval, as plain JSON values.

        Returns:
            As `values`, each figure with `value`, `low` and `high`; counts of targets have whole
            numbers as values. `measured` and `images` are the numbers of targets and images that
            the figures cover.

        Raises:
            ValueError: no results were added, or sums are not kept by image.
        """
        if not self._by_image or not self._rows:
            raise ValueError("intervals need results, with sums kept by image")
        figures = self._figures()
        columns = np.array([self._scaled(row) for row in self._rows.values()])
        intervals = bootstrap_intervals(columns, list(self._rows), self._statistic(figures))
        count = self.num_targets
        cells = [
            _count_of(interval, count) if figure.is_count else interval.as_dict()
            for figure, interval in zip(figures, intervals, strict=True)
        ]
        return {
            **self._assembled(figures, cells),
            "measured": count,
            "images": len(self._rows),
        }

    def _figures(self) -> list[_Figure]:
        """List the figures that can be computed for every result."""
        count = self.num_targets
        known = {name for name in _OPTIONAL if count and self._known[name] == count}
        listed = [
            _Figure(None, "gIoU", "iou"),
            _Figure(None, "cIoU", "intersection", "union"),
            _Figure(None, "clicks_per_target", "clicks"),
        ]
        if any(row[self._columns["absent"]] for row in self._rows.values()):
            listed.append(_Figure(None, "N-acc", "absent_found", "absent"))
            if any(row[self._columns["object"]] for row in self._rows.values()):
                listed.append(_Figure(None, "T-acc", "object_found", "object"))
        if "boundary_iou" in known:
            listed.append(_Figure(None, "boundary_IoU", "boundary_iou"))
        listed += [
            _Figure(None, f"{name}_per_target", name)
            for name in ("model_calls", "decoder_calls")
            if {"model_calls", "decoder_calls"} <= known
        ]
        if "stop_reason" in known:
            listed.append(_Figure(None, "invalid_rate", StopReason.INVALID_ACTION))
        listed += [
            _Figure("stop_reasons", reason, reason, is_count=True)
            for reason in sorted(r.value for r in StopReason)
            if any(row[self._columns[reason]] for row in self._rows.values())
        ]
        protocol = self.protocol
        if protocol is None:
            return listed
        if any(row[self._columns["missed"]] for row in self._rows.values()):
            listed.append(_Figure(None, "recovery_rate", "recovered", "missed"))
        clicks = range(1, protocol.max_clicks + 1)
        listed += [_Figure("IoU@k", str(k), f"after {k}") for k in clicks]
        if protocol.initial_action != "none":
            listed.append(_Figure(None, "IoU@0", "after 0"))
        if protocol.has_boundary:
            listed += [_Figure("boundary_IoU@k", str(k), f"boundary after {k}") for k in clicks]
        for t in protocol.thresholds:
            listed.append(_Figure("NoC", protocol.label("NoC", t), f"needed {t}"))
            listed.append(_Figure("NoF", protocol.label("NoF", t), f"failed {t}", is_count=True))
        return listed

    def _statistic(
        self, figures: Sequence[_Figure]
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        tops = [self._columns[figure.top] for figure in figures]
        bottoms = [self._columns[figure.bottom] for figure in figures]
        return lambda sums: ratios(sums[:, tops], sums[:, bottoms])

    def _scaled(self, row: Sequence[int]) -> list[float]:
        """Return sums as floats, IoUs in units of 1."""
        return [
            value / _IOU_UNIT if _is_iou(name) else float(value)
            for name, value in zip(self._columns, row, strict=True)
        ]

    def _assembled(self, figures: Sequence[_Figure], cells: Sequence[Any]) -> dict[str, Any]:
        """Put each figure's cell where it belongs."""
        content: dict[str, Any] = {"stop_reasons": {}}
        if self.protocol is not None:
            content |= {"IoU@k": [], "NoC": {}, "NoF": {}}
        for figure, cell in zip(figures, cells, strict=True):
            if figure.group is None:
                content[figure.label] = cell
            elif figure.group in ("IoU@k", "boundary_IoU@k"):
                content.setdefault(figure.group, []).append(cell)
            else:
                content[figure.group][figure.label] = cell
        return content


def summarize(
    results: Iterable[TargetResult], protocol: ClickProtocol | None = None, *, by_image: bool = True
) -> Summary:
    """Sum results; without results, the summary is empty. Arguments as for `Summary`."""
    summary = Summary(protocol, by_image=by_image)
    for result in results:
        summary.add(result)
    return summary


def _column_names(protocol: ClickProtocol | None) -> Iterator[str]:
    yield from ("targets", "iou", "boundary_iou", "intersection", "union", "clicks")
    yield from ("model_calls", "decoder_calls")
    yield from ("object", "object_found", "absent", "absent_found")
    yield from (reason.value for reason in StopReason)
    if protocol is not None:
        yield from ("missed", "recovered")
        yield from (f"after {k}" for k in range(protocol.max_clicks + 1))
        if protocol.has_boundary:
            yield from (f"boundary after {k}" for k in range(protocol.max_clicks + 1))
        yield from (f"needed {t}" for t in protocol.thresholds)
        yield from (f"failed {t}" for t in protocol.thresholds)


def _column_values(result: TargetResult, protocol: ClickProtocol | None) -> list[int]:
    """Return what a result adds to each column, in the order of `_column_names`."""
    values = [
        1,
        round(result.iou * _IOU_UNIT),
        round((result.boundary_iou or 0) * _IOU_UNIT),
        result.intersection,
        result.union,
        result.clicks,
        result.model_calls or 0,
        result.decoder_calls or 0,
        int(result.has_object),
        int(result.has_object and result.predicts_object),
        int(not result.has_object),
        int(not result.has_object and not result.predicts_object),
        *(int(result.stop_reason is reason) for reason in StopReason),
    ]
    if protocol is None:
        return values
    if result.clicks > protocol.max_clicks:
        raise ValueError(
            f"target {result.target_id!r} has {result.clicks} clicks, more than the "
            f"{protocol.max_clicks} of the protocol; give the run's own"
        )
    after, limit = result.iou_after_click, protocol.max_clicks
    missed = result.has_object and after[min(protocol.first_click, limit)] < _FOUND_IOU
    values += [int(missed), int(missed and result.iou >= _FOUND_IOU)]
    values += [round(iou * _IOU_UNIT) for iou in after]
    if protocol.has_boundary:
        if result.boundary_iou_after_click is None:
            raise ValueError(f"target {result.target_id!r} has no boundary IoU by click")
        values += [round(iou * _IOU_UNIT) for iou in result.boundary_iou_after_click]
    values += [clicks_at_most(after, t, max_clicks=limit) for t in protocol.thresholds]
    values += [int(clicks_to_reach(after, t) is None) for t in protocol.thresholds]
    return values


def _is_iou(name: str) -> bool:
    return name in ("iou", "boundary_iou") or name.startswith(("after ", "boundary after "))


def _count_of(interval: Interval, count: int) -> dict[str, Any]:
    """Return a share of targets as a number of them."""
    limits = {"low": interval.low, "high": interval.high}
    scaled = {key: None if limit is None else limit * count for key, limit in limits.items()}
    return {"value": round(interval.value * count), **scaled}


def _added(a: Sequence[int], b: Sequence[int]) -> list[int]:
    return [x + y for x, y in zip(a, b, strict=True)]
