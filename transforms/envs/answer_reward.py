"""Base class of rewards for a model's answers: the interfaces of TRL and verl, targets by id.

A reward object has the call signature of a reward function of TRL's `GRPOTrainer`, and its method
`compute_score` that of a custom one in verl. Signatures follow TRL's page "GRPO Trainer", section
"Using a custom reward function", and the code of TRL 0.24.0: prompts, completions and all columns
are keyword arguments of equal length. They also follow verl's pages "Implement Reward Function for
Dataset" (2025-06-02) and "Reward Loop" (2025-10-21): each answer is rewarded on its own, on any
thread; newer versions pass further arguments.
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
from hlmat.transforms.policies.model_policy import Conversation


@dataclass(frozen=True, eq=False)
class Sample:
    """One answer of a model about one state.

    Attributes:
        source: the target.
        clicks: made before the answer, oldest first, in pixels of the image.
        mask: bool, the mask the model was shown; None if empty or not given. Shape: (H, W).
        text: what the model wrote.
    """

    source: TargetSource
    clicks: tuple[Click, ...]
    mask: Mask | None
    text: str

    def check(self, size_hw: tuple[int, int]) -> None:
        """Check that clicks and mask fit an image of (height, width).

        Raises:
            DataError: a click outside the image, or a mask of another size.
        """
        height, width = size_hw
        target_id = self.source.ref.target_id
        for click in self.clicks:
            if click.x >= width or click.y >= height:
                raise DataError(
                    f"{target_id}: {click} is outside the image of {width} x {height} pixels; "
                    "give clicks in pixels of the original image"
                )
        if self.mask is not None and self.mask.shape != size_hw:
            raise DataError(
                f"{target_id}: the mask is {self.mask.shape[1]} x {self.mask.shape[0]} pixels, "
                f"expected the image's {width} x {height}; give masks of the original image's size"
            )


class AnswerReward(ABC):
    """Reward a model's texts about states; subclasses define the reward.

    A row describes its state in the columns `target_id`, `clicks` and `mask`, as `state_columns`
    writes them; other columns are ignored.

    Args:
        targets: all targets that rows refer to.
        conversation: parses texts; None uses decimal coordinates with `Finish`.
        invalid_reward: reward of a text that is not exactly one action.

    Raises:
        ConfigError: no targets, two targets with one id, or a reward that is not finite.
    """

    # TRL logs a reward function under this name.
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
                    f"target {source.ref.target_id!r} occurs twice; pass targets of one data set "
                    "and split, each once"
                )
            self._sources[source.ref.target_id] = source
        if not self._sources:
            problems.append("targets is empty; list those of a data set with list_targets(reader)")
        if not math.isfinite(invalid_reward):
            problems.append(f"invalid_reward {invalid_reward!r}: must be finite")
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
        """Score a batch of completions, with the signature that TRL expects.

        Args:
            prompts: ignored.
            completions: texts, or chats whose last message is the answer.
            columns: `target_id` and, if the data set has them, `clicks` and `mask`, with one value
                per completion; others are ignored.

        Returns:
            One reward per completion, in order.

        Raises:
            ConfigError: no column `target_id`, or a column of another length.
            DataError: a value that cannot be read, or an unknown target.
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
            return self._rewards(samples)

    def compute_score(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: str,
        extra_info: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> float:
        """Score one answer, with the signature that verl expects; safe to call from threads.

        Args:
            data_source: ignored.
            solution_str: the model's text.
            ground_truth: the target's id.
            extra_info: `clicks` and `mask` of the state; None before the first click.
            others: ignored.

        Raises:
            DataError: a value that cannot be read, or an unknown target.
            TargetError: the target's files cannot be read.
            SegmenterError: the segmenter failed or broke its protocol.
        """
        info = extra_info or {}
        sample = self._sample(
            solution_str, target_id=ground_truth, clicks=info.get("clicks"), mask=info.get("mask")
        )
        with self._lock:
            return self._rewards([sample])[0]

    def read(self, sample: Sample, *, size_hw: tuple[int, int]) -> Reading:
        """Parse a sample's text for an image of (height, width); never raises."""
        return read_text(sample.text, conversation=self._conversation, size_hw=size_hw)

    @abstractmethod
    def _rewards(self, samples: Sequence[Sample]) -> list[float]:
        """Return one reward per sample, in order; called by one thread at a time."""

    def _column(self, name: str, columns: Mapping[str, Any], *, count: int) -> Sequence[Any]:
        values = columns.get(name)
        if values is None:
            if name == "target_id":
                seen = ", ".join(columns) or "none"
                raise ConfigError([f"{self.__name__}: column target_id is missing, got {seen}"])
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
                f"{self.__name__}: target {target_id!r} is not among its {len(self._sources)} "
                "targets; pass the targets that the rows were made from"
            )
        return Sample(source, read_clicks(clicks), read_mask(mask), text)


def text_of(completion: Any) -> str:
    """Return the text of a completion, or of the last message of a chat.

    If the message's content is a list of parts, the parts with a `text` are joined.

    Raises:
        DataError: neither text nor chat.

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
        f"completion {completion!r}: expected text or a list of messages "
        '{"role": ..., "content": ...}'
    )
