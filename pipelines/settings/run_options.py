"""Command lines to validated configurations; the one place where argv and paths enter."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hlmat.pipelines.run.runners import (
    LOCAL_RUNNER,
    REFUSED_RUNNERS,
    RunnerChoice,
    check_runner_flags,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.transforms.beam.storage import storage_for
from hlmat.transforms.core.threads import available_cores
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.dataset_io.work_units import DatasetShard
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.policies.registry import POLICIES, PolicyOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import (
    DATASETS,
    check_dataset_name,
    check_split,
    missing_root,
)
from hlmat.transforms.readers.shapes.options import DIFFICULTIES, ShapesOptions
from hlmat.transforms.rollout.options import (
    AreaFilter,
    FirstMask,
    InitialAction,
    Limits,
    SearchOptions,
)
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import SEGMENTERS, check_segmenter_name

MAX_WORKERS_BY_DEFAULT = 16


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run needs to know.

    Attributes:
        expressions: gives each expression a target of its own; None leaves targets as they are.
        images_at_once: how many images' targets the policy is asked about together.
        search: how several candidate clicks are tried in each state; None tries one.
        first_mask: what rollouts begin with; None for an empty mask.
    """

    dataset: str
    reader: ReaderOptions
    segmenter: SegmenterOptions
    policy: PolicyOptions | ModelPolicyOptions
    limits: Limits
    out: str
    expressions: ExpressionChoice | None = None
    images_at_once: int = 1
    search: SearchOptions | None = None
    first_mask: FirstMask | None = None
    initial_action: InitialAction = InitialAction.NONE
    area_filter: AreaFilter = field(default_factory=AreaFilter)
    seed: int = 0
    limit: int | None = None
    shard: DatasetShard | None = None
    runner: RunnerChoice = field(default_factory=RunnerChoice)
    accelerator: str | None = None
    unit_size: int = 16
    output_shards: int | None = None
    max_reject_rate: float = 0.5
    overwrite: bool = False

    def shapes_settings(self) -> dict[str, Any] | None:
        """Return what the generated data set is made with, None for every other data set."""
        return asdict(self.reader.shapes) if self.dataset == "shapes" else None

    def fingerprinted(
        self, segmenter_identity: Mapping[str, Any], policy_identity: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what can change a result, as plain JSON values.

        Paths of data and output are left out, and so are runner and number of workers: the same
        run elsewhere gives the same bytes.
        """
        return {
            "dataset": self.dataset,
            "split": self.reader.split,
            "split_by": self.reader.split_by,
            "annotations": self.reader.annotations,
            "shapes": self.shapes_settings(),
            "segmenter": dict(segmenter_identity),
            "device": self.segmenter.device,
            "policy": self.policy.name,
            "policy_settings": dict(policy_identity),
            "expressions": self.expressions and str(self.expressions),
            "initial_action": str(self.initial_action),
            "max_clicks": self.limits.max_clicks,
            "target_iou": self.limits.target_iou,
            "stop_on_no_gain": self.limits.stop_on_no_gain,
            "stop_at_score": self.limits.stop_at_score,
            "score_last": self.limits.score_last,
            "search": None if self.search is None else asdict(self.search),
            "min_area": self.area_filter.min_area,
            "max_area": self.area_filter.max_area,
            "seed": self.seed,
            "limit": self.limit,
            "shard": f"{self.shard.index}/{self.shard.count}" if self.shard else None,
            "unit_size": self.unit_size,
            "output_shards": self.output_shards,
            **({} if self.first_mask is None else {"first_mask": self.first_mask.describe()}),
        }


def fingerprint_of(config: Mapping[str, Any]) -> str:
    """Return the sha256 of a configuration's canonical JSON, in hex."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def add_trajectories_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `hlmat trajectories`; values are checked together afterwards."""
    add_data_arguments(parser)
    # Where a model clicks, --model is that model.
    add_segmenter_arguments(parser, names=("--checkpoint", "--model"))
    clicks = parser.add_argument_group("clicks")
    clicks.add_argument(
        "--policy", metavar="P", default="oracle", help=f"one of: {', '.join(POLICIES)} (oracle)"
    )
    clicks.add_argument(
        "--initial-points", metavar="N", default="4", help="random, grid: points set up first (4)"
    )
    actions = [a for a in InitialAction if a is not InitialAction.POLICY_BOX]
    clicks.add_argument(
        "--initial-action",
        metavar="A",
        default="none",
        help=f"before the first click: {', '.join(actions)} (none)",
    )
    clicks.add_argument("--max-clicks", metavar="N", default="5", help="stop after N clicks (5)")
    clicks.add_argument(
        "--target-iou", metavar="X", default="0.98", help="stop at this IoU, or 'none' (0.98)"
    )
    clicks.add_argument(
        "--stop-on-no-gain",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop at the first click that does not raise the best IoU, unrecorded (yes)",
    )
    clicks.add_argument("--seed", metavar="K", default="0", help="of everything random (0)")
    add_output_arguments(parser)
    add_running_arguments(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that choose targets."""
    data = parser.add_argument_group("data set")
    data.add_argument("--dataset", metavar="D", help=f"one of: {', '.join(DATASETS)}")
    data.add_argument("--data-root", metavar="DIR", help="where the data set lies, path or URL")
    data.add_argument("--split", metavar="S", help="the data set's own name of a split")
    data.add_argument(
        "--split-by",
        metavar="BY",
        help="RefCOCO family: who made the split (unc, umd, google, ...)",
    )
    data.add_argument(
        "--annotations", metavar="FILE", help="coco, trace: the JSON file, relative to --data-root"
    )
    data.add_argument("--limit", metavar="N", help="only the first N targets")
    data.add_argument("--shard", metavar="I/N", help="only part I of N, cut by image; I from 1")
    data.add_argument("--min-area", metavar="PX", help="leave out masks of fewer pixels")
    data.add_argument("--max-area", metavar="PX", help="leave out masks of more pixels")
    data.add_argument("--shapes-images", metavar="N", help="shapes: number of images (default: 32)")
    data.add_argument(
        "--shapes-objects", metavar="MIN-MAX", help="shapes: objects per image (default: 2-5)"
    )
    data.add_argument("--shapes-seed", metavar="K", help="shapes: of the images (as --seed)")
    data.add_argument("--shapes-size", metavar="HxW", help="shapes: size (default: 240x320)")
    data.add_argument(
        "--shapes-difficulty", metavar="D", help=f"shapes: {', '.join(DIFFICULTIES)} (mixed)"
    )


def add_segmenter_arguments(
    parser: argparse.ArgumentParser, *, names: Sequence[str] = ("--checkpoint",)
) -> None:
    """Declare the flags that choose the tool which answers clicks.

    Args:
        names: of the flag for its weights.
    """
    tool = parser.add_argument_group("segmenter")
    tool.add_argument(
        "--segmenter",
        metavar="NAME",
        default="graphcut",
        help=f"{', '.join(SEGMENTERS)}, or package.module:Class of your own (graphcut)",
    )
    tool.add_argument(*names, dest="checkpoint", metavar="PATH", help="the segmenter's weights")
    tool.add_argument("--device", metavar="DEV", default="auto", help="cpu, cuda, cuda:N (auto)")
    tool.add_argument(
        "--segmenter-arg",
        metavar="KEY=JSON",
        action="append",
        default=[],
        help="a setting of sam, or an argument of your own class; repeatable",
    )


def add_output_arguments(parser: argparse.ArgumentParser, *, unit_size: int | None = None) -> None:
    """Declare the flags on the output folder and its checkpoints.

    Args:
        unit_size: the default; None leaves it to the segmenter.
    """
    output = parser.add_argument_group("output")
    output.add_argument("--out", metavar="OUT", help="output folder, path or URL")
    when = output.add_mutually_exclusive_group()
    when.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run stopped (default)"
    )
    when.add_argument("--overwrite", action="store_true", help="remove an earlier run in OUT first")
    output.add_argument(
        "--unit-size",
        metavar="N",
        default=None if unit_size is None else str(unit_size),
        help=f"targets per checkpoint, at least ({unit_size or _unit_sizes()})",
    )
    output.add_argument(
        "--output-shards", metavar="N", help="files of trajectories (one per 5,000 targets)"
    )
    output.add_argument(
        "--max-reject-rate",
        metavar="R",
        default="0.5",
        help="exit with 5 if more than this share of targets is rejected (0.5)",
    )


def add_running_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags on where a run's work is done."""
    running = parser.add_argument_group("running")
    running.add_argument(
        "--workers",
        metavar="N",
        help="local processes (one per core for graphcut, else 1)",
    )
    running.add_argument(
        "--runner",
        metavar="NAME",
        default=LOCAL_RUNNER,
        help="local, or a Beam runner; its own flags follow as Beam spells them (local)",
    )
    running.add_argument(
        "--accelerator",
        metavar="HINT",
        help="Beam resource hint for the click step, e.g. 'type:nvidia-l4;count:1'",
    )


def describe_choices() -> str:
    """Return what `--dataset`, `--segmenter` and `--policy` can be, for the end of the help."""
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


def trajectories_config(
    arguments: argparse.Namespace, *, rest: Sequence[str], own_flags: Sequence[str]
) -> RunConfig:
    """Validate the arguments of `hlmat trajectories`.

    Args:
        arguments: parsed by `add_trajectories_arguments`.
        rest: what the parser did not know: flags of the Beam runner, or mistakes.
        own_flags: the command's flags, for suggestions.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    seed = check.integer("--seed", arguments.seed, at_least=0) or 0
    num_initial = check.integer("--initial-points", arguments.initial_points, at_least=1) or 1
    policy = check.built(lambda: PolicyOptions(arguments.policy, seed, num_initial))
    if arguments.initial_action == InitialAction.POLICY_BOX:
        check.note("--initial-action policy-box goes with a model: hlmat evaluate")
    config = run_config(
        arguments,
        check,
        policy=policy or PolicyOptions("oracle", seed),
        rest=rest,
        own_flags=own_flags,
    )
    check.done()
    return config


def run_config(
    arguments: argparse.Namespace,
    check: Check,
    *,
    policy: PolicyOptions | ModelPolicyOptions,
    rest: Sequence[str],
    own_flags: Sequence[str],
    expressions: ExpressionChoice | None = None,
    images_at_once: int = 1,
) -> RunConfig:
    """Put together what the jobs have in common; problems go to `check`."""
    is_local = arguments.runner == LOCAL_RUNNER
    check.note_all(check_runner_flags(rest, is_local=is_local, own_flags=own_flags))
    if arguments.runner in REFUSED_RUNNERS:
        check.note(f"--runner {arguments.runner}: {REFUSED_RUNNERS[arguments.runner]}")

    dataset = arguments.dataset or ""
    if not dataset:
        check.note(f"--dataset is missing; choose from {', '.join(DATASETS)}")
    elif (problem := check_dataset_name(dataset)) is not None:
        check.note(problem)
    else:
        check.maybe(check_split(dataset, arguments.split))
        if DATASETS[dataset].needs_data_root and not arguments.data_root:
            check.note(missing_root(dataset))
    if not arguments.out:
        check.note("--out is missing: name the output folder")

    check.maybe(check_segmenter_name(arguments.segmenter))
    for path in (arguments.data_root, arguments.out, arguments.checkpoint):
        check.maybe(_unreachable(path))

    reader = ReaderOptions(
        data_root=arguments.data_root,
        split=arguments.split,
        storage=storage_for(arguments.data_root),
        split_by=arguments.split_by,
        annotations=arguments.annotations,
        shapes=shapes_options(arguments, check),
    )
    segmenter = SegmenterOptions(
        name=arguments.segmenter,
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        arguments=_segmenter_arguments(arguments.segmenter_arg, check),
        storage=storage_for(arguments.checkpoint),
    )
    initial_action = check.choice("--initial-action", arguments.initial_action, list(InitialAction))
    limits = Limits(
        max_clicks=check.integer("--max-clicks", arguments.max_clicks, at_least=1) or 1,
        target_iou=_target_iou(arguments.target_iou, check),
        stop_on_no_gain=arguments.stop_on_no_gain,
    )
    return RunConfig(
        dataset=dataset,
        reader=reader,
        segmenter=segmenter,
        policy=policy,
        limits=limits,
        out=arguments.out or "",
        expressions=expressions,
        images_at_once=images_at_once,
        initial_action=InitialAction(initial_action or "none"),
        area_filter=_area_filter(arguments, check),
        seed=Check().integer("--seed", arguments.seed, at_least=0) or 0,
        limit=check.integer("--limit", arguments.limit, at_least=1),
        shard=_dataset_shard(arguments.shard, check),
        runner=RunnerChoice(
            name=arguments.runner,
            workers=check.integer("--workers", arguments.workers, at_least=1)
            or _default_workers(arguments.segmenter),
            flags=tuple(rest),
        ),
        accelerator=arguments.accelerator,
        unit_size=check.integer("--unit-size", arguments.unit_size, at_least=1)
        or _default_unit_size(arguments.segmenter),
        output_shards=check.integer("--output-shards", arguments.output_shards, at_least=1),
        max_reject_rate=check.fraction("--max-reject-rate", arguments.max_reject_rate) or 0.0,
        overwrite=arguments.overwrite,
    )


def _unreachable(path: str | None) -> str | None:
    """Return why a URL cannot be reached at all: Beam knows no file system for its scheme."""
    if path is None or "://" not in path:
        return None
    from apache_beam.io.filesystems import FileSystems

    try:
        FileSystems.get_filesystem(path)
    except ValueError:
        scheme = path.partition("://")[0]
        return (
            f"{path}: Beam has no file system for {scheme}:// in this environment; install its "
            "extra, for instance pip install 'apache-beam[gcp]' for gs://"
        )
    return None


def shapes_options(arguments: argparse.Namespace, check: Check) -> ShapesOptions:
    if arguments.dataset != "shapes":
        given = (n for n, v in vars(arguments).items() if n.startswith("shapes_") and v is not None)
        for name in given:
            check.note(f"--{name.replace('_', '-')} goes with --dataset shapes only")
        return ShapesOptions()
    seed = check.integer("--shapes-seed", arguments.shapes_seed, at_least=0)
    if seed is None:
        # A bad --seed is told where it is read for the run.
        seed = Check().integer("--seed", arguments.seed, at_least=0)
    values: dict[str, Any] = {"seed": seed or 0}
    count = check.integer("--shapes-images", arguments.shapes_images, at_least=1)
    if count is not None:
        values["count"] = count
    if arguments.shapes_size is not None:
        size = re.fullmatch(r"(\d+)x(\d+)", arguments.shapes_size)
        if size is None:
            check.note(
                f"--shapes-size {arguments.shapes_size!r}: expected HEIGHTxWIDTH, as 240x320"
            )
        else:
            values.update(height=int(size[1]), width=int(size[2]))
    if arguments.shapes_objects is not None:
        bounds = re.fullmatch(r"(\d+)-(\d+)", arguments.shapes_objects)
        if bounds is None:
            check.note(f"--shapes-objects {arguments.shapes_objects!r}: expected MIN-MAX, as 2-5")
        else:
            values.update(objects_min=int(bounds[1]), objects_max=int(bounds[2]))
    if arguments.shapes_difficulty is not None:
        values["difficulty"] = arguments.shapes_difficulty
    return check.built(lambda: ShapesOptions(**values)) or ShapesOptions()


def _segmenter_arguments(pairs: Sequence[str], check: Check) -> dict[str, Any]:
    arguments = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            check.note(f"--segmenter-arg {pair!r}: expected KEY=JSON, as scale=0.5 or name='\"x\"'")
            continue
        try:
            arguments[key] = json.loads(text)
        except ValueError:
            arguments[key] = text
    return arguments


def _target_iou(text: str, check: Check) -> float | None:
    if text == "none":
        return None
    value = check.fraction("--target-iou", text)
    if value == 0:
        check.note("--target-iou 0: must be above 0; use 'none' to never stop for it")
    return value or None


def _area_filter(arguments: argparse.Namespace, check: Check) -> AreaFilter:
    area_filter = AreaFilter(
        min_area=check.integer("--min-area", arguments.min_area, at_least=0),
        max_area=check.integer("--max-area", arguments.max_area, at_least=0),
    )
    low, high = area_filter.min_area, area_filter.max_area
    if low is not None and high is not None and low > high:
        check.note(f"--min-area {low} is above --max-area {high}: no mask would be left")
    return area_filter


def _dataset_shard(text: str | None, check: Check) -> DatasetShard | None:
    if text is None:
        return None
    parts = re.fullmatch(r"(\d+)/(\d+)", text)
    if parts is None:
        check.note(f"--shard {text!r}: expected I/N, as 1/8 to 8/8")
        return None
    return check.built(lambda: DatasetShard(index=int(parts[1]), count=int(parts[2])))


def _unit_sizes() -> str:
    return ", ".join(f"{name} {entry.unit_size}" for name, entry in SEGMENTERS.items())


def _default_unit_size(segmenter: str) -> int:
    entry = SEGMENTERS.get(segmenter)
    return RunConfig.unit_size if entry is None else entry.unit_size


def _default_workers(segmenter: str) -> int:
    entry = SEGMENTERS.get(segmenter)
    if entry is None or not entry.one_per_core:
        return 1
    return min(available_cores(), MAX_WORKERS_BY_DEFAULT)
