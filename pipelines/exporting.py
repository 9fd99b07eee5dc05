"""The job `hlmat export`: a finished run to the files of another tool."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from export.llama_factory import LlamaFactoryOptions, export_next_click
from export.manifest import Manifest, read_manifest
from export.trace import write_trace
from export.trajectories import read_trajectories
from transforms.errors import ConfigError
from transforms.protocols import DatasetReader
from transforms.readers.registry import ReaderOptions, open_reader
from transforms.readers.shapes import ShapesOptions
from transforms.steps.beam_storage import storage_for

FORMATS = ("trace", "llama-factory")
