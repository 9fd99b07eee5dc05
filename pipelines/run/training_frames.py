"""Compare the coordinates that a model was trained with to those that it is prompted with."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hlmat.export.llama_factory.layout import EXPORT_RECORD
from hlmat.pipelines.run.leak_guard import TRAINING_RECORD
from hlmat.transforms.core.errors import ConfigError, DataError
from hlmat.transforms.core.url_storage import storage_for
from hlmat.transforms.policies.mllm import ModelPolicyOptions
from hlmat.transforms.prompting.frame import Frame, parse_frame


def refuse_other_frames(
    policy: object, *, model: str | None, trained_on: Sequence[str] = ()
) -> None:
    """Refuse to prompt a model in coordinates other than those that it was trained with.

    Args:
        policy: the policy of the rollouts; only a model's policy is checked.
        model: the model's folder; the record of its training data is read if there is one.
        trained_on: further folders that record its training data.

    Raises:
        ConfigError: they differ; states both sizes or codecs.
        DataError: a record is damaged.
    """
    if not isinstance(policy, ModelPolicyOptions):
        return
    conversation = policy.conversation
    turn_format = conversation.turn_format
    asked = Frame.of(turn_format.codec, conversation.view, dialogue=turn_format.dialogue.identity())
    sources = [*trained_on, *([model] if model is not None else [])]
    problems = []
    for source in sources:
        frame = recorded_frame(source)
        problem = None if frame is None else frame.mismatch(asked)
        if problem is not None:
            problems.append(f"{source}: the model was trained to answer in {problem}")
    if problems:
        raise ConfigError(problems)


def recorded_frame(source: str) -> Frame | None:
    """Return the frame that an export's or a model's folder records; None without a record.

    Raises:
        DataError: the record is damaged.
    """
    storage = storage_for(source)
    for name in (TRAINING_RECORD, EXPORT_RECORD):
        path = f"{source.rstrip('/')}/{name}"
        if not storage.is_file(path):
            continue
        try:
            record = json.loads(storage.read_bytes(path))
            # Records of earlier versions have no frame.
            return parse_frame(record["frame"]) if "frame" in record else None
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path} is not a record of training data ({error}); export the data set again"
            ) from error
    return None
