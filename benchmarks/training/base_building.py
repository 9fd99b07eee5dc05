"""Base building: images and texts a second, the plain way beside, and where the time goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from unittest.mock import patch

import torch

from benchmarks.training.arithmetic import PRECISIONS, CountedProducts, Operators, least_seconds
from benchmarks.training.base_steps import (
    OPTIONS,
    TEXT_STEP,
    TOWER_STEP,
    PlainStep,
    RealStep,
    draw_scenes,
    greatest_difference,
)
from hlmat.transforms.tiny_vlm import muon
from hlmat.transforms.tiny_vlm.muon import orthogonalise

_SCENES = 40
_KINDS = {"tower alone": TOWER_STEP, "with texts": TEXT_STEP}


def measure_base_building(rates: Mapping[torch.dtype, float], *, rounds: int) -> None:
    """Print both ways' speeds, their ratio, the share of the arithmetic, and the step's parts."""
    draw_scenes(2)  # compiled functions are loaded
    started = time.process_time()
    scenes = draw_scenes(_SCENES)
    each = (time.process_time() - started) / _SCENES
    print(f"\ndrawing and labelling a scene: {each * 1e3:.1f} ms of processor time")
    print(f"losses of both ways differ by a share of {greatest_difference(scenes):.1e} at most")
    print("\n| step | way | precision | s | images/s | texts/s | times as fast as plain ", end="")
    print("| 10^9 operations | share of the arithmetic |\n|---|---|---|---|---|---|---|---|---|")
    steps = {
        (way, precision): made(scenes, in_bfloat16=precision == "bfloat16")
        for precision in PRECISIONS
        for way, made in {"plain": PlainStep, "hlmat mini-base": RealStep}.items()
    }
    for kind, number in _KINDS.items():
        flops = {}
        for key, step in steps.items():
            with CountedProducts() as counted:
                step(number)
            flops[key] = dict(counted.flops)
        taken: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
        for _ in range(rounds):
            for key, step in steps.items():
                started = time.process_time()
                step(number)
                taken[key].append(time.process_time() - started)
        for (way, precision), times in taken.items():
            seconds = statistics.median(times)
            plain = statistics.median(taken["plain", precision])
            texts = OPTIONS.batch * OPTIONS.texts if number == TEXT_STEP else 0
            print(
                f"| {kind} | {way} | {precision} | {seconds:.3f} | {OPTIONS.batch / seconds:.1f} "
                f"| {f'{texts / seconds:.0f}' if texts else ''} | {plain / seconds:.2f} "
                f"| {sum(flops[way, precision].values()) / 1e9:.0f} "
                f"| {least_seconds(flops[way, precision], rates) / seconds:.0%} |",
                flush=True,
            )
    print("\n| step | precision | part | ms of processor time |\n|---|---|---|---|")
    for precision in PRECISIONS:
        step = steps["hlmat mini-base", precision]
        assert isinstance(step, RealStep)
        for kind, number in _KINDS.items():
            _print_parts(step, kind=kind, number=number, precision=precision, rounds=rounds)
    step = steps["hlmat mini-base", "bfloat16"]
    assert isinstance(step, RealStep)
    print()
    for kind, number in _KINDS.items():
        _print_muon(step, kind=kind, number=number, rounds=rounds)
    for kind, number in _KINDS.items():
        _print_operators(step, kind=kind, number=number)


def _print_parts(step: RealStep, *, kind: str, number: int, precision: str, rounds: int) -> None:
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        step.timed(number)
        for part, seconds in step.parts.items():
            taken.setdefault(part, []).append(seconds)
    for part, times in taken.items():
        print(f"| {kind} | {precision} | {part} | {statistics.median(times) * 1e3:.0f} |")


def _print_muon(step: RealStep, *, kind: str, number: int, rounds: int) -> None:
    """Print what Muon takes in float32, as it is made, and what it would take in bfloat16."""
    taken: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    whole: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for _ in range(rounds):
        for name, dtype in PRECISIONS.items():
            with patch.object(
                muon, "orthogonalise", lambda m, d=dtype: orthogonalise(m.to(d)).float()
            ):
                step.timed(number)
            taken[name].append(step.parts["Muon"])
            whole[name].append(sum(step.parts.values()))
    for name in PRECISIONS:
        own, all_of_it = (statistics.median(t[name]) * 1e3 for t in (taken, whole))
        print(f"{kind}, Muon in {name}: {own:.0f} of {all_of_it:.0f} ms")


def _print_operators(step: RealStep, *, kind: str, number: int) -> None:
    """Print the operators that take most of a step's time."""
    with Operators() as made:
        for _ in range(3):
            step(number)
    print(f"\noperators, {kind}: {made.shares()}", flush=True)
