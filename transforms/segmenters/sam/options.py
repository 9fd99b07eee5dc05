"""Settings of SAM; those that can change a mask are part of its identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import StrictBool, StrictInt

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.options import OptionsError, declared, options, setting

_GIB = 1024**3


@options
class SamOptions:
    """Settings of `SamSegmenter`, each a `--segmenter-arg KEY=VALUE`.

    The first four may change a few pixels of a mask, through the order of operations or, for
    `precision` and `embeddings`, through rounding. The others never change a mask.

    Attributes:
        precision: of the image encoder's blocks, "fp32" or "bf16"; all else stays float32.
        embeddings: dtype of kept embeddings, "float32" or "float16".
        compile: compile the image encoder with `torch.compile`.
        cuda_graphs: launch the image encoder as one CUDA graph per batch; CUDA only.
        encoder_batch: images per call of the encoder; None means 1 on the CPU, 4 elsewhere.
        store: folder that caches embeddings for later runs; None caches none on disk.
        store_gb: largest size of the folder, in GiB.
        memory_gb: GiB of embeddings kept in memory.
        device_gb: GiB of embeddings kept on the device.
    """

    precision: Literal["fp32", "bf16"] = setting(
        default="fp32", help="precision of the image encoder's blocks"
    )
    embeddings: Literal["float32", "float16"] = setting(
        default="float32", help="type in which embeddings are kept"
    )
    compile: StrictBool = setting(default=False, help="compile the image encoder")
    cuda_graphs: StrictBool = setting(
        default=False, help="launch the image encoder as one CUDA graph a batch; CUDA only"
    )
    encoder_batch: StrictInt | None = setting(
        default=None, ge=1, help="images in one call of the encoder"
    )
    store: str | None = setting(default=None, help="folder that keeps embeddings for later runs")
    store_gb: float = setting(default=100.0, ge=0, help="GiB that the folder may hold")
    memory_gb: float = setting(default=0.0, ge=0, help="GiB of embeddings kept in memory")
    device_gb: float = setting(default=0.0, ge=0, help="GiB of embeddings kept on the device")

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> SamOptions:
        """Build the options from named values.

        Raises:
            ConfigError: an unknown name, or an invalid value.
        """
        try:
            return cls(**arguments)
        except OptionsError as error:
            labels = [
                issue.worded(lambda name: f"--segmenter-arg {name}") for issue in error.issues
            ]
            raise ConfigError(labels) from None

    @property
    def keeps_embeddings(self) -> bool:
        """Whether embeddings are cached anywhere."""
        return self.store is not None or self.memory_gb > 0 or self.device_gb > 0

    def bytes_of(self, name: str) -> int:
        """Convert GiB to bytes."""
        return int(getattr(self, name) * _GIB)

    def identity(self) -> dict[str, str | bool]:
        """Return the settings that may change a mask and differ from the default."""
        changed = {
            "precision": self.precision,
            "embeddings": self.embeddings,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
        }
        return {name: v for name, v in changed.items() if v != declared(SamOptions)[name].default}
