"""Settings of SAM; those that can change a mask are part of its identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean

_GIB = 1024**3


@dataclass(frozen=True)
class SamOptions:
    """Settings of `SamSegmenter`, each a `--segmenter-arg KEY=VALUE`.

    The first four may change a mask by some pixels, in the last bits of the arithmetic or, with
    `precision` and `embeddings`, by its rounding. The others change none.

    Attributes:
        precision: of the image encoder's blocks, "fp32" or "bf16"; all else stays float32.
        embeddings: type in which embeddings are kept, "float32" or "float16".
        compile: compile the image encoder with `torch.compile`.
        cuda_graphs: launch the image encoder as one CUDA graph a batch; CUDA only.
        encoder_batch: images in one call of the encoder; None is 1 on the CPU, 4 elsewhere.
        store: folder where embeddings are kept for later runs; None keeps none on disk.
        store_gb: GiB that the folder may hold.
        memory_gb: GiB of embeddings kept in memory.
        device_gb: GiB of embeddings kept on the device.
    """

    precision: str = "fp32"
    embeddings: str = "float32"
    compile: bool = False
    cuda_graphs: bool = False
    encoder_batch: int | None = None
    store: str | None = None
    store_gb: float = 100.0
    memory_gb: float = 0.0
    device_gb: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {expected}, got {getattr(self, name)!r}"
            for name, fits, expected in (
                ("precision", _one_of("fp32", "bf16"), "fp32 or bf16"),
                ("embeddings", _one_of("float32", "float16"), "float32 or float16"),
                ("compile", _one_of(True, False), "true or false"),
                ("cuda_graphs", _one_of(True, False), "true or false"),
                ("encoder_batch", _is_batch, "a whole number of 1 or more"),
                ("store", lambda v: v is None or isinstance(v, str), "the path of a folder"),
                ("store_gb", _is_size, "a number of 0 or more"),
                ("memory_gb", _is_size, "a number of 0 or more"),
                ("device_gb", _is_size, "a number of 0 or more"),
            )
            if not fits(getattr(self, name))
        ]
        if problems:
            raise ConfigError([f"--segmenter-arg for 'sam': {problem}" for problem in problems])

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> SamOptions:
        """Build the options from named values.

        Raises:
            ConfigError: a name is unknown, or a value is not what its name expects.
        """
        names = [field.name for field in fields(cls)]
        unknown = [name for name in arguments if name not in names]
        if unknown:
            raise ConfigError([_unknown(name, names) for name in unknown])
        return cls(**arguments)

    @property
    def keeps_embeddings(self) -> bool:
        """Whether embeddings are kept anywhere."""
        return self.store is not None or self.memory_gb > 0 or self.device_gb > 0

    def bytes_of(self, name: str) -> int:
        """Return a size given in GiB in bytes."""
        return int(getattr(self, name) * _GIB)

    def identity(self) -> dict[str, str | bool]:
        """Return the settings that may change a mask, where they are not the default."""
        changed = {
            "precision": self.precision,
            "embeddings": self.embeddings,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
        }
        return {name: v for name, v in changed.items() if v != getattr(SamOptions, name)}


def _one_of(*values: Any) -> Any:
    return lambda value: any(value is v or (isinstance(v, str) and value == v) for v in values)


def _is_batch(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 1)


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def _unknown(name: str, names: list[str]) -> str:
    hint = did_you_mean(name, names)
    return f"--segmenter-arg {name}: 'sam' has no such setting; {hint}it has {', '.join(names)}"
