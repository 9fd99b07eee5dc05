"""The job `hlmat rejects`: why targets of a run have no trajectory."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hlmat.export.runs.manifest import read_manifest
from hlmat.export.runs.trajectories import read_rejects
from hlmat.pipelines.settings.report_options import rejects_options
from hlmat.transforms.core.records import Reject
from hlmat.transforms.core.url_storage import storage_for

_LONGEST = 240


def list_rejects(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the rejects of a finished run by reason, the most frequent first.

    Raises:
        DataError: no finished run, or its files are damaged.
    """
    options = rejects_options(arguments)
    out, storage = options.run_folder, storage_for(options.run_folder)
    manifest = read_manifest(storage, out)
    rejects = list(read_rejects(storage, out, manifest=manifest))
    view: dict[str, Any] = {
        "targets": manifest.counts["targets"],
        "rejected": len(rejects),
        "reasons": _by_reason(rejects),
    }
    if options.all:
        view["rejects"] = [
            {
                "target_id": reject.ref.target_id,
                "image_path": reject.ref.image_path,
                "reason": reject.reason.value,
                "message": reject.message,
            }
            for reject in rejects
        ]
    return view


def format_rejects(view: Mapping[str, Any], *, out: str) -> str:
    """Return rejects as a table by reason, then each with its message if all are listed."""
    if not view["rejected"]:
        return f"none of the {view['targets']} targets was rejected"
    rows = [
        (entry["reason"], str(entry["count"]), f"{entry['target_id']}: {_line(entry['message'])}")
        for entry in view["reasons"]
    ]
    lines = [f"{view['rejected']} of {view['targets']} targets were rejected", ""]
    lines += _table([("reason", "count", "the first of them"), *rows])
    if "rejects" in view:
        entries = [(r["target_id"], r["reason"], _line(r["message"])) for r in view["rejects"]]
        lines += ["", *_table([("target", "reason", "message"), *entries])]
    else:
        lines += ["", f"hlmat rejects {out} --all lists every one"]
    lines.append("after a repair, add --retry-rejects to the command of the run to try them again")
    return "\n".join(lines)


def closing_remarks(out: str, *, rejected: int) -> list[str]:
    """Return the first message of each reason for the end of a run, one line each.

    Args:
        out: the run's folder.
        rejected: how many targets were rejected.
    """
    if not rejected:
        return []
    entries = _by_reason(read_rejects(storage_for(out), out))
    remarks = [
        f"{entry['count']} rejected as {entry['reason']}, first {entry['target_id']}: "
        f"{_line(entry['message'])}"
        for entry in entries
    ]
    return [*remarks, f"`hlmat rejects {out} --all` lists all {rejected}"]


def _by_reason(rejects: Iterable[Reject]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for reject in rejects:
        entry = found.setdefault(
            reject.reason.value,
            {
                "reason": reject.reason.value,
                "count": 0,
                "target_id": reject.ref.target_id,
                "message": reject.message,
            },
        )
        entry["count"] += 1
    return sorted(found.values(), key=lambda entry: (-entry["count"], entry["reason"]))


def _line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else joined[: _LONGEST - 3] + "..."


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in rows]
