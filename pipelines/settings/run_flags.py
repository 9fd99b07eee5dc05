"""The flags of a run: targets, segmenter, output, runner."""

from __future__ import annotations

from hlmat.pipelines.settings.flags import Flag, Group, Pair
from hlmat.pipelines.settings.human_clicks import CLICK_DECILE, CLICK_MODEL
from hlmat.pipelines.settings.runner_choice import RunnerChoice
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.dataset_io.work_units import DatasetPartition, UnitShard
from hlmat.transforms.policies.registry import POLICIES, PolicyOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import DATASETS
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.rollout.options import AreaFilter, Beginning, Limits
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import SEGMENTERS, SERVED_UNIT_SIZE


@options
class SelectionOptions:
    """The targets of a run."""

    dataset: str = setting(default="", metavar="D", help="the data set's name")
    limit: int | None = setting(default=None, ge=1, help="only the first N targets")
    seed: int = setting(default=0, ge=0, metavar="K", help="seed of all randomness")


@options
class OutputOptions:
    """The files of a run and their sizes."""

    out: str = setting(
        default="", metavar="OUT", in_fingerprint=False, help="output folder, path or URL"
    )
    resume: bool = setting(
        default=False,
        in_fingerprint=False,
        help="resume an interrupted run (default)",
    )
    overwrite: bool = setting(
        default=False, in_fingerprint=False, help="remove an existing run in OUT first"
    )
    retry_rejects: bool = setting(
        default=False,
        in_fingerprint=False,
        help="try the rejects of the run in OUT again, and nothing else, after a repair",
    )
    unit_size: int = setting(
        default=16, ge=1, help="targets per unit, at least; a run resumes by unit"
    )
    output_shards: int | None = setting(
        default=None, ge=1, help="files of trajectories (one per 5,000 targets)"
    )
    max_reject_rate: float = setting(
        default=0.5,
        ge=0,
        le=1,
        metavar="R",
        in_fingerprint=False,
        help="exit with 5 if more than this share of targets is rejected",
    )
    accelerator: str | None = setting(
        default=None,
        metavar="HINT",
        in_fingerprint=False,
        help="Beam resource hint for the click step, e.g. 'type:nvidia-l4;count:1'",
    )


SHAPES_OBJECTS = Flag(
    "shapes-objects",
    ShapesOptions,
    "objects_min",
    second="objects_max",
    pair=Pair(("MIN", "MAX"), "-", "2-5"),
    help="shapes: objects per image",
)
SHAPES_IMAGES = Flag("shapes-images", ShapesOptions, "count", help="shapes: number of images")
SHAPES_DIFFICULTY = Flag(
    "shapes-difficulty", ShapesOptions, "difficulty", help="shapes: simple, thin or mixed"
)


def _part_of_many(name: str, owner: type) -> Flag:
    pair = Pair(("I", "N"), "/", "1/8")
    return Flag(name, owner, "index", second="count", pair=pair, default_text="")


DATA = Group(
    "data set",
    (
        Flag("dataset", SelectionOptions, names=tuple(DATASETS)),
        Flag("data-root", ReaderOptions),
        Flag("split", ReaderOptions),
        Flag("split-by", ReaderOptions),
        Flag("annotations", ReaderOptions),
        Flag("columns", ReaderOptions),
        Flag("follow-links", ReaderOptions),
        Flag("mask-values", ReaderOptions),
        Flag("limit", SelectionOptions),
        _part_of_many("partition", DatasetPartition),
        Flag("min-area", AreaFilter),
        Flag("max-area", AreaFilter),
        SHAPES_IMAGES,
        SHAPES_OBJECTS,
        Flag(
            "shapes-seed",
            ShapesOptions,
            "seed",
            metavar="K",
            default=None,
            default_text="as --seed",
            help="shapes: of the images",
        ),
        Flag(
            "shapes-size",
            ShapesOptions,
            "height",
            second="width",
            pair=Pair(("HEIGHT", "WIDTH"), "x", "240x320"),
            help="shapes: size of an image in pixels",
        ),
        SHAPES_DIFFICULTY,
    ),
)
SEGMENTER = Group(
    "segmenter",
    (
        Flag(
            "segmenter",
            SegmenterOptions,
            "name",
            names=tuple(SEGMENTERS),
            is_open=True,
        ),
        Flag("checkpoint", SegmenterOptions),
        Flag("device", SegmenterOptions),
        Flag("segmenter-arg", SegmenterOptions, "arguments"),
        Flag("segmenter-path", SegmenterOptions, "search_path"),
        Flag("segmenter-timeout", SegmenterOptions, "timeout_s"),
    ),
)
SEED = Flag("seed", SelectionOptions)


def output_group(unit_size: int | None = None) -> Group:
    """Return the flags on the output folder and its units.

    Args:
        unit_size: the default; None leaves it to the segmenter.
    """
    sizes = {name: entry.unit_size for name, entry in SEGMENTERS.items()}
    by_segmenter = ", ".join(f"{n} {s}" for n, s in {**sizes, "server": SERVED_UNIT_SIZE}.items())
    return Group(
        "output",
        (
            Flag("out", OutputOptions),
            Flag("resume", OutputOptions),
            Flag("overwrite", OutputOptions),
            Flag("retry-rejects", OutputOptions),
            Flag(
                "unit-size",
                OutputOptions,
                default=unit_size,
                default_text=str(unit_size or by_segmenter),
            ),
            Flag("output-shards", OutputOptions),
            Flag("max-reject-rate", OutputOptions),
        ),
    )


RUNNING = Group(
    "running",
    (
        Flag(
            "workers",
            RunnerChoice,
            default=None,
            default_text="one per core for graphcut, else 1",
        ),
        Flag("runner", RunnerChoice, "name"),
        Flag(
            "worker-timeout",
            RunnerChoice,
            "worker_timeout_s",
            default_text="120; no limit on DataflowRunner",
        ),
        Flag("accelerator", OutputOptions),
    ),
)
# With a model as policy, --model names that model.
_OWN_SEGMENTER = Group(
    SEGMENTER.title,
    tuple(
        Flag("checkpoint", SegmenterOptions, alias="model") if flag.name == "checkpoint" else flag
        for flag in SEGMENTER.flags
    ),
)
TRAJECTORIES = (
    DATA,
    _OWN_SEGMENTER,
    Group(
        "clicks",
        (
            Flag("policy", PolicyOptions, "name", names=tuple(POLICIES)),
            Flag("initial-clicks", PolicyOptions, "num_initial_clicks"),
            Flag("inject-wrong-clicks", PolicyOptions, "wrong_clicks"),
            Flag("wrong-clicks-on", PolicyOptions),
            CLICK_MODEL,
            CLICK_DECILE,
            Flag(
                "initial-action",
                Beginning,
                help="before the first click: none, box, jittered-box, wrong-click, text",
            ),
            Flag("max-clicks", Limits, at_least=1),
            Flag("target-iou", Limits),
            Flag("stop-on-no-gain", Limits),
            SEED,
        ),
    ),
    Group(
        output_group().title,
        (
            *output_group().flags,
            _part_of_many("shard", UnitShard),
        ),
    ),
    RUNNING,
)


def describe_choices() -> str:
    """Return the choices of `--dataset`, `--segmenter` and `--policy`, for the end of the help."""
    lines = ["data sets (splits, the default in brackets; terms):"]
    for name, entry in DATASETS.items():
        splits = ", ".join(
            f"[{split}]" if split == entry.default_split else split
            for split in entry.splits or (entry.default_split,)
        )
        lines.append(f"  {name:<13} {entry.summary} ({splits}; {entry.license})")
    for title, entries in (("segmenters", SEGMENTERS), ("policies", POLICIES)):
        lines += ["", f"{title}:"]
        lines += [f"  {name:<13} {entry.summary}" for name, entry in entries.items()]
    return "\n".join(lines) + "\n\n"
