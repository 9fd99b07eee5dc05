"""The policies that ask a model, and where their answers come from.

A backend is imported only when its answers are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hlmat.transforms.policies.backends.options import (
    AnswererOptions,
    CheckpointOptions,
    ReplayOptions,
    ServerOptions,
)
from hlmat.transforms.prompting.dialogues.registry import DEFAULT_DIALOGUE

if TYPE_CHECKING:
    from hlmat.transforms.core.questions import Answerer
    from hlmat.transforms.policies.model_policy import Conversation, ModelPolicy

MODEL_POLICIES: Mapping[str, str] = {
    "mllm": "a transformers checkpoint in this process",
    "openai": "a model behind an OpenAI-compatible server",
    "replay": "recorded answers, read again",
}
"""One line about each policy, by name."""


@dataclass(frozen=True)
class ModelPolicyOptions:
    """Settings of a model's policy; calling them loads the model or connects to the server.

    Attributes:
        name: a key of `MODEL_POLICIES`.
        conversation: how states become questions and texts become actions.
        answerer: where the answers come from.
        draws_boxes: whether every trajectory begins with a box from the model.
    """

    name: str
    conversation: Conversation
    answerer: AnswererOptions
    draws_boxes: bool = False

    def __call__(self) -> ModelPolicy:
        """Load the model, reach the server, or read the record.

        Raises:
            ConfigError: the model, server or record is missing or does not fit.
            DataError: a damaged record.
        """
        from hlmat.transforms.policies.model_policy import ModelPolicy, check_frame

        answerer = load_answerer(self.answerer)
        check_frame(self.conversation, answerer)
        return ModelPolicy(
            name=self.name,
            conversation=self.conversation,
            answerer=answerer,
            draws_boxes=self.draws_boxes,
        )

    def identity(self) -> dict[str, Any]:
        """Return what determines the answers, as plain JSON values; loads the model to find out."""
        conversation = self.conversation
        turn_format = conversation.turn_format
        codec = turn_format.codec
        dialogue = turn_format.dialogue.identity()
        return {
            "answers": dict(load_answerer(self.answerer).identity()),
            "codec": codec.identity(),
            "resize": repr(codec.resize) if codec.name == "pixels" else None,
            "prompt": turn_format.prompt.text,
            "box_prompt": conversation.box_prompt.text if self.draws_boxes else None,
            "with_score": turn_format.with_score,
            "with_finish": turn_format.with_finish,
            "view": asdict(conversation.view),
            # Omitted if they are the defaults, so that finished runs keep their fingerprints.
            **({} if dialogue == DEFAULT_DIALOGUE else {"dialogue": dialogue}),
            **({"with_no_object": True} if turn_format.with_no_object else {}),
            **({"with_undo": True} if turn_format.with_undo else {}),
            **({"with_box": True} if turn_format.with_box else {}),
        }


def load_answerer(options: AnswererOptions) -> Answerer:
    """Load a model, reach a server, or read recorded answers."""
    match options:
        case CheckpointOptions():
            from hlmat.transforms.policies.backends.checkpoint.generate import (
                load_checkpoint_answerer,
            )

            return load_checkpoint_answerer(options)
        case ServerOptions():
            from hlmat.transforms.policies.backends.openai_server import connect

            return connect(options)
        case ReplayOptions():
            from hlmat.transforms.policies.backends.replay import load_replay

            return load_replay(options.path)
