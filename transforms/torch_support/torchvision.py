"""Make torchvision importable with a torch that its compiled operators were not built for.

The torchvision wheels on package indexes are linked against CUDA. With a CPU-only torch, their
operators cannot be loaded, and importing torchvision stops at "operator torchvision::nms does not
exist", although nothing here calls it. Declaring the two operators that torchvision describes at
import time is enough. If they can be loaded, this does nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_declared: list[Any] = []


def ensure_importable() -> ModuleType:
    """Import torchvision; declare the missing operators if its own cannot be loaded.

    Returns:
        The module torchvision.

    Raises:
        ImportError: torch or torchvision is not installed.
    """
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    # The declarations last as long as this object.
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        fragment.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(fragment)
    return importlib.import_module("torchvision")
