"""The command line of `hlmat trajectories`: every problem at once, nothing passed over."""

from __future__ import annotations

import pytest

from hlmat.pipelines.settings.commands import add_command_flags
from hlmat.pipelines.settings.run_options import (
    RunConfig,
    fingerprint_of,
    trajectories_config,
)
from hlmat.pipelines.settings.validation import ArgumentParser
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.dataset_io.work_units import DatasetPartition
from hlmat.transforms.policies.registry import PolicyOptions
from hlmat.transforms.rollout.options import InitialAction

BASE = ("--dataset", "shapes", "--out", "out")


def parse(*argv: str) -> RunConfig:
    parser = ArgumentParser(prog="hlmat trajectories", allow_abbrev=False)
    add_command_flags(parser, "trajectories")
    arguments, rest = parser.parse_known_args(argv)
    return trajectories_config(arguments, rest=rest)


def problems(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    return list(caught.value.problems)


def test_the_defaults_are_the_references_stop_rules():
    config = parse(*BASE)
    assert (config.limits.max_clicks, config.limits.target_iou) == (5, 0.98)
    assert config.limits.stop_on_no_gain
    assert config.segmenter.name == "graphcut"
    assert config.policy == PolicyOptions("oracle", seed=0)
    assert config.initial_action is InitialAction.NONE
    assert config.runner.is_local


def test_values_arrive():
    config = parse(
        *BASE,
        *("--max-clicks", "20", "--target-iou", "none", "--no-stop-on-no-gain"),
        *("--seed", "7", "--limit", "3", "--partition", "2/4", "--min-area", "10"),
        *("--initial-action", "jittered-box", "--policy", "grid", "--initial-clicks", "9"),
        *("--shapes-images", "5", "--shapes-size", "100x200", "--shapes-difficulty", "thin"),
        *("--shapes-objects", "1-3"),
        *("--segmenter", "a.b:C", "--segmenter-arg", "scale=0.5", "--segmenter-arg", "mode=fast"),
        *("--workers", "3", "--unit-size", "4", "--output-shards", "2", "--overwrite"),
    )
    assert (config.limits.max_clicks, config.limits.target_iou) == (20, None)
    assert not config.limits.stop_on_no_gain
    assert (config.seed, config.limit, config.partition) == (7, 3, DatasetPartition(2, 4))
    assert config.area_filter.min_area == 10
    assert config.initial_action is InitialAction.JITTERED_BOX
    assert isinstance(config.policy, PolicyOptions)
    assert (config.policy.name, config.policy.num_initial_clicks) == ("grid", 9)
    shapes = config.reader.shapes
    assert (shapes.count, shapes.height, shapes.width, shapes.difficulty) == (5, 100, 200, "thin")
    assert (shapes.seed, shapes.objects_min, shapes.objects_max) == (7, 1, 3)
    assert parse(*BASE, "--seed", "7", "--shapes-seed", "1").reader.shapes.seed == 1
    assert config.segmenter.arguments == {"scale": 0.5, "mode": "fast"}
    assert (config.runner.workers, config.unit_size, config.output_shards) == (3, 4, 2)
    assert config.overwrite


def test_every_problem_is_reported_at_once():
    found = problems(
        *("--dataset", "dis5", "--segmenter", "samm", "--policy", "orcale", "--max-clicks", "0"),
        *("--target-iou", "98", "--limit", "many", "--partition", "5/4", "--polcy", "x"),
    )
    assert [problem.partition(" choose from")[0] for problem in found] == [
        "--limit 'many': expected a whole number of at least 1",
        "--max-clicks 0: must be at least 1",
        "--target-iou 98: must be above 0 and at most 1",
        "--policy 'orcale' is unknown; did you mean 'oracle'?",
        "unknown flag --polcy; did you mean --policy?",
        "--dataset 'dis5' is unknown; did you mean 'dis5k'?",
        "--out is missing: name the output folder",
        "--segmenter 'samm' is unknown; did you mean 'sam'?",
        "--partition 5/4: I 5 is above N 4; parts are numbered from 1",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((*BASE[2:],), "--dataset is missing; choose from"),
        (
            ("--dataset", "dis5k", "--out", "o"),
            "--data-root is missing: dis5k is read from a folder",
        ),
        (
            (*BASE, "--split", "tset"),
            "--split 'tset': shapes has no such split; did you mean 'test'?",
        ),
        ((*BASE, "--target-iou", "0"), "--target-iou 0: must be above 0 and at most 1"),
        (
            (*BASE, "--target-iou", "high"),
            "--target-iou 'high': expected a number above 0 and at most 1",
        ),
        ((*BASE, "--partition", "1-4"), "--partition '1-4': expected I/N"),
        (
            (*BASE, "--initial-action", "boxes"),
            "--initial-action 'boxes': did you mean 'box'? choose from none, box, jittered-box",
        ),
        ((*BASE, "--min-area", "9", "--max-area", "3"), "no mask would be left"),
        ((*BASE, "--shapes-size", "big"), "--shapes-size 'big': expected HEIGHTxWIDTH, as 240x320"),
        (
            (*BASE, "--shapes-difficulty", "hard"),
            "--shapes-difficulty 'hard': choose from simple, thin, mixed",
        ),
        (
            (*BASE, "--shapes-objects", "5-2"),
            "--shapes-objects 5-2: MIN 5 is above MAX 2; swap them",
        ),
        ((*BASE, "--shapes-objects", "five"), "expected MIN-MAX, as 2-5"),
        ((*BASE, "--seed", "x"), "--seed 'x': expected a whole number of at least 0"),
        ((*BASE, "--segmenter-arg", "radius"), "expected KEY=JSON"),
        (
            ("--dataset", "ecssd", "--data-root", "d", "--out", "o", "--shapes-images", "3"),
            "--shapes-images goes with --dataset shapes only",
        ),
        ((*BASE, "--project", "p"), "--project is a flag of Beam; it needs a --runner"),
        ((*BASE, "stray"), "unexpected argument 'stray'"),
        ((*BASE, "--runner", "DaskRunner"), "it drops rows silently"),
        (
            (*BASE[:2], "--out", "nowhere://x/y"),
            "x/y: nowhere:// is not a supported scheme; choose s3://",
        ),
        (
            (*BASE, "--runner", "DataflowRunner", "--projct", "p"),
            "unknown flag --projct; did you mean --project?",
        ),
    ],
)
def test_each_mistake_has_its_message(argv: tuple[str, ...], message: str):
    assert message in "\n".join(problems(*argv))


def test_beams_flags_go_to_a_named_runner():
    config = parse(*BASE, "--runner", "DataflowRunner", "--project=p", "--region", "europe-west1")
    assert config.runner.flags == ("--project=p", "--region", "europe-west1")


def test_resume_and_overwrite_exclude_each_other():
    with pytest.raises(ConfigError, match="--resume and --overwrite exclude each other"):
        parse(*BASE, "--resume", "--overwrite")


def test_the_fingerprint_covers_what_changes_results_and_nothing_else():
    def fingerprint(*argv: str) -> str:
        return fingerprint_of(parse(*argv).identity({"name": "graphcut"}, {}))

    same = [
        fingerprint(*BASE),
        fingerprint("--dataset", "shapes", "--out", "elsewhere"),
        fingerprint(*BASE, "--workers", "7"),
        fingerprint(*BASE, "--overwrite"),
    ]
    assert len(set(same)) == 1
    different = [
        fingerprint(*BASE, flag, value)
        for flag, value in [
            ("--seed", "1"),
            ("--limit", "1"),
            ("--max-clicks", "6"),
            ("--policy", "grid"),
            ("--split", "val"),
            ("--shapes-images", "3"),
            ("--unit-size", "3"),
            ("--initial-action", "box"),
            ("--target-iou", "0.9"),
            ("--min-area", "5"),
        ]
    ]
    assert len({*same, *different}) == len(different) + 1


def test_a_wrong_argument_for_argparse_is_a_config_error_too():
    parser = ArgumentParser(prog="p")
    parser.add_argument("--number", type=int)
    with pytest.raises(ConfigError, match="see p --help"):
        parser.parse_args(["--number", "x"])
