"""The units of a run or of one of its shards, and those that are not done yet."""

from __future__ import annotations

from collections.abc import Mapping

from hlmat.pipelines.run.folder import RunFolder
from hlmat.pipelines.run.planning import Plan
from hlmat.transforms.core.errors import IncompleteError
from hlmat.transforms.dataset_io.layout import UNIT_SUFFIX
from hlmat.transforms.dataset_io.work_units import UnitShard


def units_of(shard: UnitShard | None, plan: Plan) -> Mapping[str, int]:
    """Return the number of targets of each unit of a shard, or of every unit if it is None."""
    units = plan.targets_by_unit
    if shard is None:
        return units
    return {unit: count for i, (unit, count) in enumerate(units.items()) if shard.holds(i)}


def unfinished_units(plan: Plan, folder: RunFolder, *, shard: UnitShard | None) -> dict[str, int]:
    """Return the number of targets of each unit that is not done."""
    done = {name.removesuffix(UNIT_SUFFIX) for name in folder.storage.list_dir(folder.layout.units)}
    return {unit: count for unit, count in units_of(shard, plan).items() if unit not in done}


def check_shard(shard: UnitShard, plan: Plan, folder: RunFolder) -> None:
    """Check that every unit of a shard is done.

    Raises:
        IncompleteError: units died.
    """
    if left := unfinished_units(plan, folder, shard=shard):
        shown = "\n".join(f"  {text}" for text in folder.failures()[:3])
        raise IncompleteError(
            f"{len(left)} of {len(units_of(shard, plan))} units of shard "
            f"{shard.index}/{shard.count} died:\n{shown}\nrun the same command again to do them"
        )
