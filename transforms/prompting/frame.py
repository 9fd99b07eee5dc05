"""The frame of coordinates: at which size a model sees the images that its answers point into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hlmat.transforms.prompting.coordinates import CoordinateCodec
from hlmat.transforms.prompting.dialogues.registry import DEFAULT_DIALOGUE
from hlmat.transforms.prompting.options import square
from hlmat.transforms.prompting.rendering import StateView
from hlmat.transforms.prompting.resizes import SmartResize

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Frame:
    """What has to be the same where a model is trained and where it is asked.

    Attributes:
        codec: its name.
        order: whether x or the row is written first.
        image_max_pixels: the largest area of an image that is written or sent; None without a
            bound.
        processor: the limits of the model's processor (`factor`, `min_pixels`, `max_pixels`);
            `UNKNOWN` if images are taken as the model sees them.
        dialogue: identity of the form of answers.
    """

    codec: str
    order: str
    image_max_pixels: int | None
    processor: Mapping[str, int] | str
    dialogue: str = DEFAULT_DIALOGUE

    @classmethod
    def of(
        cls, codec: CoordinateCodec, view: StateView, *, dialogue: str = DEFAULT_DIALOGUE
    ) -> Frame:
        """Return the frame of images drawn by a view, in a codec's coordinates."""
        resize = codec.resize
        limits = UNKNOWN
        if isinstance(resize, SmartResize):
            limits = {
                "factor": resize.factor,
                "min_pixels": resize.min_pixels,
                "max_pixels": resize.max_pixels,
            }
        return cls(codec.name, codec.order, view.largest_area, limits, dialogue)

    def record(self) -> dict[str, Any]:
        """Return the frame as plain JSON."""
        processor = self.processor if isinstance(self.processor, str) else dict(self.processor)
        return {
            "codec": self.codec,
            "order": self.order,
            "image_max_pixels": self.image_max_pixels,
            "processor": processor,
            # Left out where it is as before, so that earlier exports keep their bytes.
            **({} if self.dialogue == DEFAULT_DIALOGUE else {"dialogue": self.dialogue}),
        }

    def mismatch(self, asked: Frame) -> str | None:
        """Return how the frame in which a model is asked differs from this one, of its training.

        None if each answer means the same pixel in both. Sizes matter to the codec `pixels` alone.
        """
        if self.dialogue != asked.dialogue:
            return (
                f"the dialogue {self.dialogue}, but is asked in the dialogue {asked.dialogue}; "
                f"give --dialogue {self.dialogue}, or --recipe with the recipe of the training"
            )
        if (self.codec, self.order) != (asked.codec, asked.order):
            return (
                f"codec {self.codec} in the order {self.order}, but is asked in codec "
                f"{asked.codec} in the order {asked.order}; give --codec {self.codec} --order "
                f"{self.order}, or --recipe with the recipe of the training"
            )
        if self.codec != "pixels":
            return None
        if self.processor != asked.processor:
            return (
                f"pixels of images that the processor resizes by {_limits(self.processor)}, but "
                f"is asked in pixels of images resized by {_limits(asked.processor)}; give "
                "--processor as in the training, or its --recipe"
            )
        if self.image_max_pixels is not None and (
            asked.image_max_pixels is None or asked.image_max_pixels > self.image_max_pixels
        ):
            return (
                f"pixels of images of {square(self.image_max_pixels)}, but is shown images of "
                f"{square(asked.image_max_pixels)}; give --max-pixels {self.image_max_pixels}"
            )
        return None


def parse_frame(content: Any) -> Frame:
    """Return a frame from its record.

    Raises:
        ValueError: not a record of a frame.
    """
    if not isinstance(content, Mapping):
        raise ValueError("`frame` must be an object")
    codec, order = content.get("codec"), content.get("order")
    area, processor = content.get("image_max_pixels"), content.get("processor")
    if not isinstance(codec, str) or not isinstance(order, str):
        raise ValueError("`frame` must name a `codec` and an `order`")
    if area is not None and not _is_count(area):
        raise ValueError("`image_max_pixels` must be a whole number or null")
    if processor != UNKNOWN and not (
        isinstance(processor, Mapping) and all(_is_count(value) for value in processor.values())
    ):
        raise ValueError(f"`processor` must hold whole numbers or be {UNKNOWN!r}")
    dialogue = content.get("dialogue", DEFAULT_DIALOGUE)
    if not isinstance(dialogue, str):
        raise ValueError("`dialogue` must be a name")
    return Frame(codec, order, area, processor, dialogue)


def _limits(processor: Mapping[str, int] | str) -> str:
    if isinstance(processor, str):
        return "an unknown rule"
    return (
        f"multiples of {processor.get('factor')}, {processor.get('min_pixels')} to "
        f"{processor.get('max_pixels')} pixels"
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
