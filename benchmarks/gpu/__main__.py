"""The command `python -m benchmarks.gpu`."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.gpu import STARTED
from benchmarks.gpu import __doc__ as description
from benchmarks.gpu.device_facts import measure_device
from benchmarks.gpu.encoder_runs import (
    measure_attention,
    measure_compilation,
    measure_decoder,
    measure_encoder,
)
from benchmarks.gpu.parts import Part, Setup, run_parts
from benchmarks.gpu.profiles import measure_profile
from benchmarks.gpu.report import publish
from benchmarks.gpu.worker_parts import (
    measure_grid,
    measure_kept,
    measure_main,
    measure_others,
    measure_settings,
)
from benchmarks.gpu.worker_runs import Scenes, scenes_reader, scratch_folder
from benchmarks.random_sam import MODELS
from hlmat.transforms.masks.rle import encode_mask
from hlmat.transforms.masks.upsampling import Upsampling
from hlmat.transforms.oracle.click import oracle_click
from hlmat.transforms.torch_support.torchvision import ensure_importable

_SIZES = ((640, 480), (1024, 1024), (2000, 1500))
_SMALL_SIZES = ((160, 120), (192, 192), (240, 180))
"""For trying all of this on the CPU."""
_USUAL = ("precision=bf16", "encoder_batch=8")
PARTS = [
    Part("Device", 20, measure_device),
    Part("Main model", 60, measure_main),
    Part("Encoder", 30, measure_encoder),
    Part("Attention", 40, measure_attention),
    Part("Profile", 25, measure_profile),
    Part("Settings", 50, measure_settings),
    Part("Compilation", 50, measure_compilation),
    Part("Decoder", 12, measure_decoder),
    Part("Kept embeddings", 20, measure_kept),
    Part("Other models", 40, measure_others),
    Part("Grid", 90, measure_grid),
]
"""The budgets, in seconds, are those of a GPU; a shorter run shrinks them all."""


def main() -> None:
    """Run all parts within the time and write the report after each."""
    arguments = _parser().parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])
    on_cuda = arguments.device != "cpu"
    # Imported once for all parts.
    ensure_importable()
    importlib.import_module("segment_anything")
    importlib.import_module("torch.utils.flop_counter")
    with TemporaryDirectory(dir=scratch_folder()) as folder:
        setup = Setup(
            device=arguments.device,
            models=tuple(arguments.model),
            folder=Path(folder) / "images",
            sizes=_SIZES if on_cuda else _SMALL_SIZES,
            unit_size=128 if on_cuda else 6,
            max_clicks=5,
            settings=" ".join(arguments.segmenter_arg or _USUAL),
        )
        parts = [p for p in PARTS if arguments.part is None or p.name in arguments.part]
        results = run_parts(
            parts,
            setup,
            seconds=60 * arguments.minutes - (time.monotonic() - STARTED),
            folder=Path(folder),
            publish=partial(publish, out=out, command=command),
            meanwhile=partial(prepare, setup),
        )
    for name, result in results.items():
        error = str(result["error"] or "done").strip().splitlines()[-1]
        print(f"{name:16s} {result['seconds']:6.1f} s  {error}")
    print((out / "gpu.md").read_text(encoding="utf-8").split("\n## Device")[0])
    print(f"{time.monotonic() - STARTED:.0f} s in all; {out / 'gpu.md'} and {out / 'gpu.json'}")


def prepare(setup: Setup) -> None:
    """Compile the functions that the parts' processes then inherit, and draw the images."""
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[8:40, 8:40] = True
    oracle_click(~mask, mask)
    encode_mask(mask)
    way = Upsampling.of(logits_size=16, square_size=64, resized_hw=(64, 64), size_hw=(64, 64))
    way.mask(np.zeros((16, 16), dtype=np.float32))
    for width, height in setup.sizes:
        scenes_reader(setup, Scenes(width, height, 1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(description or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="folder of the report")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument(
        "--model",
        nargs="+",
        choices=MODELS,
        default=["vit_l", "vit_h", "vit_b"],
        help="models, the main one first",
    )
    parser.add_argument("--minutes", type=float, default=7.0, help="for the whole run")
    parser.add_argument(
        "--segmenter-arg",
        action="append",
        metavar="KEY=VALUE",
        help=f"of the worker where no settings are compared ({' '.join(_USUAL)})",
    )
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="only these parts")
    return parser


if __name__ == "__main__":
    main()
