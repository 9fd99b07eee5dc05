"""Beam's RunInference, imported without torch.

Beam's module also imports a manager of models that share a GPU, and with it torch, if that is
installed: over a second and 200 MB in every process of a job. Nothing here uses the manager, so an
empty module replaces it during the import.
"""

from __future__ import annotations

import sys
import types

_MANAGER = "apache_beam.ml.inference.model_manager"

_is_loaded = _MANAGER in sys.modules
if not _is_loaded:
    _stand_in = types.ModuleType(_MANAGER)
    _stand_in.ModelManager = None  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules[_MANAGER] = _stand_in
try:
    from apache_beam.ml.inference.base import ModelHandler, RunInference
finally:
    if not _is_loaded:
        del sys.modules[_MANAGER]

__all__ = ["ModelHandler", "RunInference"]
