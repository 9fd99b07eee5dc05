"""ARCHITECTURE.md draws the tree and the layers as they are."""

from __future__ import annotations

import re
import tomllib

from repository import REPOSITORY

TEXT = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")


def drawn_packages() -> list[str]:
    """Return the folders of the drawn tree as paths, in the order of the drawing."""
    block = TEXT[TEXT.index("```\npipelines/") :].split("```")[1]
    parents: list[str] = []
    found = []
    for line in block.strip().splitlines():
        match = re.fullmatch(r"( *)(\w+)/ +\S.*", line)
        assert match, f"not a folder with a description: {line!r}"
        depth = len(match[1]) // 2
        parents[depth:] = [match[2]]
        found.append("/".join(parents))
    return found


def test_every_package_is_drawn_once_and_no_other() -> None:
    packages = {
        path.parent.relative_to(REPOSITORY).as_posix()
        for top in ("pipelines", "transforms", "export")
        for path in (REPOSITORY / top).rglob("__init__.py")
    }
    assert sorted(drawn_packages()) == sorted(packages)


def test_the_table_of_layers_is_the_one_that_the_checks_enforce() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    enforced = [
        {name.strip().removeprefix("hlmat.").removeprefix("transforms.") for name in names}
        for names in (re.split("[:|]", layer) for layer in contract["layers"])
    ]
    rows = re.findall(r"^\| (\d) \| (.*) \|$", TEXT, re.MULTILINE)
    assert [number for number, _ in rows] == [str(n) for n in range(len(enforced), 0, -1)]
    table = [
        {
            name.removeprefix("hlmat.").removeprefix("transforms.")
            for name in re.findall("`([^`]+)`", cells)
        }
        for _, cells in rows
    ]
    rest_of_pipelines = enforced[1]
    assert table[1] == {"pipelines"}
    assert {name.partition(".")[0] for name in rest_of_pipelines} == {"pipelines"}
    assert [*table[:1], *table[2:]] == [*enforced[:1], *enforced[2:]]
