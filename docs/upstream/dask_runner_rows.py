"""Show that Beam's DaskRunner drops rows and reports success.

Run: python dask_runner_rows.py. It needs apache-beam[dask]. It prints the rows that each runner
wrote, and exits with 1 where the DaskRunner wrote others.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"


class Collect(beam.DoFn):
    """Hands its elements on when the bundle ends, as a DoFn that works on batches does."""

    def start_bundle(self) -> None:
        self.held: list[int] = []

    def process(self, element: int) -> None:
        self.held.append(element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for element in self.held:
            yield WindowedValue(element, window.max_timestamp(), [window])


class Write(beam.DoFn):
    """Write each element as a file."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder, self.name = folder, name

    def process(self, element: int) -> Iterable[int]:
        path = os.path.join(self.folder, f"{self.name}-{element}")
        with open(path, "w", encoding="utf-8"):
            pass
        yield element


def two_branches(pipeline: beam.Pipeline, folder: str) -> None:
    """Write every number twice, in two branches of the graph."""
    numbers = pipeline | beam.Create([1, 2, 3])
    _ = numbers | "First" >> beam.ParDo(Write(folder, "first"))
    _ = numbers | "Second" >> beam.ParDo(Write(folder, "second"))


def end_of_bundle(pipeline: beam.Pipeline, folder: str) -> None:
    """Write every number after a step that hands it on when its bundle ends."""
    numbers = pipeline | beam.Create([1, 2, 3]) | beam.ParDo(Collect())
    _ = numbers | beam.ParDo(Write(folder, "row"))


def rows(build: Callable[[beam.Pipeline, str], None], runner: str) -> list[str]:
    """Run a pipeline; return the names of the files that it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        with beam.Pipeline(runner=runner, options=PipelineOptions([])) as pipeline:
            build(pipeline, folder)
        return sorted(os.listdir(folder))


def main() -> int:
    """Compare the DaskRunner with Beam's own local runner."""
    is_faulty = False
    for build in (two_branches, end_of_bundle):
        expected, found = rows(build, "FnApiRunner"), rows(build, DASK)
        is_faulty |= found != expected
        sys.stdout.write(
            f"Beam {beam.__version__}, {build.__name__}: FnApiRunner {expected}, "
            f"DaskRunner {found}\n"
        )
    return int(is_faulty)


if __name__ == "__main__":
    sys.exit(main())
