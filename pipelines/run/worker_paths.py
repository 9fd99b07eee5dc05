"""The files that another runner's workers open: reachable from them, and named for any folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from hlmat.pipelines.settings.run_options import RunConfig
from hlmat.pipelines.settings.runner_choice import check_paths_elsewhere, path_for_workers
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.policies.backends.options import CheckpointOptions, ReplayOptions
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.policies.registry import PolicyOptions


def with_worker_paths(config: RunConfig) -> RunConfig:
    """Return a run whose paths mean the same files to every worker.

    Raises:
        ConfigError: with every path that workers on other machines cannot see.
    """
    runner = config.runner
    if runner.is_local:
        return config
    reader, segmenter = config.reader, config.segmenter
    check_paths_elsewhere(
        runner,
        {
            "--data-root": reader.data_root,
            "--checkpoint": segmenter.checkpoint,
            "--out": config.out,
        },
    )
    _check_model_elsewhere(config)

    def path(given: str | None) -> str | None:
        return None if given is None else path_for_workers(given, runner)

    return replace(
        config,
        reader=replace(reader, data_root=path(reader.data_root)),
        segmenter=replace(segmenter, checkpoint=path(segmenter.checkpoint)),
        policy=_with_worker_paths(config.policy, config),
        out=path_for_workers(config.out, runner),
    )


def _with_worker_paths(
    policy: PolicyOptions | ModelPolicyOptions, config: RunConfig
) -> PolicyOptions | ModelPolicyOptions:
    if not isinstance(policy, ModelPolicyOptions):
        return policy
    found = {
        field: path_for_workers(path, config.runner)
        for field, path in _model_files(policy).values()
    }
    return replace(policy, answerer=replace(policy.answerer, **found))


def _check_model_elsewhere(config: RunConfig) -> None:
    """Refuse a model that only this machine has; another machine's may have an absolute path."""
    policy, runner = config.policy, config.runner
    if runner.beam_name != "DataflowRunner" or not isinstance(policy, ModelPolicyOptions):
        return
    problems = [
        f"{flag} {path}: --runner {runner.name} runs on other machines, which have no such "
        "relative path; give an absolute path that their image also has, a hub id, or "
        "--policy openai with a server"
        for flag, (_, path) in _model_files(policy).items()
        if not os.path.isabs(path)
    ]
    if problems:
        raise ConfigError(problems)


def _model_files(policy: ModelPolicyOptions) -> Mapping[str, tuple[str, str]]:
    """Return the option and the path of each file of a model that is here, by flag."""
    answerer = policy.answerer
    found: dict[str, tuple[str, str | None]] = {}
    if isinstance(answerer, CheckpointOptions):
        found = {"--model": ("model", answerer.model), "--adapter": ("adapter", answerer.adapter)}
    elif isinstance(answerer, ReplayOptions):
        found = {"--answers": ("path", answerer.path)}
    # A model without a folder is an id on the hub.
    return {
        flag: (option, path)
        for flag, (option, path) in found.items()
        if path is not None and os.path.exists(path)
    }
