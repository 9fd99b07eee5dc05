"""Work units: the targets that a worker takes at a time, and the grain of a checkpoint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from typing import Any

from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.records import Reject, RejectReason, TargetRef

try:
    import orjson
except ImportError:
    # The benchmark for GPU machines does without it.
    orjson = None

# Sorted, as they are written.
_REF_FIELDS = tuple(sorted(field.name for field in dataclasses.fields(TargetRef)))
_ref_values = operator.attrgetter(*_REF_FIELDS)

WorkItem = TargetRef | Reject
"""A target to roll out, or one that the reader already had to reject."""


@dataclasses.dataclass(frozen=True)
class WorkUnit:
    """Targets that are worked on together; an image's targets are never in two units.

    Attributes:
        unit_id: hex digest of the run's fingerprint and the items.
        index: position in the run, from 0.
        items: never empty.
        items_json: the items as written for the id, which takes most of the time of planning; None
            if they are not written yet.
    """

    unit_id: str
    index: int
    items: tuple[WorkItem, ...]
    items_json: str | None = dataclasses.field(default=None, repr=False, compare=False)


class _PartOfMany:
    index: int
    count: int

    def conflicts(self) -> Iterator[str]:
        """Yield what is wrong with both numbers together."""
        if self.index > self.count:
            yield "{index} is above {count}; parts are numbered from 1"


@options
class DatasetPartition(_PartOfMany):
    """One of `count` parts of a data set, for several machines without a cluster."""

    index: int = setting(ge=1, help="only part I of N, cut by image; I from 1")
    count: int = setting(ge=1, help="number of parts")

    def holds(self, ref: TargetRef) -> bool:
        """Return whether a target belongs to this partition; its image decides."""
        # File names that are no valid Unicode have no plain UTF-8 form.
        name = ref.image_path.encode("utf-8", "surrogatepass")
        return zlib.crc32(name) % self.count == self.index - 1


@options
class UnitShard(_PartOfMany):
    """One of `count` parts of a run's units, for several machines that share its folder."""

    index: int = setting(
        ge=1,
        in_fingerprint=False,
        help="do every Nth unit alone, from the I-th on, and no final files: one of several "
        "machines with one OUT; the command without --shard ends the run",
    )
    count: int = setting(ge=1, in_fingerprint=False, help="number of parts")

    def holds(self, unit_index: int) -> bool:
        """Return whether the unit at a position in the run, from 0, belongs to this part."""
        return unit_index % self.count == self.index - 1


def select_items(
    items: Iterable[WorkItem],
    *,
    partition: DatasetPartition | None = None,
    limit: int | None = None,
) -> Iterator[WorkItem]:
    """Keep the items of a partition, then the first `limit` of them."""
    kept = (item for item in items if partition is None or partition.holds(ref_of(item)))
    return islice(kept, limit)


def ref_of(item: WorkItem) -> TargetRef:
    """Return the target that an item is about."""
    return item.ref if isinstance(item, Reject) else item


def plan_units(
    items: Iterable[WorkItem], *, unit_size: int, fingerprint: str
) -> Iterator[WorkUnit]:
    """Cut items into units of at least `unit_size` (the last may be smaller), image by image.

    Args:
        items: the targets of one image are consecutive.
        unit_size: a unit closes with the image that brings it to this many items.
        fingerprint: of the run, so that units of different runs never share an id.
    """
    index = 0
    pending: list[WorkItem] = []
    for _, of_image in groupby(items, key=lambda item: ref_of(item).image_path):
        pending.extend(of_image)
        if len(pending) >= unit_size:
            yield _build_unit(pending, index=index, fingerprint=fingerprint)
            index += 1
            pending = []
    if pending:
        yield _build_unit(pending, index=index, fingerprint=fingerprint)


def unit_to_json(unit: WorkUnit) -> str:
    """Return a unit as one line of JSON."""
    items = unit.items_json or _items_to_json(unit.items)
    return f'{{"index":{unit.index},"items":{items},"unit_id":{_canonical_json(unit.unit_id)}}}'


def unit_from_json(line: str) -> WorkUnit:
    """Return the unit that `unit_to_json` wrote.

    Raises:
        DataError: the line is something else.
    """
    try:
        data = json.loads(line)
        return WorkUnit(
            unit_id=data["unit_id"],
            index=data["index"],
            items=tuple(_item_from_dict(item) for item in data["items"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"a line of the plan is not a work unit ({type(error).__name__}: {error}): "
            f"{line[:80]!r}; run again with --overwrite"
        ) from error


def _build_unit(items: list[WorkItem], *, index: int, fingerprint: str) -> WorkUnit:
    text = _items_to_json(items)
    digest = hashlib.sha256((fingerprint + text).encode()).hexdigest()
    return WorkUnit(unit_id=digest[:32], index=index, items=tuple(items), items_json=text)


def _items_to_json(items: Iterable[WorkItem]) -> str:
    return _canonical_json([_item_to_dict(item) for item in items])


def _item_to_dict(item: WorkItem) -> dict[str, Any]:
    ref = ref_of(item)
    data: dict[str, Any] = dict(zip(_REF_FIELDS, _ref_values(ref), strict=True))
    if isinstance(item, Reject):
        data["reject"] = {"reason": item.reason, "message": item.message}
    return data


def _item_from_dict(data: dict[str, Any]) -> WorkItem:
    reject = data.pop("reject", None)
    ref = TargetRef(**{**data, "expressions": tuple(data["expressions"])})
    if reject is None:
        return ref
    return Reject(ref=ref, reason=RejectReason(reject["reason"]), message=reject["message"])


def _canonical_json(value: Any) -> str:
    # ASCII: names that are not valid Unicode and line separators inside texts come through.
    # Of ASCII, orjson writes the same text in a fraction of the time, except for DEL.
    if orjson is not None:
        with suppress(TypeError):
            text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
            if text.isascii() and b"\x7f" not in text:
                return text.decode("ascii")
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
