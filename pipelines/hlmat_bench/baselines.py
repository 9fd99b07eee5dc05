"""Evaluate the policies without a model on tracks, and submit them: the rows to compare with."""

from __future__ import annotations

import shlex

from hlmat.pipelines.evaluation.evaluate import PREDICTIONS, evaluate
from hlmat.pipelines.hlmat_bench.tracks import TRACKS, Track, track_problem
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import EvaluationConfig, evaluation_config
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.policies.registry import BASELINES

_MODELS = {
    "centre": "none: one click at the centre of the image",
    "random": "none: random clicks",
    "human": "none: sees the ground truth, clicks its errors where people would",
    "oracle": "none: sees the ground truth, clicks the deepest pixel of its errors",
}
_SEES_TRUTH = ("human", "oracle")


def submit_baselines(
    folder: str,
    *,
    track: str | None,
    data_root: str | None,
    workers: int | None,
    quiet: bool,
) -> list[str]:
    """Evaluate every baseline on tracks, and write a submission for each.

    Rollouts that are complete are not repeated, those that were interrupted go on. The YAML file of
    a submission is written where there is none, so that what was added to it stays.

    Args:
        folder: gets `TRACK/POLICY/`, as `hlmat evaluate` writes it, and `TRACK/POLICY.yaml`.
        track: the track; None for every one that needs no data set.
        data_root: where the track's data set is, if it needs one.
        workers: local processes; None for the default of `hlmat evaluate`.
        quiet: print no progress.

    Returns:
        The paths of the submissions, by track, then by policy.

    Raises:
        ConfigError: unknown track, or a data set that is not there.
        DataError: the data set cannot be listed, or has no targets.
        OutputError: the folder cannot be written or contains other runs.
        IncompleteError: units died; the same call resumes them.
    """
    configs = {
        (each.name, policy): _config(
            each, policy, folder=folder, data_root=data_root, workers=workers
        )
        for each in _tracks(track)
        for policy in BASELINES
    }
    written = []
    for (name, policy), config in configs.items():
        evaluate(config, quiet=quiet)
        path = f"{folder}/{name}/{policy}.yaml"
        storage = storage_for(path)
        if not storage.is_file(path):
            storage.write_bytes(path, _submission(name, policy).encode())
        written.append(path)
    return written


def _tracks(name: str | None) -> list[Track]:
    if name is None:
        return [track for track in TRACKS.values() if not track.needs_data_root]
    if (problem := track_problem(name)) is not None:
        raise ConfigError([problem])
    return [TRACKS[name]]


def _config(
    track: Track, policy: str, *, folder: str, data_root: str | None, workers: int | None
) -> EvaluationConfig:
    flags = [*track.flags, f"--policy={policy}", f"--out={folder}/{track.name}/{policy}"]
    if data_root is not None and track.needs_data_root:
        flags.append(f"--data-root={data_root}")
    if workers is not None:
        flags.append(f"--workers={workers}")
    return evaluation_config(parse_command("evaluate", flags))


def _submission(track: str, policy: str) -> str:
    name = f"{policy} (sees the ground truth)" if policy in _SEES_TRUTH else policy
    return (
        f"# hlmat evaluate {shlex.join(TRACKS[track].flags)} --policy {policy}\n"
        f"name: {name}\ntrack: {track}\npredictions: {policy}/{PREDICTIONS}\n"
        f"start: none\nsegmenter: graphcut\nmodel: '{_MODELS[policy]}'\n"
    )
