"""A model is asked in the coordinates that it was trained in, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hlmat.export.llama_factory.layout import EXPORT_RECORD
from hlmat.pipelines.run.leak_guard import TRAINING_RECORD
from hlmat.pipelines.run.training_frames import recorded_frame, refuse_other_frames
from hlmat.pipelines.settings.commands import parse_command
from hlmat.pipelines.settings.evaluation_options import evaluation_config
from hlmat.transforms.core.errors import ConfigError, DataError

SERVER = "--server=http://127.0.0.1:1/v1"
FRAME = {
    "codec": "pixels",
    "order": "xy",
    "image_max_pixels": 200_704,
    "processor": {"factor": 28, "min_pixels": 3136, "max_pixels": 1003520},
}


def write_record(folder: Path, frame: object, *, name: str = TRAINING_RECORD) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"images": [], "frame": frame}))
    return str(folder)


def policy(*flags: str) -> Any:
    arguments = ["--policy=openai", SERVER, "--dataset=shapes", "--out=o", *flags]
    return evaluation_config(parse_command("evaluate", arguments)).run.policy


def test_another_codec_or_size_is_refused_with_both(tmp_path: Path) -> None:
    model = write_record(tmp_path / "model", FRAME)
    export = write_record(tmp_path / "sft", FRAME, name=EXPORT_RECORD)
    with pytest.raises(ConfigError) as caught:
        refuse_other_frames(policy(), model=model, trained_on=[export])
    assert caught.value.problems == tuple(
        f"{source}: the model was trained to answer in codec pixels in the order xy, but is asked "
        "in codec decimal in the order xy; give --codec pixels --order xy, or --recipe with the "
        "recipe of the training"
        for source in (export, model)
    )
    with pytest.raises(ConfigError, match=r"up to 448 x 448 .* shown images of up to 768 x 768"):
        refuse_other_frames(policy("--codec=pixels", "--processor=qwen2-vl"), model=model)


def test_the_frame_of_the_training_is_accepted(tmp_path: Path) -> None:
    model = write_record(tmp_path / "model", FRAME)
    asked = policy("--codec=pixels", "--processor=qwen2-vl", "--max-side=448")
    refuse_other_frames(asked, model=model)


def test_records_without_a_frame_and_other_policies_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / TRAINING_RECORD).write_text(json.dumps({"images": []}))
    assert recorded_frame(str(tmp_path)) is None
    assert recorded_frame(str(tmp_path / "nothing")) is None
    refuse_other_frames(policy(), model=str(tmp_path))
    damaged = write_record(tmp_path / "damaged", {"codec": 3})
    refuse_other_frames(object(), model=damaged)
    with pytest.raises(DataError, match="`frame` must name a `codec`"):
        refuse_other_frames(policy(), model=damaged)


@pytest.mark.parametrize("flag", ["--max-side=1000", "--max-pixels=1000000"])
def test_images_beyond_what_a_server_is_known_to_pass_on_are_refused(flag: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy("--codec=pixels", "--processor=qwen2-vl", flag)
    assert caught.value.problems == (
        "codec pixels: images of up to 1000 x 1000 (1000000 pixels) would be sent, but the server "
        "passes on images of up to 768 x 768 (589824 pixels) and may reduce larger ones, so that "
        "answers would be displaced; give --max-pixels 589824, or the server's own limit with "
        "--served-pixels",
    )
    wide = policy("--codec=pixels", "--processor=qwen2-vl", flag, "--served-pixels=1000000")
    assert wide.conversation.view.largest_area == 1_000_000


def test_the_limit_of_a_server_bounds_what_it_is_sent() -> None:
    small = policy("--codec=pixels", "--processor=qwen2-vl", "--served-pixels=200704")
    assert small.conversation.view.largest_area == 200_704
    assert policy("--served-pixels=200704").conversation.view.largest_area is None
