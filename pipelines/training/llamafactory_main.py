"""The process that LLaMA-Factory trains in: `python -m ...llamafactory_main CONFIG`.

A separate process, because LLaMA-Factory imports many packages, changes global state, and runs once
per GPU. With several GPUs, or with DeepSpeed, this process becomes torchrun, which starts one
process per GPU, or NPROC_PER_NODE of them.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import json
import os
import signal
import sys
import types
from collections.abc import Mapping
from typing import Any

import yaml

from hlmat.pipelines.training.setting_types import settings_of, type_problems
from hlmat.transforms.torch_support.device import computes_bfloat16, describe_arithmetic
from hlmat.transforms.torch_support.torchvision import ensure_importable

CHECK_SETTINGS = "--check-settings"

_PR_SET_PDEATHSIG = 1


def main(argument: str) -> None:
    """Train according to a configuration, or check LLaMA-Factory's settings.

    Args:
        argument: path of a YAML file; or `--check-settings`, which reads settings as JSON from
            standard input and prints, as the last line of output, the names of all settings
            (`known`) and what is wrong with values (`problems`, by name).
    """
    end_with_parent()
    make_importable()
    if argument == CHECK_SETTINGS:
        sys.stdout.write("\n" + json.dumps(check_settings(json.load(sys.stdin))) + "\n")
        return
    with open(argument, encoding="utf-8") as f:
        settings = yaml.safe_load(f)
    settings.setdefault("use_cpu", not _has_gpu())
    if settings["use_cpu"]:
        choose_arithmetic(settings)
    processes = _processes(settings)
    if processes and "LOCAL_RANK" not in os.environ:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, "-m", *torchrun, "-m", __spec__.name, argument]
        sys.stdout.write(f"{processes} processes: {' '.join(command)}\n")
        sys.stdout.flush()
        os.execv(sys.executable, command)

    from llamafactory.train.tuner import run_exp

    from hlmat.transforms.torch_support.training_time import TrainingTime

    run_exp(settings, callbacks=[TrainingTime(_say)])


def make_importable() -> None:
    """Work around imports that fail although LLaMA-Factory does not need them here.

    These are torchvision with a CPU-only torch, and torchaudio, which images do not need.
    """
    ensure_importable()
    try:
        import torchaudio  # noqa: F401  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError):
        stand_in = types.ModuleType("torchaudio")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
        sys.modules["torchaudio"] = stand_in


def choose_arithmetic(settings: dict[str, Any]) -> None:
    """Turn `bf16` off where the CPU only emulates bfloat16, and say what the training computes in.

    Args:
        settings: LLaMA-Factory's, for a training on the CPU.
    """
    if settings.get("bf16"):
        settings["bf16"] = computes_bfloat16("cpu")
        _say(f"training in {describe_arithmetic('cpu')}\n")
    elif not settings.get("fp16"):
        _say("training in float32 (no bf16: true in the settings)\n")


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of all settings (`known`), and problems of the given ones by name."""
    from llamafactory.hparams.parser import _TRAIN_ARGS

    types = settings_of(_TRAIN_ARGS)
    return {"known": sorted(types), "problems": type_problems(settings, types)}


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _has_gpu() -> bool:
    from llamafactory.extras.misc import get_device_count

    return get_device_count() > 0


def _processes(settings: Mapping[str, Any]) -> int:
    """Return how many processes torchrun starts; 0 to run without torchrun."""
    from llamafactory.extras.misc import get_device_count

    wanted = os.environ.get("NPROC_PER_NODE")
    count = int(wanted) if wanted else 0 if settings.get("use_cpu") else get_device_count()
    if settings.get("deepspeed"):
        return max(count, 1)
    return count if count > 1 else 0


def end_with_parent() -> None:
    """Make Linux end this process when its parent dies for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
