"""What `hlmat fit-clicks` does with its parsed arguments."""

from __future__ import annotations

import argparse

from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.pipelines.cli.printing import print_json, print_lines, print_remarks, refuse_rest


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
