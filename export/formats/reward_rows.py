"""Rows for reinforcement learning with TRL and verl: a state, the question, and reward columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hlmat.export.image_tables.features import IMAGE_TYPE, image_schema
from hlmat.export.image_tables.row_images import RowImages
from hlmat.export.llama_factory.options import LlamaFactoryOptions
from hlmat.export.llama_factory.samples import Case, shown_before
from hlmat.export.llama_factory.tasks.next_click import decision_turn, decisions
from hlmat.transforms.core.errors import DataError
from hlmat.transforms.core.records import Click
from hlmat.transforms.envs.state_columns import COLUMNS, state_columns
from hlmat.transforms.prompting.templates import IMAGE_MARK

_TEXT = pa.string()
_MESSAGES = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
_IMAGES = pa.list_(IMAGE_TYPE)
ABILITY = "mask_annotation"


@dataclass(frozen=True)
class RewardState:
    """A state before a click that a policy chose.

    Attributes:
        columns: what the rewards of `transforms.envs.rewards` read, as `state_columns` writes it.
        system: the system message; "" for none.
        question: with a mark in the place of the image.
        answer: the click taken, as a model's answer.
        step: index of the state.
        image: what the model is shown.
    """

    columns: dict[str, str]
    system: str
    question: str
    answer: str
    step: int
    image: Any


def reward_states(
    case: Case, images: RowImages, options: LlamaFactoryOptions
) -> Iterator[RewardState]:
    """Yield a target's states; only its first expression is asked about.

    Raises:
        TargetError: the image cannot be used.
        DataError: the trajectory begins with a box or a mask, which clicks alone cannot reproduce.
    """
    trajectory, turn_format = case.trajectory, options.seen_turn_format
    if trajectory.initial_mask is not None:
        raise DataError(
            f"{trajectory.target.ref.target_id} begins with a mask, but rewards replay clicks from "
            "an empty mask; make trajectories with --initial-action none"
        )
    clicks = [d for d in decisions(trajectory) if isinstance(d.action, Click)]
    for decision, columns in zip(clicks, state_columns(trajectory), strict=True):
        turn = decision_turn(trajectory, decision, turn_format)
        shown = shown_before(trajectory, decision.step).mask
        yield RewardState(
            columns=columns,
            system=turn_format.system,
            question=turn_format.question(columns["expression"]),
            answer=turn.answer or "",
            step=decision.step,
            image=images.state(trajectory.target, shown),
        )


@dataclass(frozen=True)
class TrlRows:
    """Rows for TRL: conversational `prompt`, `completion` and `images`, and reward columns.

    `GRPOTrainer` passes the reward columns to the reward functions; `SFTTrainer` learns
    `completion`. TRL places the image in the first user message itself.
    https://huggingface.co/docs/trl/dataset_formats
    """

    options: LlamaFactoryOptions

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        columns = [("prompt", _MESSAGES), ("completion", _MESSAGES), ("images", _IMAGES)]
        return image_schema(
            pa.field(name, kind) for name, kind in [*columns, *((c, _TEXT) for c in COLUMNS)]
        )

    def rows(self, case: Case, images: RowImages) -> Iterator[dict[str, Any]]:
        """Yield a row for each state; errors as `reward_states`."""
        for state in reward_states(case, images, self.options):
            question = state.question.replace(IMAGE_MARK, "").strip()
            yield {
                "prompt": _messages(state.system, question),
                "completion": [{"role": "assistant", "content": state.answer}],
                "images": [state.image],
                **state.columns,
            }


@dataclass(frozen=True)
class VerlRows:
    """Rows for verl: `data_source`, `prompt`, `images`, `ability`, `reward_model`, `extra_info`.

    `ground_truth` is the target's id: the rewards look the mask up.
    https://verl.readthedocs.io/en/latest/preparation/prepare_data.html
    """

    options: LlamaFactoryOptions

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        extra = [("split", _TEXT), ("index", pa.int64()), ("answer", _TEXT)]
        columns = {
            "data_source": _TEXT,
            "prompt": _MESSAGES,
            "images": _IMAGES,
            "ability": _TEXT,
            "reward_model": pa.struct([("style", _TEXT), ("ground_truth", _TEXT)]),
            "extra_info": pa.struct([*extra, *((name, _TEXT) for name in COLUMNS)]),
        }
        return image_schema(pa.field(name, kind) for name, kind in columns.items())

    def rows(self, case: Case, images: RowImages) -> Iterator[dict[str, Any]]:
        """Yield a row for each state; errors as `reward_states`."""
        ref = case.trajectory.target.ref
        for state in reward_states(case, images, self.options):
            yield {
                "data_source": ref.dataset,
                "prompt": _messages(state.system, state.question),
                "images": [state.image],
                "ability": ABILITY,
                "reward_model": {"style": "rule", "ground_truth": state.columns["target_id"]},
                "extra_info": {
                    "split": ref.split,
                    "index": state.step,
                    "answer": state.answer,
                    **state.columns,
                },
            }


def table_card(name: str, *, split: str, format: str) -> bytes:
    """Return README.md of a data set for a trainer: which files `datasets` reads, and what for."""
    files = f"data/{split}-*.parquet"
    configs = [{"config_name": "default", "data_files": [{"split": split, "path": files}]}]
    lines = [
        "---",
        # JSON is YAML.
        f"configs: {json.dumps(configs)}",
        "---",
        "",
        f"# {name}",
        "",
        f"States of an annotation run for {format}, made by `hlmat export --format {format}`;",
        f"`load_dataset(folder, split={split!r})` reads them.",
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _messages(system: str, question: str) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": question}]
