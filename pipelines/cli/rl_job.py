"""What the command `rl` does with its parsed arguments."""

from __future__ import annotations

import argparse

from hlmat.pipelines.cli.printing import print_report, refuse_rest


def run_rl(arguments: argparse.Namespace, rest: list[str]) -> int:
    refuse_rest(arguments, rest)
    from hlmat.pipelines.reinforcement.rl import reinforce

    return print_report(arguments, reinforce(arguments))
