"""The command `python -m benchmarks.training`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.training import __doc__ as description
from benchmarks.training.arithmetic import print_rates
from benchmarks.training.base_building import measure_base_building
from benchmarks.training.fine_tuning import WAYS, measure_fine_tuning


def main() -> None:
    """Print the rates of products, then the speeds of base building and of fine-tuning."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="steps of each way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-base", action="store_true", help="leave base building out")
    parser.add_argument(
        "--fine-tuning", type=Path, metavar="DIR", help="folder of a finished `hlmat train`"
    )
    parser.add_argument("--rows", type=int, default=640, help="of its data, for fine-tuning")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rates = print_rates()
    if not arguments.no_base:
        measure_base_building(rates, rounds=arguments.rounds)
    if arguments.fine_tuning is not None:
        measure_fine_tuning(
            arguments.fine_tuning.resolve(),
            rates,
            ways=arguments.ways,
            rows=arguments.rows,
            steps=arguments.rounds + 5,
            threads=arguments.threads,
        )


if __name__ == "__main__":
    main()
