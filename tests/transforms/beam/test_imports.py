"""Importing Beam costs no package that a job on this machine does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hlmat.transforms.beam.imports import imported_without

_TWO_COMMANDS = """\
import sys
from hlmat.pipelines.cli.main import main
flags = ["trajectories", "--dataset", "shapes", "--shapes-images", "1", "--limit", "1", "-q"]
codes = [main([*flags, "--out", sys.argv[1]])]
codes.append(main([*flags, "--out", sys.argv[1] + "2", "--runner", "FlinkRunner"]))
print(codes)
"""

_JOB = """\
import sys
from hlmat.transforms.beam.imports import import_beam_without_connectors
import_beam_without_connectors()
import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import fn_runner
with beam.Pipeline(runner=fn_runner.FnApiRunner()) as pipeline:
    pipeline | beam.Create([2, 3]) | beam.CombineGlobally(sum) | beam.Map(print)
names = ["apache_beam.io.gcp", "apitools", "azure", "boto3", "google.auth", "pandas", "pymongo"]
print([name for name in [*names, "bson", "torch"] if name in sys.modules])
"""


def test_a_job_runs_without_the_connectors() -> None:
    done = subprocess.run([sys.executable, "-c", _JOB], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n[]\n"
    assert done.stderr == ""


def test_what_pyarrow_knows_of_pandas_is_as_ever() -> None:
    pytest.importorskip("pandas")
    script = "from hlmat.transforms.beam.imports import import_beam_without_connectors\n"
    script += "import_beam_without_connectors()\nimport pandas, pyarrow\n"
    script += "print(pyarrow.array(pandas.Series([1.0, None])).null_count)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


@pytest.mark.slow
def test_another_runner_after_a_local_one_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWO_COMMANDS, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[0, 2]\n"
    assert done.stderr == (
        "hlmat: error: --runner FlinkRunner needs parts of Beam that this process left out when "
        "it ran a job with --runner local; start it in a process of its own\n"
    )


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
