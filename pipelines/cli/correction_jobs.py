"""What the commands do that correct runs and make runs from runs."""

from __future__ import annotations

import argparse
import sys

from hlmat.pipelines.cli.exit_codes import EXIT_OK
from hlmat.pipelines.cli.printing import print_json, print_report, print_result, refuse_rest


def run_edit(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.correction.edit import edit_run

    def tell(address: str) -> None:
        if arguments.json:
            print_json({"address": address})
        else:
            print(f"open           {address}\nend with       Ctrl-C")
        sys.stdout.flush()

    report = edit_run(arguments, tell=tell)
    return print_report(arguments, report) if report else EXIT_OK


def run_sample(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.correction.sample import sample_run

    return print_report(arguments, sample_run(arguments))


def run_split(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.correction.sample import split_run

    report = split_run(arguments)
    lines = {
        name: f"{part['written']}: {part['trajectories']} trajectories of {part['images']} images"
        for name, part in report.items()
    }
    return print_report(arguments, report if arguments.json else lines)


def run_merge(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.correction.merge import merge_runs

    return print_report(arguments, merge_runs(arguments))


def run_noise(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.correction.noise import format_noise, report_noise

    figures = report_noise(arguments, quiet=arguments.quiet or arguments.json)
    return print_result(arguments, figures, text=format_noise(figures))
