"""Importing Beam costs no package that a job on this machine does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hlmat.transforms.beam.imports import imported_without

_JOB = """\
import sys
from hlmat.transforms.beam.imports import import_beam_without_connectors
import_beam_without_connectors()
import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import fn_runner
with beam.Pipeline(runner=fn_runner.FnApiRunner()) as pipeline:
    pipeline | beam.Create([2, 3]) | beam.CombineGlobally(sum) | beam.Map(print)
names = ("apache_beam.io.gcp", "apitools", "azure", "boto3", "google.auth", "pandas", "torch")
print([name for name in names if name in sys.modules])
"""


def test_a_job_runs_without_the_connectors() -> None:
    done = subprocess.run([sys.executable, "-c", _JOB], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n[]\n"
    assert done.stderr == ""


def test_what_was_left_out_can_be_imported_later() -> None:
    script = "import sys; sys.modules.pop('wave', None)\n"
    script += "from hlmat.transforms.beam.imports import imported_without\n"
    script += "with imported_without('wave'):\n    try: import wave\n"
    script += "    except ModuleNotFoundError as error: print(error.name)\n"
    script += "import wave; print(wave.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "wave\nwave\n"


def test_names_that_only_begin_alike_are_imported() -> None:
    with imported_without("jso"):
        assert __import__("json.tool").__name__ == "json"
    with imported_without("email"), pytest.raises(ModuleNotFoundError, match=r"^email\.no_such"):
        __import__("email.no_such")
