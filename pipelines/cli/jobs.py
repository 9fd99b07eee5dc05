"""What each command does with its parsed arguments: run the job, print the result."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hlmat.pipelines.cli.exit_codes import EXIT_DATA, EXIT_INCOMPLETE, EXIT_OK, EXIT_REJECTS, fail
from hlmat.pipelines.cli.printing import (
    print_json,
    print_lines,
    print_remarks,
    print_report,
    print_result,
    refuse_rest,
)
from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.garbage import no_cycle_search

if TYPE_CHECKING:
    from hlmat.pipelines.annotation.run import AnnotationReport
    from hlmat.pipelines.run.trajectories import RunReport
    from hlmat.pipelines.settings.annotation_options import AnnotationConfig
    from hlmat.pipelines.settings.evaluation_options import EvaluationConfig
    from hlmat.pipelines.settings.run_options import RunConfig
    from hlmat.pipelines.settings.runner_choice import RunnerChoice
    from hlmat.transforms.dataset_io.work_units import UnitShard


def run_trajectories(arguments: argparse.Namespace, rest: list[str]) -> int:
    from hlmat.pipelines.settings.run_options import trajectories_config

    config = trajectories_config(arguments, rest=rest)
    with no_cycle_search():
        _import_beam(config.runner)
        from hlmat.pipelines.evaluation import stats as statistics
        from hlmat.pipelines.run.folder import RunStatus
        from hlmat.pipelines.run.trajectories import make_trajectories

    report = make_trajectories(config, quiet=arguments.quiet or arguments.json)
    print_remarks(report.remarks)
    if config.shard is not None and report.status is not RunStatus.COMPLETE:
        return _print_shard(config.shard, report, arguments)
    figures = statistics.read_figures(config.out)
    if arguments.json:
        print_json({**figures, **_speed(report), "out": config.out})
    elif not arguments.quiet:
        print(statistics.format_figures(figures))
        print(_closing_lines(report))
    return _check_targets(figures, config, quiet=arguments.quiet)


def _print_shard(shard: UnitShard, report: RunReport, arguments: argparse.Namespace) -> int:
    out = report.layout.out
    done = {"shard": f"{shard.index}/{shard.count}", "targets_done": report.targets_done}
    if arguments.json:
        print_json({**done, "out": out})
    elif not arguments.quiet:
        print(f"shard {done['shard']}: {report.targets_done} targets in this call")
        print(f"when every shard is done, the same command without --shard ends the run in {out}")
    return EXIT_OK


def _check_targets(figures: Mapping[str, Any], config: RunConfig, *, quiet: bool) -> int:
    """Print remarks on a run's targets; return its exit code, with the reason if it is not 0."""
    from hlmat.pipelines.evaluation import stats as statistics
    from hlmat.pipelines.evaluation.rejects import closing_remarks

    rejected, targets = figures["rejected"], figures["targets"]
    print_remarks(statistics.remarks_on(figures))
    is_above = targets and rejected / targets > config.max_reject_rate
    is_failure = is_above or (targets and rejected == targets)
    if is_failure or not quiet:
        print_remarks(closing_remarks(config.out, rejected=rejected))
    if is_failure:
        limit = (
            f"more than --max-reject-rate {config.max_reject_rate:g} allows"
            if is_above
            else "so the run has no trajectory"
        )
        return fail(
            [
                f"{rejected} of {targets} targets were rejected "
                f"({statistics.format_counts(figures['rejects'])}), {limit}; see "
                f"`hlmat rejects {config.out}`"
            ],
            EXIT_INCOMPLETE,
        )
    return EXIT_OK


def run_export(arguments: argparse.Namespace, rest: list[str]) -> int:
    if arguments.runner in (None, "local"):
        refuse_rest(arguments, rest)
    from hlmat.pipelines.exporting import export as exporting

    is_quiet = arguments.quiet or arguments.json
    return print_report(arguments, exporting.export_run(arguments, rest, quiet=is_quiet))


def run_train(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    if arguments.dry_run:
        from hlmat.pipelines.training import dry_run

        plan = dry_run.plan_training(arguments)
        return print_result(arguments, plan, text=dry_run.format_plan(plan))
    from hlmat.pipelines.training import train as training

    return print_report(arguments, training.train(arguments))


def run_rl(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.reinforcement.rl import reinforce

    return print_report(arguments, reinforce(arguments))


def run_star_plus(arguments: argparse.Namespace, rest: list[str]) -> int:
    from hlmat.pipelines.settings.runner_choice import RunnerChoice

    if arguments.runner is not None:
        _import_beam(RunnerChoice(arguments.runner))
    from hlmat.pipelines.training import star_plus

    report = star_plus.improve(arguments, rest)
    rounds = [each["evaluation"] for each in report["rounds"]]
    text = f"{star_plus.format_rounds(report)}\n{_look_at_all(rounds[-1], rounds[0])}"
    return print_result(arguments, report, text=text)


def run_ladder(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.export.reports.ladder_tables import render_ladder
    from hlmat.pipelines.ladder import measure as ladder

    report = ladder.make_ladder(arguments)
    rungs = [[rung["out"] for rung in each["rungs"]] for each in report["sets"].values()]
    look = "\n".join(_look_at_all(outs[-1], outs[0]) for outs in rungs)
    return print_result(arguments, report, text=f"{render_ladder(report)}\n{look}")


def run_evaluate(arguments: argparse.Namespace, rest: list[str]) -> int:
    from hlmat.pipelines.settings.evaluation_options import evaluation_config

    config = evaluation_config(arguments, rest=rest)
    _import_beam(config.run.runner)
    if config.all_deciles:
        return _run_deciles(arguments, config)
    from hlmat.pipelines.evaluation import evaluate as evaluation

    report = evaluation.evaluate(config, quiet=arguments.quiet or arguments.json)
    print_remarks(report.remarks)
    if arguments.json:
        print_json(report.figures)
    elif not arguments.quiet:
        print(report.text)
        print_lines(report.files)
        print(_look_at_all(config.run.out))
    return _check_targets(report.figures, config.run, quiet=arguments.quiet)


def _run_deciles(arguments: argparse.Namespace, config: EvaluationConfig) -> int:
    from hlmat.pipelines.evaluation import click_deciles

    is_quiet = arguments.quiet or arguments.json
    report = click_deciles.evaluate_deciles(config, quiet=is_quiet)
    for remark in dict.fromkeys(r for _, each in report.evaluations for r in each.remarks):
        print_remarks([remark])
    if arguments.json:
        print_json(report.figures)
    elif not arguments.quiet:
        print(report.text)
        print_lines(report.files)
        least, *_, most = (each.run.out for each, _ in report.evaluations)
        print(_look_at_all(most, least))
    return max(
        _check_targets(each.figures, evaluated.run, quiet=arguments.quiet)
        for evaluated, each in report.evaluations
    )


def run_filter(arguments: argparse.Namespace, rest: list[str]) -> int:
    from hlmat.pipelines.settings.annotation_options import filter_config

    config = filter_config(arguments, rest=rest)
    _import_beam(config.rollouts.run.runner)
    from hlmat.pipelines.annotation import filter as annotation_filter

    is_quiet = arguments.quiet or arguments.json
    report = annotation_filter.filter_annotations(config, quiet=is_quiet)
    return _print_annotation_report(arguments, report, config)


def run_refine(arguments: argparse.Namespace, rest: list[str]) -> int:
    from hlmat.pipelines.settings.annotation_options import refinement_config

    config = refinement_config(arguments, rest=rest)
    _import_beam(config.rollouts.run.runner)
    from hlmat.pipelines.annotation import refine as mask_refinement

    is_quiet = arguments.quiet or arguments.json
    report = mask_refinement.refine_masks(config, quiet=is_quiet)
    return _print_annotation_report(arguments, report, config)


def _print_annotation_report(
    arguments: argparse.Namespace, report: AnnotationReport, config: AnnotationConfig
) -> int:
    print_remarks(report.remarks)
    if arguments.json:
        print_json(report.figures)
    elif not arguments.quiet:
        print_lines({**report.lines, **report.files})
    return _check_targets(report.figures, config.rollouts.run, quiet=arguments.quiet)


def run_score(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.evaluation import score as scoring

    figures = scoring.score_file(arguments)
    return print_result(arguments, figures, text=scoring.format_scores(figures))


def run_compare(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.evaluation import compare as comparison

    figures = comparison.compare(arguments)
    return print_result(arguments, figures, text=comparison.format_comparison(figures))


def run_bench(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.hlmat_bench.job import do_bench
    from hlmat.pipelines.settings.bench_options import bench_call

    report = do_bench(bench_call(arguments))
    print_result(arguments, report.values, text=report.text)
    return EXIT_OK if report.is_good else EXIT_DATA


def run_mini_base(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.training import mini_base

    is_quiet = arguments.quiet or arguments.json
    record = mini_base.make_mini_base(
        arguments, note=(lambda text: None) if is_quiet else mini_base.print_note
    )
    return print_report(arguments, record if arguments.json else {"model": arguments.out})


def run_stats(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.evaluation import stats as statistics

    figures = statistics.report_figures(arguments)
    return print_result(arguments, figures, text=statistics.format_figures(figures))


def run_rejects(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.evaluation import rejects

    view = rejects.list_rejects(arguments)
    print_result(arguments, view, text=rejects.format_rejects(view, out=arguments.run_folder))
    return EXIT_REJECTS if view["rejected"] else EXIT_OK


def run_inspect(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.evaluation import inspect as inspection

    view = inspection.inspect_run(arguments)
    return print_result(arguments, view, text=inspection.format_view(view))


def run_view(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.viewing.view import view_run

    def tell(address: str) -> None:
        if arguments.json:
            print_json({"address": address})
        else:
            print(f"open           {address}\nend with       Ctrl-C")
        sys.stdout.flush()

    report = view_run(arguments, quiet=arguments.quiet or arguments.json, tell=tell)
    return print_report(arguments, report) if report else EXIT_OK


def run_serve_segmenter(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.serving.serve import serve_segmenter
    from hlmat.transforms.segmenters.remote.wire import TOKEN_VARIABLE

    def tell(address: str, token: str | None) -> None:
        if arguments.json:
            print_json({"address": address, "token": token})
        else:
            if token is not None:
                print(f"first, in each client's shell:\n  export {TOKEN_VARIABLE}={token}")
            print(f"use it with    --segmenter {address}\nend with       Ctrl-C")
        sys.stdout.flush()

    serve_segmenter(arguments, tell=tell)
    return EXIT_OK


def _import_beam(runner: RunnerChoice) -> None:
    """Import Beam before a job does, with what its runner needs.

    Raises:
        ConfigError: a job on this machine imported less of it, earlier in this process.
    """
    from hlmat.transforms.beam.imports import has_connectors, import_beam_without_connectors

    if runner.is_local:
        import_beam_without_connectors()
    elif not has_connectors():
        raise ConfigError(
            [
                f"--runner {runner.name} needs parts of Beam that this process left out when it "
                "ran a job with --runner local; start it in a process of its own"
            ]
        )


def _speed(report: RunReport) -> dict[str, Any]:
    seconds = report.elapsed_s
    return {
        "status": report.status.value,
        "targets_done_now": report.targets_done,
        "elapsed_s": round(seconds, 3),
        "targets_per_s": round(report.targets_done / seconds, 3) if seconds else None,
    }


def _closing_lines(report: RunReport) -> str:
    layout = report.layout
    lines = []
    if report.targets_done:
        rate = report.targets_done / report.elapsed_s
        lines.append(f"speed          {rate:.3g} targets/s ({report.targets_done} in this call)")
    else:
        lines.append("nothing to do: the run is complete")
    if report.reader_layout:
        lines.append(f"read           {report.reader_layout}")
    lines += [
        f"trajectories   {layout.out}/trajectories/*.parquet",
        f"rejects        {layout.out}/rejects/*.parquet ({_program()} rejects {layout.out})",
        f"manifest       {layout.manifest}",
        _look_at_all(layout.out),
        f"look at one    {_program()} inspect {layout.out} --strip strip.png",
    ]
    return "\n".join(lines)


def _look_at_all(out: str, against: str | None = None) -> str:
    """Return the line that names the command for a run's page, or for one of two runs."""
    other = "" if against in (None, out) else f" --against {shlex.quote(str(against))}"
    return f"look at all    {_program()} view {shlex.quote(out)}{other}"


def _program() -> str:
    """Return how this program was called, so that printed commands can be copied."""
    name = sys.argv[0]
    if os.path.basename(name) != "hlmat" or shutil.which("hlmat") == os.path.abspath(name):
        return "hlmat"
    return os.path.relpath(name)
