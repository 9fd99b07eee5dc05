"""The classes of PASCAL VOC: names and colours."""

from __future__ import annotations

from hlmat.transforms.readers.class_names import ClassNames

VOC_CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa"),
    *("train", "tv monitor"),
)
"""By value, in the order of the development kit."""
VOC_VOID = "255,#E0E0C0"
"""As an index, and as its colour in the palette."""


def voc_colour(index: int) -> int:
    """Return the colour that VOC's palette has for an index, as 0xRRGGBB.

    The bits of the index go to red, green and blue in turn, highest bit first, as the
    development kit's `VOClabelcolormap` does.

    >>> [f"{voc_colour(index):06X}" for index in (0, 1, 8, 15, 255)]
    ['000000', '800000', '400000', 'C08080', 'E0E0C0']
    """
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    red, green, blue = channels
    return red << 16 | green << 8 | blue


def voc_class_names() -> ClassNames:
    """Return the names by index and by colour."""
    return ClassNames(
        dict(enumerate(VOC_CLASSES)),
        {voc_colour(index): name for index, name in enumerate(VOC_CLASSES)},
    )
