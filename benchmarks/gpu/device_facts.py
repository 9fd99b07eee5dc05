"""What the machine is and what it reaches: clocks, matrix products, copies."""

from __future__ import annotations

import os
import platform
import subprocess
import time

import torch

from benchmarks.comparison import matrix_product_flops, wait
from benchmarks.gpu.parts import Recorder, Setup
from hlmat.transforms.core.threads import available_cores

_QUERY = (
    "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,"
    "power.draw,power.limit,temperature.gpu,pstate"
)


def measure_device(setup: Setup, record: Recorder) -> None:
    """Record the device, its clocks, and the speeds that everything else is compared with."""
    _describe(setup, record)
    _products(setup, record)
    _record_clocks(setup, record, "just after the products")
    record.attempt("copies", lambda: _copies(setup, record))


def product_flops(setup: Setup, dtype: torch.dtype) -> float:
    """Return the speed of a large matrix product, in FLOP/s, once the clocks have risen."""
    side, times = (8192, 20) if setup.on_cuda else (256, 3)
    return matrix_product_flops(setup.device, dtype, side=side, times=times)


def _products(setup: Setup, record: Recorder) -> None:
    rows: list[tuple[str, torch.dtype, bool]] = [
        ("bfloat16", torch.bfloat16, False),
        ("float16", torch.float16, False),
        ("float32", torch.float32, False),
        ("float32, TF32", torch.float32, True),
    ]
    for name, dtype, tf32 in rows if setup.on_cuda else [rows[0], rows[2]]:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        record.row("Matrix product", type=name, tflops=product_flops(setup, dtype) / 1e12)
    torch.backends.cuda.matmul.allow_tf32 = False


def _describe(setup: Setup, record: Recorder) -> None:
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "CPU cores": available_cores(),
        "load average": round(os.getloadavg()[0], 2),
        "processor": _processor(),
    }
    if setup.on_cuda:
        properties = torch.cuda.get_device_properties(setup.device)
        facts |= {
            "GPU": properties.name,
            "GPU memory, GiB": round(properties.total_memory / 1024**3, 1),
            "multiprocessors": properties.multi_processor_count,
            "cuDNN": torch.backends.cudnn.version(),
        }
    for name, value in facts.items():
        record.row("Machine", what=name, value=str(value))
    _record_clocks(setup, record, "idle")


def _record_clocks(setup: Setup, record: Recorder, when: str) -> None:
    if not setup.on_cuda:
        return
    try:
        out = subprocess.run(
            ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        record.note(f"nvidia-smi says nothing: {error}")
        return
    values = [value.strip() for value in out.splitlines()[0].split(",")]
    record.row("nvidia-smi", when=when, **dict(zip(_QUERY.split(","), values, strict=True)))


def _copies(setup: Setup, record: Recorder) -> None:
    size = 2 * 1024**3 if setup.on_cuda else 32 * 1024**2
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=setup.device)
    target = torch.empty_like(source)
    seconds = best_seconds(lambda: target.copy_(source), setup.device)
    record.row("Copies", what="device to device, read and written", gb_s=2 * size / seconds / 1e9)
    if not setup.on_cuda:
        return
    part = source[: 256 * 1024**2]
    for what, pinned in (("pinned", True), ("pageable", False)):
        host = torch.empty(part.shape, dtype=torch.uint8, pin_memory=pinned)
        for direction, copy in (
            ("host to device", lambda h=host: part.copy_(h)),
            ("device to host", lambda h=host: h.copy_(part)),
        ):
            seconds = best_seconds(copy, setup.device)
            record.row("Copies", what=f"{direction}, {what}", gb_s=part.numel() / seconds / 1e9)


def best_seconds(work: object, device: str, *, times: int = 5, warm: int = 1) -> float:
    """Return the least time that `work` took, in seconds; the device is idle before and after."""
    assert callable(work)
    for _ in range(warm):
        work()
    seconds = []
    for _ in range(times):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
