"""`from hlmat import ...`: every name resolves, has a tested example, and is documented."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hlmat
from repository import REPOSITORY

NAMES = sorted(dir(hlmat))


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import hlmat, sys; heavy = {'numpy', 'cv2', 'PIL', 'pyarrow', 'torch', 'apache_beam'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example(name: str):
    assert ">>>" in (inspect.getdoc(getattr(hlmat, name)) or "")


@pytest.mark.parametrize("module", sorted({getattr(hlmat, name).__module__ for name in NAMES}))
def test_the_examples_are_right(module: str):
    results = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert results.attempted > 0
    assert results.failed == 0


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="open_datset"):
        getattr(hlmat, "open_datset")  # noqa: B009


def test_the_reference_lists_every_name_with_its_first_sentence():
    document = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", document, re.MULTILINE))
    assert listed == {
        name: first_sentence(getattr(hlmat, name)).replace("|", "\\|") for name in NAMES
    }


def first_sentence(thing: object) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


@pytest.mark.slow
def test_types_reach_the_user(tmp_path: Path):
    (tmp_path / "typed.py").write_text(
        "import hlmat\nimport numpy as np\n"
        "target = hlmat.build_target(np.ones((2, 3), dtype=bool))\n"
        "reveal_type(hlmat.roll_out)\n"
        "target.no_such_attribute\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "typed.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "-> Trajectory" in done.stdout
    assert 'Cannot access attribute "no_such_attribute" for class "Target"' in done.stdout
    assert "1 error" in done.stdout


TRUTH = np.zeros((6, 8), dtype=np.bool_)
TRUTH[2:4, 2:6] = True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"truth": np.zeros((2, 2), dtype=bool)}, "the ground truth is empty"),
        ({"truth": np.ones((2, 2), dtype=np.uint8)}, "masks must be bool of one shape"),
        ({"truth": TRUTH, "ignore": TRUTH[:2]}, "masks must be bool of one shape"),
        ({"truth": TRUTH, "expressions": [" "]}, "expressions must be at least one text"),
        ({"truth": TRUTH, "expressions": []}, "expressions must be at least one text"),
    ],
)
def test_a_target_needs_an_object_and_a_name(arguments: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        hlmat.build_target(**arguments)  # pyright: ignore[reportArgumentType]


def test_an_image_of_another_size_is_refused():
    segmenter = hlmat.load_segmenter("hlmat.transforms.segmenters.disc:DiscSegmenter")
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(6, 8, 3\), got uint8 \(8, 6"):
        hlmat.roll_out(
            hlmat.build_target(TRUTH), np.zeros((8, 6, 3), np.uint8), segmenter=segmenter
        )


def test_a_listed_reject_is_not_a_target():
    reader = hlmat.open_dataset("shapes")
    ref = next(iter(reader.read_targets()))
    assert isinstance(ref, hlmat.TargetRef)
    reject = hlmat.Reject(ref, "empty_mask", "no pixel")  # pyright: ignore[reportArgumentType]
    with pytest.raises(hlmat.DataError, match=r"was rejected \(empty_mask\): no pixel"):
        importlib.import_module("hlmat.api").load_target(reader, reject)
