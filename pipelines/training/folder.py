"""The output folder of a training: its settings, checkpoints and result."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hlmat.transforms.core.atomic_files import atomic_file
from hlmat.transforms.core.errors import OutputError
from hlmat.transforms.core.safetensors_file import announced_size
from hlmat.transforms.core.suggestions import setting_change

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")
TRAINED = "training.json"
"""In the model's folder: the record of the finished training."""
_STATE = "trainer_state.json"
# The processes of a killed training also end, but not immediately.
_SECONDS_TO_END = 5.0
_STAGES = {
    "trajectories": ("trajectories",),
    "export": ("export", "rollouts", "added"),
    "train": ("train",),
}
"""The parts of the settings that decide a stage's results."""


@dataclass(frozen=True)
class TrainingFolder:
    """The paths of one training.

    `run.json`, written first, records the training's settings; `model/training.json`, written last,
    marks it as done.

    Attributes:
        out: the folder, on the local disk.
        shared_trajectories: a run elsewhere that other trainings also use, so it is never removed;
            None if the training makes its own.
    """

    out: Path
    shared_trajectories: Path | None = None

    @property
    def trajectories(self) -> Path:
        """The run that the data set is made from."""
        return self.shared_trajectories or self.out / "trajectories"

    @property
    def data(self) -> Path:
        """The data set for LLaMA-Factory."""
        return self.out / "sft"

    def added_data(self, number: int) -> Path:
        """Return the data set of an added run, counted from 1."""
        return self.out / f"sft-{number}"

    @property
    def joined_data(self) -> Path:
        """The rows of `data` and of all added runs."""
        return self.out / "sft-joined"

    @property
    def base(self) -> Path:
        """The base model, if the recipe builds or changes it."""
        return self.out / "base"

    @property
    def model(self) -> Path:
        """Checkpoints, loss curve and finally the model."""
        return self.out / "model"

    @property
    def config(self) -> Path:
        """LLaMA-Factory's settings, complete."""
        return self.out / "train.yaml"

    @property
    def log(self) -> Path:
        """LLaMA-Factory's output."""
        return self.out / "train.log"

    @property
    def cache(self) -> Path:
        """Tokenised data."""
        return self.out / "cache"

    @property
    def run(self) -> Path:
        """The record of the training's settings."""
        return self.out / "run.json"

    @property
    def marker(self) -> Path:
        """The record of the finished training."""
        return self.model / TRAINED

    @contextmanager
    def locked(self) -> Iterator[IO[bytes]]:
        """Keep other trainings out while the body, or a process that inherited the lock, runs.

        Raises:
            OutputError: another training is running, or the folder cannot be written.
        """
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            f = open(self.out / ".lock", "wb")  # noqa: SIM115
        except OSError as error:
            raise OutputError(
                f"{self.out} cannot be written: {error}; choose another --out"
            ) from error
        with f:
            if not _is_locked(f):
                raise OutputError(
                    f"another training is running in {self.out}; wait for it or choose "
                    "another --out"
                )
            yield f

    def is_begun(self, settings: Mapping[str, Any]) -> bool:
        """Whether this training was already started here.

        Args:
            settings: plain JSON, by part (`trajectories`, `export`, `train`, ...): everything that
                can change the result.

        Raises:
            OutputError: the folder contains another training, or files without a record.
        """
        record = self._read(self.run)
        if record is None:
            parts = (self.data, self.model)
            leftovers = [p.name for p in parts if p.is_dir() and any(p.iterdir())]
            if leftovers:
                raise OutputError(
                    f"{self.out} holds {', '.join(leftovers)} but no {self.run.name} that says "
                    "what made them; choose another --out, or pass --overwrite to remove them"
                )
            return False
        differing = differences(record.get("settings", {}), settings)
        if differing:
            raise OutputError(
                f"{self.out} holds another training:\n"
                + "\n".join(f"  {line}" for line in differing)
                + "\nchoose another --out, repeat its own flags and settings, or pass "
                "--overwrite to remove it"
            )
        return True

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Claim the folder for a training that `is_begun` did not find.

        Args:
            settings: as for `is_begun`.
            overwrite: remove an earlier training; trajectories and data set with unchanged settings
                are kept.

        Raises:
            OutputError: the folder cannot be written.
        """
        if overwrite:
            before = (self._read(self.run) or {}).get("settings", {})
            changed = [
                stage
                for stage, parts in _STAGES.items()
                if any(before.get(part) != settings.get(part) for part in parts)
            ]
            self._remove_from(changed[0] if changed else "train")
        self.write_json(self.run, {"settings": settings})

    def note_data(self, sha256: str) -> None:
        """Compare the data set with the one at the start of the training.

        Raises:
            OutputError: the data set has changed.
        """
        record = self._read(self.run) or {}
        before = record.get("data_sha256")
        if before == sha256:
            return
        if before is not None and self.model.is_dir():
            raise OutputError(
                f"the data set in {self.data} has changed since the training began: its digest "
                f"was {before[:12]}, now it is {sha256[:12]}; restore it, choose another --out, or "
                "pass --overwrite"
            )
        self.write_json(self.run, {**record, "data_sha256": sha256})

    def finished(self) -> dict[str, Any] | None:
        """Return the record of a finished training, or None."""
        return self._read(self.marker)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Mark the training as done."""
        self.write_json(self.marker, record)

    def prepare_to_go_on(self) -> Path | None:
        """Return the newest complete checkpoint and remove files that a resumed training does not
        need.

        Without a checkpoint, the model's folder is emptied.
        """
        whole, broken = checkpoints(self.model)
        for path in broken:
            shutil.rmtree(path)
        if not whole:
            shutil.rmtree(self.model, ignore_errors=True)
            return None
        self._trim_log(after=_step_of(whole[-1]))
        return whole[-1]

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a file atomically.

        Raises:
            OutputError: it cannot be written.
        """
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        try:
            with atomic_file(str(path)) as f:
                f.write(f"{text}\n".encode())
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: {error}; check permissions and space"
            ) from error

    def _remove_from(self, stage: str) -> None:
        """Remove the results of a stage and of those after it."""
        results = {
            "trajectories": (self.trajectories,),
            "export": (self.data, *self.out.glob("sft-*")),
            "train": (self.model,),
        }
        late = list(results)[list(results).index(stage) :]
        for path in (*(path for s in late for path in results[s]), self.cache):
            if path != self.shared_trajectories:
                shutil.rmtree(path, ignore_errors=True)
        for path in (self.run, self.log, self.config):
            path.unlink(missing_ok=True)

    def _trim_log(self, *, after: int) -> None:
        """Remove from LLaMA-Factory's log the steps that will be repeated."""
        path = self.model / "trainer_log.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["current_steps"] <= after:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written
        path.write_text("".join(kept), encoding="utf-8")

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be read: {error}; remove it and pass --overwrite to start over"
            ) from error
        if not isinstance(content, dict):
            raise OutputError(
                f"{path} is not a JSON object; remove it and pass --overwrite to start over"
            )
        return content


def _is_locked(f: IO[bytes]) -> bool:
    """Lock a file; return False if another process still holds the lock after a grace period."""
    if fcntl is None:
        return True
    end = time.monotonic() + _SECONDS_TO_END
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        else:
            return True


def checkpoints(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a training's checkpoints: the complete ones by step, and the others."""
    found = [p for p in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(p.name)]
    found = sorted((p for p in found if p.is_dir()), key=_step_of)
    whole = [path for path in found if _is_whole(path)]
    return whole, [path for path in found if path not in whole]


def relative_name(path: Path) -> str:
    """Return a path relative to the working folder if it is inside it, else unchanged."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the settings in which two trainings differ, one per line."""
    lines = []
    for part in dict.fromkeys([*now, *before]):
        old, new = before.get(part), now.get(part)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += [
                setting_change(f"{part} {key}", old.get(key), new.get(key))
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        elif old != new:
            lines.append(setting_change(part, old, new))
    return lines


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete: the trainer's state is written last."""
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        if state["global_step"] != _step_of(checkpoint):
            return False
        weights = list(checkpoint.glob("*.safetensors"))
        return bool(weights) and all(_is_as_long_as_it_says(path) for path in weights)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_as_long_as_it_says(path: Path) -> bool:
    """Compare a safetensors file's length with its header."""
    return path.stat().st_size == announced_size(path)
