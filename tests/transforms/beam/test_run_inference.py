"""Importing Beam's RunInference costs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """\
import sys
from hlmat.transforms.beam.run_inference import ModelHandler, RunInference
import apache_beam.ml.inference.base as base
assert (ModelHandler, RunInference) == (base.ModelHandler, base.RunInference)
assert base.resource is not None
print([name for name in ("torch", "apache_beam.ml.inference.model_manager") if name in sys.modules])
"""


@pytest.mark.slow
def test_torch_is_not_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
