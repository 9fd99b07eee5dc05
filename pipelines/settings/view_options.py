"""The flags of `hlmat view`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from hlmat.export.llama_factory.sample_options import SampleOptions
from hlmat.export.llama_factory.tasks.registry import training_task
from hlmat.pipelines.settings.evaluation_options import EvaluationOptions
from hlmat.pipelines.settings.export_options import ExportOptions
from hlmat.pipelines.settings.flags import Flag, Group
from hlmat.pipelines.settings.prompt_options import CONVERSATION, read_conversation
from hlmat.pipelines.settings.validation import Check
from hlmat.pipelines.settings.values import Values
from hlmat.transforms.core.options import options, setting

if TYPE_CHECKING:
    from hlmat.export.view.details import TrainingView


@options
class ViewOptions:
    """What `hlmat view` shows, and how."""

    run_folder: str = setting(metavar="OUT", help="output folder of a finished run or an export")
    against: str | None = setting(
        default=None, metavar="OUT", help="another run over the same targets, to show side by side"
    )
    save: str | None = setting(
        default=None, metavar="DIR", help="write the page as a folder instead of serving it"
    )
    data_root: str | None = setting(default=None, metavar="DIR", help="where the data set is now")
    max_side: int | None = setting(
        default=2048, ge=64, metavar="PX", help="reduce larger images to this side"
    )
    rendered: bool = setting(
        default=False,
        help="with --save: also write each training image as the model sees it; without, the page "
        "draws them itself",
    )
    port: int = setting(
        default=0, ge=0, le=65535, metavar="N", help="port on 127.0.0.1; 0 takes a free one"
    )
    browser: bool = setting(default=True, help="open the page in a browser")


VIEW = (
    Group(
        "page",
        (
            Flag("OUT", ViewOptions, "run_folder", dest="run_folder", is_positional=True),
            Flag("against", ViewOptions),
            Flag("save", ViewOptions),
            Flag("data-root", ViewOptions),
            Flag("page-max-side", ViewOptions, "max_side"),
            Flag("rendered", ViewOptions),
        ),
    ),
    Group("server", (Flag("port", ViewOptions), Flag("browser", ViewOptions))),
    Group(
        "training rows",
        (
            Flag("recipe", EvaluationOptions),
            Flag("task", ExportOptions, help="whose rows are shown, as in hlmat export"),
        ),
    ),
    CONVERSATION,
)


def view_options(arguments: argparse.Namespace) -> tuple[ViewOptions, TrainingView]:
    """Validate the arguments of `hlmat view`.

    Raises:
        ConfigError: with every problem found.
    """
    check = Check()
    values = Values(arguments, VIEW, check)
    values.read_given()
    asked = values.build(ViewOptions)
    if asked.save is not None and "://" in asked.save:
        check.note(f"--save {asked.save}: the page goes to the local disk; give a local folder")
    if asked.save is None and asked.rendered:
        check.note("--rendered belongs to --save: a served page always shows them; leave it out")
    if asked.save is not None and values.is_given("port"):
        check.note("--port belongs to the server, which --save does without; leave one of them out")
    if asked.against == asked.run_folder:
        check.note(f"--against {asked.against}: this is the same run; give another one")
    task = check.built(lambda: training_task(values.get("task")))
    # Reports all problems so far before drawing code is imported.
    conversation = read_conversation(values, check)
    from hlmat.export.llama_factory.options import LlamaFactoryOptions
    from hlmat.export.view.details import TrainingView

    assert task is not None
    options = LlamaFactoryOptions(
        **asdict(SampleOptions()), turn_format=conversation.turn_format, view=conversation.view
    )
    return asked, TrainingView(task, options)
