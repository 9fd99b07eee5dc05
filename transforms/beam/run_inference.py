"""Beam's RunInference, imported without torch.

Beam's module also imports a manager of models that share a GPU, and with it torch, if that is
installed: over a second and 200 MB in every process of a job. Nothing here uses the manager, and
Beam's module is complete without it.
"""

from __future__ import annotations

import sys

_MANAGER = "apache_beam.ml.inference.model_manager"
_HIDES_MANAGER = _MANAGER not in sys.modules

if _HIDES_MANAGER:
    # None in the place of a module makes its import an ImportError, which Beam expects.
    sys.modules[_MANAGER] = None  # pyright: ignore[reportArgumentType]
try:
    from apache_beam.ml.inference.base import ModelHandler, RunInference
finally:
    if _HIDES_MANAGER:
        del sys.modules[_MANAGER]

__all__ = ["ModelHandler", "RunInference"]
