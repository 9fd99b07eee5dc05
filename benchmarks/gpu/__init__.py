"""Measures the SAM worker on a GPU in one bounded run and writes one Markdown file and one JSON.

    python -m benchmarks.gpu --out results                     # CUDA, at most 7 minutes
    python -m benchmarks.gpu --device cpu --model tiny --minutes 1 --out results

Weights are random: masks are noise, the worst case for click search and run lengths, and every
target is clicked to the last click.

Needed: torch, torchvision, numpy, opencv, scipy, pyarrow, numba, pyyaml, tqdm, pillow, and
pycocotools, rlemasklib, segment-anything, lazy-loader, and pydantic with its own requirements
(annotated-types, pydantic-core, typing-inspection). No Beam.
"""

import os
import time

STARTED = time.monotonic()
"""The run's time begins before the large packages are imported."""

# Asking whether there is a GPU must not start CUDA in the process whose children use it.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
