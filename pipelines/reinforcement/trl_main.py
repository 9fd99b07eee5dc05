"""The process that TRL trains in: `python -m hlmat.pipelines.reinforcement.trl_main JOB`.

It has an environment of its own, because TRL needs newer versions of packages than LLaMA-Factory
allows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from hlmat.export.reports.rl_report import render_rl, rl_chart
from hlmat.pipelines.reinforcement.places import CURVE, LOG, STRIPS, TABLE, read_log
from hlmat.pipelines.run.leak_guard import TRAINING_RECORD, add_images
from hlmat.pipelines.settings.flags import flags_in
from hlmat.pipelines.settings.rl_options import RL, RlConfig, rl_config
from hlmat.pipelines.training.llamafactory_main import end_with_parent
from hlmat.transforms.core.atomic_files import atomic_file
from hlmat.transforms.core.errors import ConfigError, DataError, HlmatError
from hlmat.transforms.core.image_digest import image_digest
from hlmat.transforms.core.image_identity import KnownImage, image_key
from hlmat.transforms.core.protocols import DatasetReader
from hlmat.transforms.core.records import TargetRef
from hlmat.transforms.core.threads import Threads
from hlmat.transforms.dataset_io.expression_choice import one_item_per_expression
from hlmat.transforms.dataset_io.work_units import select_items
from hlmat.transforms.policies.backends.checkpoint.files import find_checkpoint
from hlmat.transforms.policies.backends.checkpoint.loading import load_checkpoint
from hlmat.transforms.policies.model_policy import check_frame
from hlmat.transforms.prompting.frame import Frame
from hlmat.transforms.prompting.strips import image_strip
from hlmat.transforms.readers.registry import open_reader
from hlmat.transforms.reinforcement.recording import RecordingAnswerer
from hlmat.transforms.reinforcement.rollouts import GroupRollouts, Round, choose_targets
from hlmat.transforms.segmenters.registry import load_segmenter
from hlmat.transforms.torch_support.torchvision import ensure_importable

_OF_THE_START = ("tokenizer", "processor_config", "preprocessor_config", "chat_template")
_OF_THE_START += ("vocab", "merges", "special_tokens_map", "added_tokens", "generation_config")


def main(path: str) -> None:
    """Train by the job in a file, and save the model.

    Raises:
        HlmatError: settings, model, data or output are wrong.
    """
    end_with_parent()
    ensure_importable()
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    unset = {flag.dest: None for flag in flags_in(RL).values()}
    config = rl_config(argparse.Namespace(**{**unset, **job["arguments"]}))
    out = Path(config.out)
    reader, refs = list_refs(config)
    files = find_checkpoint(config.start)
    checkpoint = load_checkpoint(files, device=config.answers.device, dtype=config.grpo.dtype)
    answerer = RecordingAnswerer(config.answers, files=files, checkpoint=checkpoint)
    check_frame(config.conversation, answerer)
    roll_out = GroupRollouts(
        refs=refs,
        reader=reader,
        segmenter=load_segmenter(config.segmenter, threads=Threads(1)),
        conversation=config.conversation,
        answerer=answerer,
        limits=config.limits,
        grpo=config.grpo,
        rewards=config.rewards,
        seed=config.seed,
    )
    from hlmat.transforms.reinforcement.trainer import build_trainer

    trainer = build_trainer(
        roll_out,
        checkpoint=checkpoint,
        grpo=config.grpo,
        output_dir=out / "model",
        max_new_tokens=config.answers.max_new_tokens,
        seed=config.seed,
        noted=lambda steps, figures: _note(out, steps, figures, config),
        made=lambda number, made: _draw(out, number, made, config, reader),
    )
    trainer.train(resume_from_checkpoint=job["checkpoint"])
    images = _used_images(config, reader, refs)
    turn_format, view = config.conversation.turn_format, config.conversation.view
    dialogue = turn_format.dialogue.identity()
    frame = Frame.of(turn_format.codec, view, dialogue=dialogue).record()
    _save(trainer, out / "model", start=files.model, images=images, frame=frame)


def list_refs(config: RlConfig) -> tuple[DatasetReader, list[TargetRef]]:
    """Return the reader of the data set, and its targets with one expression each.

    Raises:
        DataError: the data set cannot be read, or has no target.
    """
    reader = open_reader(config.dataset, config.reader)
    items = select_items(reader.read_targets(), partition=None, limit=config.limit)
    chosen = one_item_per_expression(items, config.expressions, seed=config.seed)
    refs = [item for item in chosen if isinstance(item, TargetRef)]
    if not refs:
        raise DataError(
            f"{config.dataset} has no target to roll out ({reader.describe_layout()}); check "
            "--split and --data-root"
        )
    return reader, refs


def _note(out: Path, steps: int, figures: dict[str, float], config: RlConfig) -> None:
    """Add a round to the log; draw the curve now and then."""
    line = {"current_steps": steps, **{n: _rounded(v) for n, v in figures.items()}}
    path = out / "model" / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")
    number = int(figures["round"])
    shown = ("reward", "iou", "clicks", "finished", "kl", "seconds")
    values = "  ".join(f"{name} {figures[name]:.3f}" for name in shown if name in figures)
    sys.stdout.write(f"round {number}/{config.grpo.rounds}  {values}\n")
    if number % config.grpo.save_every == 0 or number == config.grpo.rounds:
        lines = read_log(path)
        for name, content in ((CURVE, rl_chart(lines)), (TABLE, render_rl(lines).encode())):
            with atomic_file(str(out / name)) as f:
                f.write(content)


def _draw(out: Path, number: int, made: Round, config: RlConfig, reader: DatasetReader) -> None:
    """Draw the first rollout of some targets, in the rounds after which a checkpoint is written."""
    is_last = number + 1 == config.grpo.rounds
    if number and (number + 1) % config.grpo.save_every and not is_last:
        return
    first = {rollout.group: rollout for rollout in reversed(made.rollouts)}
    for group, rollout in sorted(first.items())[: config.grpo.strips]:
        trajectory = rollout.trajectory
        target = trajectory.target
        image = reader.load_image(target.ref.image_path, size_hw=target.size_hw)
        strip = image_strip(image, trajectory, colour=config.conversation.view.colour)
        encoded, data = cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
        assert encoded
        name = "".join(c if c.isalnum() or c in "-_" else "-" for c in group)
        path = out / STRIPS / f"round-{number + 1:04d}" / f"{name}.png"
        with atomic_file(str(path)) as f:
            f.write(data.tobytes())


def _used_images(
    config: RlConfig, reader: DatasetReader, refs: Sequence[TargetRef]
) -> list[KnownImage]:
    """Return the images of all rounds, for the leak guard."""
    used = {
        index
        for number in range(config.grpo.rounds)
        for index in choose_targets(
            number, targets=len(refs), count=config.grpo.targets, seed=config.seed
        )
    }
    by_path = {refs[index].image_path: refs[index] for index in used}
    shapes = config.shapes_settings()
    images = []
    for path, ref in sorted(by_path.items()):
        size = reader.load_truth(ref).truth.shape
        digest = image_digest(reader.load_image(path, size_hw=(size[0], size[1])))
        images.append(KnownImage(image_key(ref, shapes=shapes), digest))
    return images


def _save(
    trainer: Any,
    folder: Path,
    *,
    start: Path,
    images: Sequence[KnownImage],
    frame: Mapping[str, Any],
) -> None:
    """Save the weights, beside the start model's processor; the configuration comes last."""
    partial = folder / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    trainer.save_weights(partial)
    # TRL describes the base model and its own settings there.
    (folder / "README.md").unlink(missing_ok=True)
    for path in start.iterdir():
        if path.name.startswith(_OF_THE_START):
            shutil.copyfile(path, partial / path.name)
    before = start / TRAINING_RECORD
    known = before.read_bytes() if before.is_file() else None
    record = add_images(known, images, frame=frame)
    (partial / TRAINING_RECORD).write_bytes(record)
    for path in sorted(partial.iterdir(), key=lambda p: p.name == "config.json"):
        path.replace(folder / path.name)
    partial.rmdir()


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except ConfigError as problem:
        sys.exit("\n".join(problem.problems))
    except HlmatError as problem:
        sys.exit(str(problem))
