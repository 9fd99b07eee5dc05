"""Expressions from file names, for data sets without other text."""

from __future__ import annotations

import re

SALIENT_OBJECT = "the salient object"
"""The expression if file names do not contain a class."""
MAIN_OBJECT = "the main object"
"""The same for interactive benchmarks."""

_CAMEL_CASE_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_DIS5K_FIELDS = 5
_DIS5K_CLASS = 3


def salient_object(stem: str) -> str:
    """Return the text for ECSSD, DUTS, MSRA-10K and HRSOD, whose file names say nothing."""
    return SALIENT_OBJECT


def main_object(stem: str) -> str:
    """Return the text for GrabCut, Berkeley and DAVIS, whose file names say nothing."""
    return MAIN_OBJECT


def dis5k_text(stem: str) -> str:
    """Return the class in ``group#Group#class#Class#rest``, split at CamelCase.

    >>> dis5k_text("17#Non-motor Vehicle#4#BabyCarriage#123_o"), dis5k_text("7#E#8#TV#1_o")
    ('baby carriage', 'TV')
    """
    fields = stem.split("#")
    if len(fields) < _DIS5K_FIELDS:
        return SALIENT_OBJECT
    words = _CAMEL_CASE_WORD.findall(fields[_DIS5K_CLASS])
    spoken = [w if w.isupper() and len(w) > 1 else w.lower() for w in words]
    return " ".join(spoken) or SALIENT_OBJECT


def thinobject5k_text(stem: str) -> str:
    """Return the part before ``_PNG``.

    >>> thinobject5k_text("air_pump_PNG13a"), thinobject5k_text("shower_PNG37 - Copy")
    ('air pump', 'shower')
    """
    return _spaced(stem.partition("_PNG")[0])


def fss1000_text(stem: str) -> str:
    """Return the class in a flat name ``class_n`` or a path ``class/n``.

    >>> fss1000_text("abe's_flyingfish_10"), fss1000_text("bus/3")
    ("abe's flyingfish", 'bus')
    """
    folder, slash, _ = stem.rpartition("/")
    name = folder.rpartition("/")[2] if slash else re.sub(r"_[0-9]{1,2}$", "", stem)
    return _spaced(name)


def coift_text(stem: str) -> str:
    """Return the slug before the image's number.

    >>> coift_text("blue-heron-734828_640"), coift_text("butterfly-747772_640_42")
    ('blue heron', 'butterfly')
    """
    return _spaced(re.sub(r"-[0-9]+_640(_[0-9]+)?$", "", stem))


def coco_mval_text(stem: str) -> str:
    """Return the class in ``class05_000000012345``.

    >>> coco_mval_text("dining table05_000000419312")
    'dining table'
    """
    return _spaced(re.sub(r"[0-9]{2}_[0-9]{12}$", "", stem))


def _spaced(name: str) -> str:
    return " ".join(re.split(r"[_\-\s]+", name.strip("_- "))) or SALIENT_OBJECT
