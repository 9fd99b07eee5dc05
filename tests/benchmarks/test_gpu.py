from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from repository import REPOSITORY

pytest.importorskip("segment_anything")

from benchmarks.gpu.__main__ import PARTS
from benchmarks.gpu.parts import Part, Recorder, Setup
from benchmarks.gpu.report import goals_of, projections, to_markdown

_ALLOWED = (
    "torch torchvision triton torchgen sympy mpmath networkx jinja2 markupsafe numpy cuda cv2 "
    "scipy pyarrow numba llvmlite yaml tqdm PIL pycocotools rlemasklib segment_anything "
    "cloudpickle dill colorama defusedxml _cyutility typing_extensions packaging setuptools "
    "_distutils_hack pkg_resources psutil lazy_loader "
    # Numba imports it where it is installed.
    "coverage "
    # Brought along as wheels: the options are declared with pydantic.
    "pydantic pydantic_core annotated_types typing_inspection"
)
"""What the machines that this runs on hold."""


class _Patient(Recorder):
    """Never runs out of time, and asks for the least of everything."""

    left_s = 1e9  # type: ignore[assignment]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup(
        device="cpu",
        models=("tiny",),
        folder=tmp_path_factory.mktemp("gpu") / "images",
        sizes=((64, 48), (64, 64), (96, 72)),
        unit_size=3,
        max_clicks=2,
    )


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.slow
def test_every_part_runs_on_the_cpu(part: Part, setup: Setup, tmp_path: Path) -> None:
    file = tmp_path / "part.json"
    part.work(setup, _Patient(file, budget_s=0.01))
    result = json.loads(file.read_text())
    assert [note for note in result["notes"] if "failed" in note or "rejected" in note] == []
    if part.name == "Compilation":
        assert "cuda_graphs: left out, no CUDA device" in result["notes"]
    else:
        assert [name for name, rows in result["tables"].items() if not rows] == []
    for row in result["tables"].get("Worker and plain loop", []):
        assert row["rejects"] == 0
        assert row["ratio"] > 0
    rows = result["tables"].get("Worker and plain loop", [])
    assert not rows or rows[-1]["same_clicks"].split("/")[0] != "0"


@pytest.mark.slow
def test_command_writes_both_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _python(
        f"import sys; sys.argv[1:] = ['--device', 'cpu', '--model', 'tiny', '--part', 'Device',"
        f"'--minutes', '1', '--out', {str(out)!r}]\n"
        "from benchmarks.gpu.__main__ import main\nmain()"
    )
    data = json.loads((out / "gpu.json").read_text())
    assert data["parts"]["Device"]["error"] is None
    assert {row["type"] for row in data["parts"]["Device"]["tables"]["Matrix product"]} == {
        "bfloat16",
        "float32",
    }
    report = (out / "gpu.md").read_text()
    assert [line for line in report.splitlines() if line.startswith("#")][:2] == [
        "# The SAM worker on this machine",
        "## Goals",
    ]
    assert re.findall(r"^## (\w+) \(\d+ s\)$", report, re.MULTILINE) == ["Device"]


@pytest.mark.slow
def test_a_part_that_fails_or_hangs_leaves_the_others(tmp_path: Path) -> None:
    _python(f"""
        import os, re, time
        from pathlib import Path
        from benchmarks.gpu.parts import Part, Setup, run_parts

        def fails(setup, record):
            record.row("t", a=1)
            raise ValueError("no such kernel")

        def hangs(setup, record):
            record.row("t", a=2)
            time.sleep(600)

        def dies(setup, record):
            os._exit(3)

        def works(setup, record):
            record.attempt("x", lambda: 1 / 0)
            record.row("t", a=3)

        folder = Path({str(tmp_path)!r})
        setup = Setup("cpu", ("tiny",), folder, ((1, 1),) * 3, 1, 1)
        parts = [Part("f", 0.1, fails), Part("h", 0.1, hangs), Part("d", 0.1, dies),
                 Part("w", 5, works)]
        seen = []
        keep = lambda results: seen.append(list(results))
        found = run_parts(parts, setup, seconds=60, folder=folder, publish=keep)
        assert found["f"]["error"].splitlines()[-1] == "ValueError: no such kernel"
        assert re.fullmatch(r"ended after \\d+ s, its limit", found["h"]["error"])
        assert found["d"]["error"] == "its process ended with exit code 3"
        assert found["w"]["error"] is None
        assert found["w"]["notes"] == ["x: failed, ZeroDivisionError: division by zero"]
        tables = [found[name]["tables"] for name in "fhdw"]
        assert tables == [dict(t=[dict(a=1)]), dict(t=[dict(a=2)]), dict(), dict(t=[dict(a=3)])]
        assert seen[-1] == ["f", "h", "d", "w"]
    """)


@pytest.mark.slow
def test_needs_nothing_but_what_the_machine_has() -> None:
    _python(f"""
        import importlib.abc, sys

        class Block(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name.split(".")[0] in ("apache_beam", "gymnasium", "orjson", "transformers"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Block())
        import benchmarks.gpu.__main__ as command
        from hlmat.transforms.torch_support.torchvision import ensure_importable
        ensure_importable()
        import segment_anything
        from benchmarks.random_sam import random_sam
        random_sam("tiny")
        import hlmat.transforms.segmenters.sam.encoder
        installed = {{
            name.split(".")[0] for name, module in sys.modules.items()
            if "site-packages" in str(getattr(module, "__file__", ""))
        }}
        more = installed - set({_ALLOWED!r}.split())
        assert not {{name for name in more if not name.startswith("__editable__")}}, more
    """)


def test_projections_add_up() -> None:
    rows = [
        {"model": "vit_l", "size": size, "targets": targets, "images_s": speed, "rejects": 0}
        for size, targets, speed in (
            ("640x480", 1, 100.0),
            ("640x480", 1, 50.0),
            ("640x480", 3, 50.0),
            ("2000x1500", 1, 25.0),
        )
    ]
    found = projections(rows, "vit_l")
    hqseg, refcoco = found["HQSeg-44K"], found["RefCOCO"]
    assert hqseg is not None
    assert refcoco is not None
    assert math.isclose(hqseg, (36_572 / 100 + (4_748 + 2.6 * 3_000) / 25) / 60)
    assert math.isclose(refcoco, 16_994 * (0.01 + 0.005 * (42_404 / 16_994 - 1)) / 60)
    assert projections(rows, "vit_h") == {"HQSeg-44K": None, "RefCOCO": None}


def test_report_shows_failures_and_goals() -> None:
    row: dict[str, Any] = {"model": "vit_l", "size": "640x480", "targets": 3, "images_s": 50.0}
    row |= {"rejects": 0, "ratio": 31.0}
    results = {
        "Main model": {
            "tables": {"Worker and plain loop": [row]},
            "notes": ["a note"],
            "error": "boom",
            "seconds": 3.0,
        }
    }
    goals = goals_of(results)
    assert next(g["found"] for g in goals if "plain loop" in g["goal"]) == 31.0
    text = to_markdown(results, goals, command="c")
    _, _, part = text.partition("\n## ")
    _, _, part = part.partition("\n## ")
    assert part.splitlines() == [
        "Main model (3 s)",
        "",
        "### Worker and plain loop",
        "",
        "| model | size | targets | images_s | rejects | ratio |",
        "|---|---|---|---|---|---|",
        "| vit_l | 640x480 | 3 | 50 | 0 | 31 |",
        "",
        "- a note",
        "",
        "Ended early:",
        "",
        "```",
        "boom",
        "```",
    ]


def _python(code: str) -> None:
    """Run code in a process of its own, which may fork."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
