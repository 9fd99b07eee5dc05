"""What the commands about people's clicks do with their parsed arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.pipelines.cli.jobs import _check_targets, _look_at_all
from hlmat.pipelines.cli.printing import print_json, print_lines, print_remarks, refuse_rest

if TYPE_CHECKING:
    from hlmat.pipelines.settings.evaluation_options import EvaluationConfig


def run_deciles(arguments: argparse.Namespace, config: EvaluationConfig) -> int:
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


def run_fit_clicks(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.settings.fit_clicks_options import fit_clicks_config

    config = fit_clicks_config(arguments)
    from hlmat.pipelines.evaluation import fit_clicks as fitting

    report = fitting.fit_clicks(config)
    print_remarks(report.remarks)
    if arguments.json:
        print_json({"weights": dict(report.model.weights), **report.model.fit})
    elif not arguments.quiet:
        print(report.text)
        print_lines(report.files)
    return EXIT_OK
