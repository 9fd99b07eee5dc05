"""Command lines to validated configurations of a run: flags, rules between them, fingerprint."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hlmat.pipelines.settings.flags import Group, spellings_in
from hlmat.pipelines.settings.human_clicks import read_human_clicks
from hlmat.pipelines.settings.run_flags import DATA, TRAJECTORIES, OutputOptions, SelectionOptions
from hlmat.pipelines.settings.runner_choice import (
    COMMON_FLAGS,
    MAX_WORKERS_BY_DEFAULT,
    RunnerChoice,
    check_runner_flags,
    check_runner_name,
)
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import fingerprint_values
from hlmat.transforms.core.threads import available_cores
from hlmat.transforms.core.url_storage import storage_for, url_problem
from hlmat.transforms.dataset_io.expression_choice import ExpressionChoice
from hlmat.transforms.dataset_io.work_units import DatasetPartition, UnitShard
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.policies.registry import PolicyOptions
from hlmat.transforms.readers.options import ReaderOptions
from hlmat.transforms.readers.registry import (
    DATASETS,
    check_dataset_name,
    check_split,
    missing_root,
)
from hlmat.transforms.readers.shapes.options import ShapesOptions
from hlmat.transforms.rollout.options import (
    AreaFilter,
    Beginning,
    FirstMask,
    InitialAction,
    Limits,
    SearchOptions,
)
from hlmat.transforms.segmenters.options import SegmenterOptions
from hlmat.transforms.segmenters.registry import (
    SEGMENTERS,
    SERVED_UNIT_SIZE,
    check_segmenter_name,
)
from hlmat.transforms.segmenters.remote.address import is_address


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a run.

    Attributes:
        expressions: makes one target per expression; None leaves targets unchanged.
        images_at_once: number of images whose targets the policy is asked about together.
        search: how several candidate clicks are tried in each state; None tries one.
        first_mask: the mask that rollouts begin with; None for an empty one.
        shard: the units that this call does; None does all, and writes the final files.
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
    partition: DatasetPartition | None = None
    runner: RunnerChoice = field(default_factory=RunnerChoice)
    accelerator: str | None = None
    unit_size: int = 16
    output_shards: int | None = None
    max_reject_rate: float = 0.5
    overwrite: bool = False
    retry_rejects: bool = False
    shard: UnitShard | None = None

    def shapes_settings(self) -> dict[str, Any] | None:
        """Return the settings of the generated data set, or None for other data sets."""
        return asdict(self.reader.shapes) if self.dataset == "shapes" else None

    def identity(
        self, segmenter_identity: Mapping[str, Any], policy_identity: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return everything that can change a result, as plain JSON values.

        Paths, runner and number of workers are left out: the same run elsewhere gives the same
        bytes.
        """
        return {
            **fingerprint_values(self.limits),
            **fingerprint_values(self.area_filter),
            **fingerprint_values(self.reader),
            "dataset": self.dataset,
            "shapes": self.shapes_settings(),
            "segmenter": dict(segmenter_identity),
            "device": self.segmenter.device,
            "policy": self.policy.name,
            "policy_settings": dict(policy_identity),
            "expressions": self.expressions and str(self.expressions),
            "initial_action": str(self.initial_action),
            "search": None if self.search is None else fingerprint_values(self.search),
            "seed": self.seed,
            "limit": self.limit,
            "partition": f"{self.partition.index}/{self.partition.count}"
            if self.partition
            else None,
            "unit_size": self.unit_size,
            "output_shards": self.output_shards,
            **({} if self.first_mask is None else {"first_mask": self.first_mask.identity()}),
        }


def fingerprint_of(config: Mapping[str, Any]) -> str:
    """Return the sha256 of a configuration's canonical JSON, in hex."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def trajectories_config(arguments: argparse.Namespace, *, rest: Sequence[str] = ()) -> RunConfig:
    """Validate the arguments of `hlmat trajectories`.

    Args:
        arguments: parsed with the flags `TRAJECTORIES`.
        rest: arguments unknown to the parser: flags of the Beam runner, or mistakes.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, TRAJECTORIES, check)
    values.read_given()
    human = read_human_clicks(values, check, policy=values.get("policy"))
    policy = values.build(PolicyOptions, seed=values.get("seed"), human=human)
    if values.get("initial-action") == InitialAction.POLICY_BOX:
        check.note("--initial-action policy-box goes with a model: hlmat evaluate")
    shard = values.build(UnitShard) if values.has("shard") else None
    if shard is not None:
        for other in ("overwrite", "retry-rejects"):
            if values.get(other):
                check.note(
                    f"--shard and --{other} exclude each other: several shards share OUT; give "
                    f"--{other} to the command without --shard"
                )
    config = run_config(values, check, policy=policy, rest=rest, groups=TRAJECTORIES, shard=shard)
    check.done()
    return config


def run_config(
    values: Values,
    check: Check,
    *,
    policy: PolicyOptions | ModelPolicyOptions,
    rest: Sequence[str],
    groups: Sequence[Group],
    limits: Mapping[str, Any] | None = None,
    workers: int | None = None,
    **more: Any,
) -> RunConfig:
    """Return the configuration that jobs have in common; problems are added to `check`.

    Args:
        values: of the command's flags.
        check: collects the problems.
        policy: chooses the clicks.
        rest: arguments unknown to the parser.
        groups: the command's flags.
        limits: those without a flag.
        workers: default number of workers; None for the segmenter's.
        more: further values of the configuration.
    """
    selection = values.build(SelectionOptions)
    output = values.build(OutputOptions, **_unit_size(values))
    segmenter = segmenter_options(values)
    default_workers = workers or _default_workers(segmenter.name)
    runner = values.build(
        RunnerChoice, workers=values.get("workers") or default_workers, flags=tuple(rest)
    )
    own_flags = [*spellings_in(groups), *COMMON_FLAGS]
    check.maybe(check_runner_name(runner))
    check.note_all(
        check_runner_flags(
            rest, is_local=runner.is_local, own_flags=own_flags, runner=runner.beam_name
        )
    )
    if output.resume and output.overwrite:
        check.note("--resume and --overwrite exclude each other; give one of them")
    if output.retry_rejects and output.overwrite:
        check.note("--retry-rejects and --overwrite exclude each other; give one of them")
    reader = values.build(
        ReaderOptions,
        storage=storage_for(values.get("data-root"), is_data=True),
        shapes=shapes_options(values, check, dataset=selection.dataset),
    )
    check_data(selection.dataset, reader, check)
    if not output.out:
        check.note("--out is missing: name the output folder")
    check.maybe(check_segmenter_name(segmenter.name))
    for path in (reader.data_root, output.out, segmenter.checkpoint):
        check.maybe(url_problem(path))
    return RunConfig(
        dataset=selection.dataset,
        reader=reader,
        segmenter=segmenter,
        policy=policy,
        limits=values.build(Limits, **(limits or {})),
        out=output.out,
        initial_action=values.build(Beginning).initial_action,
        area_filter=values.build(AreaFilter),
        seed=selection.seed,
        limit=selection.limit,
        partition=values.build(DatasetPartition) if values.has("partition") else None,
        runner=runner,
        accelerator=output.accelerator,
        unit_size=output.unit_size,
        output_shards=output.output_shards,
        max_reject_rate=output.max_reject_rate,
        overwrite=output.overwrite,
        retry_rejects=output.retry_rejects,
        **more,
    )


def segmenter_options(values: Values) -> SegmenterOptions:
    """Return the segmenter's options, with a search path that works in every worker."""
    more: dict[str, Any] = {"storage": storage_for(values.get("checkpoint"))}
    if ":" in values.get("segmenter") and not is_address(values.get("segmenter")):
        folders = values.get("segmenter-path") or (".",)
        more["search_path"] = tuple(map(os.path.abspath, folders))
    return values.build(SegmenterOptions, **more)


def check_data(dataset: str, reader: ReaderOptions, check: Check) -> None:
    """Note what is wrong with the choice of a data set, its split and its place."""
    if not dataset:
        check.note(f"--dataset is missing; choose from {', '.join(DATASETS)}")
    elif (problem := check_dataset_name(dataset)) is not None:
        check.note(problem)
    else:
        check.maybe(check_split(dataset, reader.split))
        if DATASETS[dataset].needs_data_root and not reader.data_root:
            check.note(missing_root(dataset))


def shapes_options(values: Values, check: Check, *, dataset: str) -> ShapesOptions:
    """Return the settings of the generated data set; its flags need that data set."""
    if dataset != "shapes":
        for flag in DATA.flags:
            if flag.owner is ShapesOptions and values.is_given(flag.name):
                check.note(f"--{flag.name} goes with --dataset shapes only")
        return ShapesOptions()
    seed = values.get("shapes-seed")
    return values.build(ShapesOptions, seed=values.get("seed") if seed is None else seed)


def _unit_size(values: Values) -> dict[str, int]:
    if values.get("unit-size") is not None:
        return {}
    if is_address(values.get("segmenter")):
        return {"unit_size": SERVED_UNIT_SIZE}
    entry = SEGMENTERS.get(values.get("segmenter"))
    return {"unit_size": RunConfig.unit_size if entry is None else entry.unit_size}


def _default_workers(segmenter: str) -> int:
    entry = SEGMENTERS.get(segmenter)
    if entry is None or not entry.one_per_core:
        return 1
    return min(available_cores(), MAX_WORKERS_BY_DEFAULT)
