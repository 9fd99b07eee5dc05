"""What rewards of a model's answers have in common: the doors of TRL and verl, targets by id.

A reward object is called as TRL's `GRPOTrainer` calls a reward function, and its method
`compute_score` as verl calls a custom one. Signatures after TRL's page "GRPO Trainer", section
"Using a custom reward function", and the code of TRL 0.24.0: prompts, completions and all columns
come as keyword arguments of equal length. And after verl's pages "Implement Reward Function for
Dataset" (of 2025-06-02) and "Reward Loop" (of 2025-10-21): each answer comes by itself, on some
thread, in newer versions with further arguments.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.protocols import Mask
from hlmat.transforms.core.records import Click
from hlmat.transforms.envs.actions import Reading, read_text
from hlmat.transforms.envs.settings import default_conversation
from hlmat.transforms.envs.state import TargetSource
from hlmat.transforms.envs.state_columns import read_clicks, read_mask
from hlmat.transforms.policies.dialogue_policy import Conversation


@dataclass(frozen=True, eq=False)
class Sample:
    """One answer of a model about one state.

    Attributes:
        source: the target.
        clicks: made before, oldest first.
        mask: the mask the model was shown, None for an empty one or where none was given.
        text: what the model wrote.
    """

    source: TargetSource
    clicks: tuple[Click, ...]
    mask: Mask | None
    text: str

    def check(self, size_hw: tuple[int, int]) -> None:
        """Hold the state against the image's size.

        Raises:
            DataError: a click outside the image, or a mask of another size.
        """
        height, width = size_hw
        target_id = self.source.ref.target_id
        for click in self.clicks:
            if click.x >= width or click.y >= height:
                raise DataError(
                    f"{target_id}: {click} lies outside the image of {width} x {height} pixels; "
                    "clicks are in the image's own pixels"
                )
        if self.mask is not None and self.mask.shape != size_hw:
            raise DataError(
                f"{target_id}: the mask is {self.mask.shape[1]} x {self.mask.shape[0]} pixels and "
                f"the image {width} x {height}; masks are in the image's own pixels"
            )


class AnswerReward(ABC):
    """Scores texts about states. Subclasses say what an answer is worth.

    A row names its state by the columns `target_id`, `clicks` and `mask`, as `state_columns` makes
    them; other columns are not read.

    Args:
        targets: those that rows may name.
        conversation: how texts are read; None takes decimal coordinates with `Finish`.
        invalid_reward: of a text that is not exactly one action.

    Raises:
        ConfigError: no targets, two of one id, or a reward that is no finite number.
    """

    # TRL logs a reward function by this.
    __name__ = "answer_reward"

    def __init__(
        self,
        targets: Iterable[TargetSource],
        *,
        conversation: Conversation | None = None,
        invalid_reward: float = -1.0,
    ) -> None:
        self._sources: dict[str, TargetSource] = {}
        problems = []
        for source in targets:
            if source.ref.target_id in self._sources:
                problems.append(
                    f"two targets have the id {source.ref.target_id!r}; a reward takes targets "
                    "of one data set and split, each once"
                )
            self._sources[source.ref.target_id] = source
        if not self._sources:
            problems.append("there are no targets; list_targets(reader) lists those of a data set")
        if not math.isfinite(invalid_reward):
            problems.append(f"invalid_reward must be a finite number, got {invalid_reward!r}")
        if problems:
            raise ConfigError(problems)
        self._conversation = conversation or default_conversation()
        self.invalid_reward = float(invalid_reward)
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Score a batch as TRL asks for it.

        Args:
            prompts: not read.
            completions: texts, or chats whose last message is the answer.
            columns: `target_id`, and `clicks` and `mask` where the data set has them, with one
                value per completion; others are not read.

        Raises:
            ConfigError: no column `target_id`, or a column of another length.
            DataError: a value that cannot be read, or a target that the reward was not given.
            TargetError: a target's files cannot be read.
            SegmenterError: the segmenter failed or broke its protocol.
        """
        target_ids = self._column("target_id", columns, count=len(completions))
        clicks = self._column("clicks", columns, count=len(completions))
        masks = self._column("mask", columns, count=len(completions))
        samples = [
            self._sample(text_of(completion), target_id=target_id, clicks=so_far, mask=mask)
            for completion, target_id, so_far, mask in zip(
                completions, target_ids, clicks, masks, strict=True
            )
        ]
        with self._lock:
            return self._scores(samples)

    def compute_score(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: str,
        extra_info: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> float:
        """Score one answer as verl asks for it; several threads may do so.

        Args:
            data_source: not read.
            solution_str: the model's text.
            ground_truth: the target's id.
            extra_info: `clicks` and `mask` of the state; None before the first click.
            others: not read.

        Raises:
            DataError: a value that cannot be read, or a target that the reward was not given.
            TargetError: the target's files cannot be read.
            SegmenterError: the segmenter failed or broke its protocol.
        """
        info = extra_info or {}
        sample = self._sample(
            solution_str, target_id=ground_truth, clicks=info.get("clicks"), mask=info.get("mask")
        )
        with self._lock:
            return self._scores([sample])[0]

    def read(self, sample: Sample, *, size_hw: tuple[int, int]) -> Reading:
        """Return what a sample's text means on an image of (height, width)."""
        return read_text(sample.text, conversation=self._conversation, size_hw=size_hw)

    @abstractmethod
    def _scores(self, samples: Sequence[Sample]) -> list[float]:
        """Return one reward per sample, in order; called by one thread at a time."""

    def _column(self, name: str, columns: Mapping[str, Any], *, count: int) -> Sequence[Any]:
        values = columns.get(name)
        if values is None:
            if name == "target_id":
                seen = ", ".join(columns) or "none"
                raise ConfigError([f"{self.__name__} needs the column target_id, got {seen}"])
            return [None] * count
        if len(values) != count:
            raise ConfigError(
                [f"{self.__name__}: column {name} has {len(values)} values, expected {count}"]
            )
        return values

    def _sample(self, text: str, *, target_id: Any, clicks: Any, mask: Any) -> Sample:
        source = self._sources.get(target_id) if isinstance(target_id, str) else None
        if source is None:
            raise DataError(
                f"target {target_id!r} is not among the {len(self._sources)} of {self.__name__}; "
                "give it those that the rows were made from"
            )
        return Sample(source, read_clicks(clicks), read_mask(mask), text)


def text_of(completion: Any) -> str:
    """Return a completion's text: its own, or that of a chat's last message.

    A message's content is a text or a list of parts, of which those with a `text` are joined.

    Raises:
        DataError: neither a text nor a chat.

    >>> text_of([{"role": "assistant", "content": "Finish"}])
    'Finish'
    """
    match completion:
        case str():
            return completion
        case [*_, {"content": str(text)}]:
            return text
        case [*_, {"content": [*parts]}]:
            return "".join(str(part["text"]) for part in parts if "text" in part)
    raise DataError(
        'a completion must be a text or a list of messages {"role": ..., "content": ...}, '
        f"got {completion!r}"
    )
