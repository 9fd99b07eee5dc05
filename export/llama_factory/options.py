"""Options of a LLaMA-Factory data set: conversation, images, samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import SkipValidation

from hlmat.export.llama_factory.sample_options import SampleOptions
from hlmat.transforms.core.options import options, setting
from hlmat.transforms.prompting.actions import TurnFormat
from hlmat.transforms.prompting.coordinates import build_codec
from hlmat.transforms.prompting.frame import Frame
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.templates import PromptTemplate, score_prompt


def _default_turn_format() -> TurnFormat:
    return TurnFormat(build_codec("decimal"))


@options
class LlamaFactoryOptions(SampleOptions):
    """How samples are made.

    Attributes:
        turn_format: question and answer: prompt, codec, mask colour, whether answers carry the
            score of the mask shown, whether `Finish` is among the actions. With `Finish`, a
            trajectory that ended because no click improved the mask gives a last sample with it.
        view: how states are drawn. If it shrinks images, relative coordinates stay the same; the
            codec `pixels` counts pixels of the shrunk image.
        box_prompt: the question for a target's box, with the plain image; None for no such samples.
        score_prompt: the question for the IoU of the mask shown and nothing else.

    Raises:
        OptionsError: with every problem at once.
    """

    turn_format: SkipValidation[TurnFormat] = setting(
        default_factory=_default_turn_format, help="question and answer"
    )
    view: SkipValidation[StateView] = setting(
        default_factory=StateView, help="how states are drawn"
    )
    box_prompt: SkipValidation[PromptTemplate | None] = setting(
        default=None, help="the question for a target's box"
    )
    score_prompt: SkipValidation[PromptTemplate] = setting(
        default_factory=score_prompt, help="the question for a score"
    )

    def conflicts(self) -> Iterator[str]:
        """Yield what is wrong with several values together."""
        yield from SampleOptions.conflicts(self)
        if self.turn_format.colour != self.view.colour:
            yield (
                f"the question names a {self.turn_format.colour} mask, the images show a "
                f"{self.view.colour} one; give both the same colour"
            )

    @property
    def frame(self) -> Frame:
        """At which size a model sees the images."""
        dialogue = self.turn_format.dialogue.identity()
        return Frame.of(self.turn_format.codec, self.view, dialogue=dialogue)

    @property
    def seen_turn_format(self) -> TurnFormat:
        """The turn format with the coordinates of the images that the model sees."""
        return replace(self.turn_format, codec=self.view.seen_through(self.turn_format.codec))
