"""The flags of `hlmat bench`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.segmenters.options import SegmenterOptions

ACTIONS = {
    "list": ("", "the tracks"),
    "show": ("TRACK", "the commands that evaluate a track, and a submission to fill in"),
    "baselines": ("DIR", "evaluate the policies without a model, and submit them below a folder"),
    "score": ("FILE", "figures of a submission, recomputed from its masks"),
    "verify": ("FILE", "its target list, and a sample of its clicks asked of the segmenter again"),
    "table": ("DIR", "the leaderboard of the submissions below a folder"),
}
"""What `hlmat bench` does, each with its argument."""


@options
class BenchOptions:
    """What `hlmat bench` does, and with what."""

    words: tuple[str, ...] = setting(
        metavar="ACTION",
        help="; ".join(f"{a} {b[0]}".strip() + f": {b[1]}" for a, b in ACTIONS.items()),
    )
    data_root: str | None = setting(
        default=None, metavar="DIR", help="where the track's data set is, if it needs one"
    )
    sample: int = setting(default=20, ge=1, metavar="N", help="verify: targets to replay")
    seed: int = setting(default=0, ge=0, metavar="K", help="verify: of the sample")
    html: str | None = setting(default=None, metavar="FILE", help="table: write it as HTML too")
    track: str | None = setting(
        default=None,
        metavar="TRACK",
        help="baselines: on this track; by default on each that needs no data set",
    )
    workers: int | None = setting(
        default=None, ge=1, metavar="N", help="baselines: local processes, as of hlmat evaluate"
    )


BENCH = (
    Group(
        "benchmark",
        (
            Flag("ACTION", BenchOptions, "words", dest="words", is_positional=True),
            Flag("data-root", BenchOptions),
            Flag("html", BenchOptions),
        ),
    ),
    Group("baselines", (Flag("track", BenchOptions), Flag("workers", BenchOptions))),
    Group(
        "verify",
        (
            Flag("sample", BenchOptions),
            Flag("seed", BenchOptions),
            Flag("checkpoint", SegmenterOptions),
            Flag("device", SegmenterOptions),
            Flag("segmenter-path", SegmenterOptions, "search_path"),
        ),
    ),
)


@dataclass(frozen=True)
class BenchCall:
    """A validated call of `hlmat bench`.

    Attributes:
        action: a key of `ACTIONS`.
        argument: its track, file or folder; "" for none.
        quiet: print no progress.
        segmenter: device and weights of the segmenter for `verify`; its name comes from the
            submission.
    """

    action: str
    argument: str
    options: BenchOptions
    segmenter: SegmenterOptions
    quiet: bool = False


def bench_call(arguments: argparse.Namespace) -> BenchCall:
    """Validate the arguments of `hlmat bench`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, BENCH, check)
    values.read_given()
    given = values.build(BenchOptions)
    segmenter = values.build(SegmenterOptions, storage=storage_for(values.get("checkpoint")))
    action, *rest = given.words
    if action not in ACTIONS:
        check.note(
            f"hlmat bench {action!r} is unknown; {did_you_mean(action, ACTIONS)}choose from "
            f"{', '.join(ACTIONS)}"
        )
        check.done()
    expected = ACTIONS[action][0]
    if len(rest) != bool(expected):
        check.note(
            f"hlmat bench {action} takes {f'one {expected}' if expected else 'no argument'}, got "
            f"{' '.join(rest) or 'none'}"
        )
    if given.html is not None and action != "table":
        check.note("--html belongs to hlmat bench table; leave it out")
    if action != "baselines":
        for flag in ("track", "workers"):
            if getattr(given, flag) is not None:
                check.note(f"--{flag} belongs to hlmat bench baselines; leave it out")
    elif given.data_root is not None and given.track is None:
        check.note("--data-root goes with the track that needs it; add --track")
    elif rest and "://" in rest[0]:
        check.note(f"hlmat bench baselines {rest[0]}: submissions are local; give a folder")
    check.done()
    quiet = arguments.quiet or arguments.json
    return BenchCall(action, rest[0] if rest else "", given, segmenter, quiet)
