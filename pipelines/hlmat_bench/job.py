"""The job `hlmat bench`: tracks, scores, verifications and the leaderboard."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

from hlmat.export.reports.html_page import escaped, html_page, html_table
from hlmat.pipelines.hlmat_bench.scoring import score_submission
from hlmat.pipelines.hlmat_bench.submission import read_submission
from hlmat.pipelines.hlmat_bench.table import (
    leaderboard_tables,
    render_leaderboard,
    score_all,
    sorted_scores,
)
from hlmat.pipelines.hlmat_bench.tracks import TRACKS, VERSION, track_problem
from hlmat.pipelines.hlmat_bench.verification import format_verification, verify_submission
from hlmat.pipelines.settings.bench_options import BenchCall
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.metrics.bootstrap import METHOD
from hlmat.transforms.segmenters.options import SegmenterOptions


@dataclass(frozen=True)
class BenchReport:
    """The outcome.

    Attributes:
        values: as plain JSON values.
        text: the same to read.
        is_good: False if a verification found something.
    """

    values: Any
    text: str
    is_good: bool = True


def do_bench(call: BenchCall) -> BenchReport:
    """Do what a call of `hlmat bench` asks for.

    Raises:
        ConfigError: a name, file or flag is wrong.
        DataError: predictions cannot be read, or are not those of the track's targets.
    """
    root = call.options.data_root
    match call.action:
        case "list":
            return _list()
        case "show":
            return _show(call.argument)
        case "baselines":
            return _baselines(call)
        case "score":
            score = score_submission(call.argument, data_root=root)
            return BenchReport(score, render_leaderboard([score]))
        case "verify":
            report = verify_submission(
                call.argument,
                segmenter=_segmenter(call),
                data_root=root,
                sample=call.options.sample,
                seed=call.options.seed,
            )
            return BenchReport(report, format_verification(report), not report["disagreeing"])
        case _:
            return _table(call, data_root=root)


def _segmenter(call: BenchCall) -> SegmenterOptions:
    """Return the submission's segmenter; its own code is loaded only if the user says from where.

    Raises:
        ConfigError: it is a class and no --segmenter-path is given.
    """
    name = read_submission(call.argument).segmenter
    if ":" in name and not call.segmenter.search_path:
        raise ConfigError(
            [
                f"{call.argument} names the class {name!r} as its segmenter; if you trust that "
                "code, say where it is with --segmenter-path"
            ]
        )
    return replace(call.segmenter, name=name)


def _list() -> BenchReport:
    tracks = {
        name: {"summary": track.summary, "flags": list(track.flags), "sha256": track.sha256}
        for name, track in TRACKS.items()
    }
    width = max(map(len, TRACKS)) + 2
    lines = [f"{name:<{width}} {track.summary}" for name, track in TRACKS.items()]
    return BenchReport({"version": VERSION, "tracks": tracks}, "\n".join(lines))


def _show(name: str) -> BenchReport:
    if (problem := track_problem(name)) is not None:
        raise ConfigError([problem])
    track, out = TRACKS[name], f"out/bench/{name}/mine"
    root = "--data-root DIR " if track.needs_data_root else ""
    policy = "--policy mllm --model DIR"
    commands = [
        f"hlmat evaluate {shlex.join(track.flags)} {root}{policy} --out {out}",
        f"hlmat evaluate {shlex.join(_shuffled(track.flags))} {root}{policy} --out {out}-control",
    ]
    template = (
        f"name: mine\ntrack: {name}\npredictions: mine/predictions.json\n"
        "control: mine-control/predictions.json\nstart: none\nsegmenter: graphcut\n"
        "model: name, size, link\nseconds_per_click: 0.1\nhardware: the machine\n"
    )
    text = "\n".join([*commands, "", f"# out/bench/{name}/mine.yaml", template.rstrip()])
    return BenchReport({"commands": commands, "submission": template}, text)


def _baselines(call: BenchCall) -> BenchReport:
    # Evaluations import Beam, which the other actions do without.
    from hlmat.pipelines.hlmat_bench.baselines import submit_baselines

    written = submit_baselines(
        call.argument,
        track=call.options.track,
        data_root=call.options.data_root,
        workers=call.options.workers,
        quiet=call.quiet,
    )
    root = call.options.data_root
    scores = sorted_scores([score_submission(path, data_root=root) for path in written])
    return BenchReport(scores, render_leaderboard(scores))


def _shuffled(flags: tuple[str, ...]) -> tuple[str, ...]:
    place = flags.index("--expressions") + 1
    return (*flags[:place], "shuffled", *flags[place + 1 :])


def _table(call: BenchCall, *, data_root: str | None) -> BenchReport:
    scores = score_all(call.argument, data_root=data_root)
    text = render_leaderboard(scores)
    if call.options.html is not None:
        parts = [
            part
            for heading, (head, rows) in leaderboard_tables(scores).items()
            for part in (
                f"<h2>{escaped(heading)}</h2>",
                f'<div class="wide">{html_table(head, rows)}</div>',
            )
        ]
        page = html_page(f"HLMAT-Bench v{VERSION}", [*parts, f"<p>{escaped(METHOD)}.</p>"])
        storage_for(call.options.html).write_bytes(call.options.html, page)
    return BenchReport(scores, text)
