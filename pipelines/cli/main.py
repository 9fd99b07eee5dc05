"""The command `hlmat`: dispatch, messages, exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlmat.pipelines.annotation.run import AnnotationReport
    from hlmat.pipelines.run.trajectories import RunReport
    from hlmat.pipelines.settings.annotation_options import AnnotationConfig
    from hlmat.pipelines.settings.run_options import RunConfig

EXIT_OK = 0
EXIT_BUG = 1
EXIT_CONFIG = 2
EXIT_DATA = 3
EXIT_OUTPUT = 4
EXIT_INCOMPLETE = 5
EXIT_INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0  done
  1  a bug: please report it with the traceback
  2  the command line or configuration is wrong; every problem is listed
  3  the input data cannot be read or has no targets
  4  the output cannot be written, or holds another run
  5  units died or too many targets were rejected; run again to take up what is missing
  130  interrupted; run the same command again to go on
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Threads that wait by spinning starve each other where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_libraries_quiet(verbose="-v" in arguments or "--verbose" in arguments)
    from hlmat.transforms.core.errors import (
        ConfigError,
        DataError,
        HlmatError,
        IncompleteError,
        OutputError,
    )

    try:
        return _dispatch(arguments)
    except ConfigError as error:
        return _fail(error.problems, EXIT_CONFIG)
    except DataError as error:
        return _fail([str(error)], EXIT_DATA)
    except IncompleteError as error:
        return _fail([str(error)], EXIT_INCOMPLETE)
    except OutputError as error:
        return _fail([str(error)], EXIT_OUTPUT)
    except HlmatError as error:
        return _fail([str(error)], EXIT_BUG)
    except KeyboardInterrupt:
        return _fail(["interrupted; run the same command again to go on"], EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): nothing left to say to anyone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception:
        traceback.print_exc()
        return _fail(["this is a bug: please report it with the lines above"], EXIT_BUG)


def _dispatch(argv: list[str]) -> int:
    from hlmat.pipelines.recipes.recipe import with_recipe_flags

    parser, commands = _make_parser()
    argv = with_recipe_flags(argv)
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command is None:
        parser.print_help()
        return EXIT_CONFIG
    command = commands[arguments.command]
    own_flags = [flag for action in command._actions for flag in action.option_strings]
    return arguments.run(arguments, rest, own_flags)


def _make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    from hlmat.pipelines.cli import examples as command_examples
    from hlmat.pipelines.evaluation import compare as comparison
    from hlmat.pipelines.evaluation import inspect as inspection
    from hlmat.pipelines.evaluation import score as scoring
    from hlmat.pipelines.evaluation import stats as statistics
    from hlmat.pipelines.exporting import export as exporting
    from hlmat.pipelines.ladder import job as ladder_job
    from hlmat.pipelines.settings import annotation_options, evaluation_options
    from hlmat.pipelines.settings import run_options as options
    from hlmat.pipelines.settings.validation import ArgumentParser
    from hlmat.pipelines.training import build_tiny_vlm as mini_base
    from hlmat.pipelines.training import star_plus
    from hlmat.pipelines.training import train as training

    parser = ArgumentParser(
        prog="hlmat",
        description="Data engine for human-like mask annotation: from segmentation data sets to "
        "click trajectories.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    commands = {}

    def add(
        name: str,
        summary: str,
        *,
        examples: str,
        declare: Callable[[argparse.ArgumentParser], None],
        run: Callable[[argparse.Namespace, list[str], list[str]], int],
    ) -> None:
        command = subparsers.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=examples + EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        declare(command)
        command.add_argument("--json", action="store_true", help="print JSON, for machines")
        volume = command.add_mutually_exclusive_group()
        volume.add_argument(
            "-q", "--quiet", action="store_true", help="no progress bar, no remarks"
        )
        volume.add_argument("-v", "--verbose", action="store_true", help="what libraries log, too")
        command.set_defaults(run=run)
        commands[name] = command

    add(
        "trajectories",
        "simulate clicks on a data set and write trajectories",
        examples=command_examples.TRAJECTORIES_EXAMPLES + options.describe_choices(),
        declare=options.add_trajectories_arguments,
        run=_run_trajectories,
    )
    add(
        "export",
        "turn trajectories into files that others read",
        examples=command_examples.EXPORT_EXAMPLES,
        declare=exporting.add_arguments,
        run=_run_export,
    )
    add(
        "train",
        "fine-tune a model by a recipe: trajectories, export, LLaMA-Factory",
        examples=command_examples.TRAIN_EXAMPLES,
        declare=training.add_arguments,
        run=_run_train,
    )
    add(
        "star-plus",
        "improve a model by its own rollouts, wrong clicks replaced by the oracle's",
        examples=command_examples.STAR_PLUS_EXAMPLES,
        declare=star_plus.add_arguments,
        run=_run_star_plus,
    )
    add(
        "ladder",
        "what each step of the method adds on held-out targets: StaR+, stopping, search",
        examples=command_examples.LADDER_EXAMPLES,
        declare=ladder_job.add_arguments,
        run=_run_ladder,
    )
    add(
        "evaluate",
        "roll a model out on a data set and score it",
        examples=command_examples.EVALUATE_EXAMPLES,
        declare=evaluation_options.add_evaluation_arguments,
        run=_run_evaluate,
    )
    add(
        "filter",
        "score a data set's masks with a model: the good ones kept, the doubtful ones apart",
        examples=command_examples.FILTER_EXAMPLES,
        declare=annotation_options.add_filter_arguments,
        run=_run_filter,
    )
    add(
        "refine",
        "mend a data set's masks with a model's clicks",
        examples=command_examples.REFINE_EXAMPLES,
        declare=annotation_options.add_refinement_arguments,
        run=_run_refine,
    )
    add(
        "score",
        "score anybody's prediction file in the reference's format",
        examples=command_examples.SCORE_EXAMPLES,
        declare=scoring.add_arguments,
        run=_run_score,
    )
    add(
        "compare",
        "put evaluations side by side",
        examples=command_examples.COMPARE_EXAMPLES,
        declare=comparison.add_arguments,
        run=_run_compare,
    )
    add(
        "mini-base",
        "build the small base model of the recipe mini",
        examples=command_examples.MINI_BASE_EXAMPLES,
        declare=mini_base.add_arguments,
        run=_run_mini_base,
    )
    add(
        "stats",
        "print the figures of a run",
        examples=command_examples.STATS_EXAMPLES,
        declare=statistics.add_arguments,
        run=_run_stats,
    )
    add(
        "inspect",
        "print one trajectory and write its image strip",
        examples=command_examples.INSPECT_EXAMPLES,
        declare=inspection.add_arguments,
        run=_run_inspect,
    )
    return parser, commands


def _run_trajectories(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import stats as statistics
    from hlmat.pipelines.run.trajectories import make_trajectories
    from hlmat.pipelines.settings import run_options as options

    _find_own_classes(arguments)
    config = options.trajectories_config(arguments, rest=rest, own_flags=own_flags)
    report = make_trajectories(config, quiet=arguments.quiet or arguments.json)
    figures = statistics.read_figures(config.out)
    if arguments.json:
        _print_json({**figures, **_speed(report), "out": config.out})
    elif not arguments.quiet:
        print(statistics.format_figures(figures))
        print(_closing_lines(report))
    return _check_reject_rate(figures, config)


def _find_own_classes(arguments: argparse.Namespace) -> None:
    """A class of the user's own lies in the folder where the command was given."""
    if ":" in (arguments.segmenter or "") and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _check_reject_rate(figures: Mapping[str, Any], config: RunConfig) -> int:
    """Return the exit code of a run, after saying why it is not 0."""
    from hlmat.pipelines.evaluation import stats as statistics

    rejected, targets = figures["rejected"], figures["targets"]
    if targets and rejected / targets > config.max_reject_rate:
        return _fail(
            [
                f"{rejected} of {targets} targets were rejected "
                f"({statistics.format_counts(figures['rejects'])}), more than --max-reject-rate "
                f"{config.max_reject_rate:g} allows; each has its message in {config.out}/rejects"
            ],
            EXIT_INCOMPLETE,
        )
    return EXIT_OK


def _run_export(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.exporting import export as exporting

    _refuse_rest(rest, own_flags)
    return _print_report(arguments, exporting.export_run(arguments))


def _run_train(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.training import train as training

    _refuse_rest(rest, own_flags)
    return _print_report(arguments, training.train(arguments))


def _run_star_plus(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.training import star_plus

    _refuse_rest(rest, own_flags)
    report = star_plus.improve(arguments)
    return _print_result(arguments, report, text=star_plus.format_rounds(report))


def _run_ladder(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.export.reports.ladder_tables import render_ladder
    from hlmat.pipelines.ladder import measure as ladder

    _refuse_rest(rest, own_flags)
    report = ladder.make_ladder(arguments)
    return _print_result(arguments, report, text=render_ladder(report))


def _run_evaluate(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import evaluate as evaluation
    from hlmat.pipelines.settings import evaluation_options

    _find_own_classes(arguments)
    config = evaluation_options.evaluation_config(arguments, rest=rest, own_flags=own_flags)
    report = evaluation.evaluate(config, quiet=arguments.quiet or arguments.json)
    for remark in report.remarks:
        print(f"hlmat: {remark}", file=sys.stderr)
    if arguments.json:
        _print_json(report.figures)
    elif not arguments.quiet:
        print(report.text)
        _print_lines(report.files)
    return _check_reject_rate(report.figures, config.run)


def _run_filter(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.annotation import filter as annotation_filter
    from hlmat.pipelines.settings import annotation_options

    config = annotation_options.filter_config(arguments, rest=rest, own_flags=own_flags)
    is_quiet = arguments.quiet or arguments.json
    report = annotation_filter.filter_annotations(config, quiet=is_quiet)
    return _print_annotation_report(arguments, report, config)


def _run_refine(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.annotation import refine as mask_refinement
    from hlmat.pipelines.settings import annotation_options

    _find_own_classes(arguments)
    config = annotation_options.refinement_config(arguments, rest=rest, own_flags=own_flags)
    is_quiet = arguments.quiet or arguments.json
    report = mask_refinement.refine_masks(config, quiet=is_quiet)
    return _print_annotation_report(arguments, report, config)


def _print_annotation_report(
    arguments: argparse.Namespace, report: AnnotationReport, config: AnnotationConfig
) -> int:
    for remark in report.remarks:
        print(f"hlmat: {remark}", file=sys.stderr)
    if arguments.json:
        _print_json(report.figures)
    elif not arguments.quiet:
        _print_lines({**report.lines, **report.files})
    return _check_reject_rate(report.figures, config.rollouts.run)


def _run_score(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import score as scoring

    _refuse_rest(rest, own_flags)
    figures = scoring.score_file(arguments)
    return _print_result(arguments, figures, text=scoring.format_scores(figures))


def _run_compare(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import compare as comparison

    _refuse_rest(rest, own_flags)
    figures = comparison.compare(arguments)
    return _print_result(arguments, figures, text=comparison.format_comparison(figures))


def _run_mini_base(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.training import build_tiny_vlm as mini_base

    _refuse_rest(rest, own_flags)
    is_quiet = arguments.quiet or arguments.json
    record = mini_base.make_mini_base(
        arguments, note=(lambda text: None) if is_quiet else mini_base.print_note
    )
    return _print_report(arguments, record if arguments.json else {"model": arguments.out})


def _run_stats(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import stats as statistics

    _refuse_rest(rest, own_flags)
    figures = statistics.read_figures(arguments.run_folder, verify_all=arguments.verify)
    return _print_result(arguments, figures, text=statistics.format_figures(figures))


def _run_inspect(arguments: argparse.Namespace, rest: list[str], own_flags: list[str]) -> int:
    from hlmat.pipelines.evaluation import inspect as inspection

    _refuse_rest(rest, own_flags)
    view = inspection.inspect_run(arguments)
    return _print_result(arguments, view, text=inspection.format_view(view))


def _refuse_rest(rest: Sequence[str], own_flags: Sequence[str]) -> None:
    from hlmat.pipelines.run.runners import check_runner_flags
    from hlmat.transforms.core.errors import ConfigError

    if rest:
        raise ConfigError(check_runner_flags(rest, is_local=True, own_flags=own_flags))


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
        lines.append("nothing was left to do: the run is complete")
    if report.reader_layout:
        lines.append(f"read           {report.reader_layout}")
    lines += [
        f"trajectories   {layout.out}/trajectories/*.parquet",
        f"rejects        {layout.out}/rejects/*.parquet",
        f"manifest       {layout.manifest}",
        f"look at one    {_program()} inspect {layout.out} --strip strip.png",
    ]
    return "\n".join(lines)


def _program() -> str:
    """Return how this program was called, so that a shown command can be copied."""
    name = sys.argv[0]
    return os.path.relpath(name) if os.path.basename(name) == "hlmat" else "hlmat"


def _print_result(arguments: argparse.Namespace, values: Any, *, text: str) -> int:
    """Print what the command was given for, as text or as JSON."""
    if arguments.json:
        _print_json(values)
    else:
        print(text)
    return EXIT_OK


def _print_report(arguments: argparse.Namespace, report: Mapping[str, Any]) -> int:
    """Print what was made; `--quiet` leaves it out."""
    if arguments.json:
        _print_json(report)
    elif not arguments.quiet:
        _print_lines(report)
    return EXIT_OK


def _print_lines(values: Mapping[str, Any]) -> None:
    print("\n".join(f"{key:<14} {value}" for key, value in values.items()))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))


def _fail(problems: Sequence[str], code: int) -> int:
    for problem in problems:
        print(f"hlmat: error: {problem}", file=sys.stderr)
    return code


def _keep_libraries_quiet(*, verbose: bool) -> None:
    """Beam warns at import of what this project does not use; `--verbose` lets it speak."""
    if verbose:
        logging.basicConfig(level=logging.INFO)
        return
    logging.basicConfig(level=logging.CRITICAL)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


if __name__ == "__main__":
    sys.exit(main())
