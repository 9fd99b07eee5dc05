"""The dialogues by name. A dialogue is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from hlmat.transforms.core.errors import ConfigError
from hlmat.transforms.core.suggestions import did_you_mean
from hlmat.transforms.prompting.dialogues.protocol import Dialogue, Offer
from hlmat.transforms.prompting.templates import PromptTemplate

DEFAULT_DIALOGUE = "segagent"


@dataclass(frozen=True)
class DialogueEntry:
    """A dialogue that goes by name.

    Attributes:
        summary: one line for the help.
        place: `module:Class`, the module in this package.
    """

    summary: str
    place: str


DIALOGUES: Mapping[str, DialogueEntry] = {
    "segagent": DialogueEntry("a line such as Positive point: (0.5, 0.25)", "segagent:SegAgent"),
    "json-point": DialogueEntry(
        "a JSON list with a labelled point, as Qwen-VL writes them", "json_point:JsonPoint"
    ),
    "tools": DialogueEntry("calls of functions", "tools:Tools"),
    "think": DialogueEntry("reasoning, then a line as of segagent", "think:Think"),
    "ibis": DialogueEntry("reasoning and an action in tags, after IBISAgent", "ibis:Ibis"),
    "medsam-agent": DialogueEntry(
        "calls of functions, after MedSAM-Agent", "medsam_agent:MedSamAgent"
    ),
}
"""The built-in dialogues, by name."""


def load_dialogue(name: str) -> Dialogue:
    """Return a dialogue.

    Args:
        name: a key of `DIALOGUES`, or `FILE.py:Class` for one of the user's own.

    Raises:
        ConfigError: an unknown name, or a file without such a dialogue.
    """
    if ":" in name:
        from hlmat.transforms.prompting.dialogues.own_file import load_own_dialogue

        return load_own_dialogue(name)
    if name not in DIALOGUES:
        raise ConfigError(
            [
                f"--dialogue {name!r} is unknown; {did_you_mean(name, DIALOGUES)}choose from "
                f"{', '.join(DIALOGUES)}, or name a class of your own: FILE.py:Class"
            ]
        )
    module, _, attribute = DIALOGUES[name].place.partition(":")
    package = __name__.rpartition(".")[0]
    return getattr(import_module(f"{package}.{module}"), attribute)()


def prompt_of(dialogue: Dialogue, offer: Offer) -> PromptTemplate:
    """Return a dialogue's own question.

    Raises:
        ConfigError: it is not a valid template.
    """
    return PromptTemplate(dialogue.prompt(offer), source=f"the prompt of {dialogue.name}")
