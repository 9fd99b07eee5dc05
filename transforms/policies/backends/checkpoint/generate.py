"""A multimodal model in this process: answers questions with a checkpoint of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hlmat.transforms.core.errors import AnswerError, is_out_of_memory
from hlmat.transforms.core.protocols import Question
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles, find_checkpoint
from hlmat.transforms.policies.backends.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from hlmat.transforms.policies.backends.checkpoint.processor import render_question
from hlmat.transforms.policies.backends.options import CheckpointOptions

_IMAGE_MARK = "<image>"


def load_checkpoint_answerer(options: CheckpointOptions) -> CheckpointAnswerer:
    """Load the checkpoint; needs torch, transformers and peft.

    Raises:
        ConfigError: the checkpoint is missing, damaged, not safe to load or of another kind, its
            adaptor does not fit it, or a package or the device is not there.
    """
    files = find_checkpoint(options.model, adapter=options.adapter)
    checkpoint = load_checkpoint(files, device=options.device, dtype=options.dtype)
    return CheckpointAnswerer(options, files=files, checkpoint=checkpoint)


def describe_checkpoint(
    options: CheckpointOptions, *, files: CheckpointFiles | None = None
) -> Mapping[str, str | int | float | bool | None]:
    """Return what determines a checkpoint's answers, reading its files and loading nothing.

    Args:
        options: which checkpoint answers, and how.
        files: what `find_checkpoint` found, if it was called already.

    Raises:
        ConfigError: the files are missing, damaged or not safe to load.
    """
    files = files or find_checkpoint(options.model, adapter=options.adapter)
    is_greedy = options.temperature == 0
    return {
        "model_type": files.model_type,
        "has_adapter": files.adapter is not None,
        "checkpoint_sha256": files.sha256(),
        "dtype": options.dtype,
        "max_new_tokens": options.max_new_tokens,
        "temperature": float(options.temperature),
        "seed": None if is_greedy else options.seed,
    }


class CheckpointAnswerer:
    """Answers with a loaded checkpoint. Made by `load_checkpoint_answerer`.

    A question becomes one user message in the checkpoint's own chat template, the image where
    its mark stands. The image goes to the processor as it is; what resizing the processor does
    is its own. Sampling settings that a checkpoint brings with it, such as a repetition penalty,
    are not used.

    With a temperature, the draws belong to the question: its target, its turn and the seed
    decide them, not its place in a batch. What is left to chance is rounding: on another device,
    dtype or batch size, scores differ in their last digits and may tip a draw, or a tie between
    the two likeliest tokens.
    """

    def __init__(
        self, options: CheckpointOptions, *, files: CheckpointFiles, checkpoint: LoadedCheckpoint
    ) -> None:
        from transformers import GenerationConfig

        self._options = options
        self._files = files
        self._checkpoint = checkpoint
        self._batch_size = options.batch_size
        self._description: Mapping[str, str | int | float | bool | None] | None = None
        # What the call of `generate` leaves open is taken from here.
        checkpoint.model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=options.max_new_tokens,
            eos_token_id=list(checkpoint.stop_ids),
            pad_token_id=checkpoint.pad_id,
        )

    def describe(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the same as `describe_checkpoint`; the first call reads all files."""
        if self._description is None:
            self._description = describe_checkpoint(self._options, files=self._files)
        return dict(self._description)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return the model's texts, special tokens left out, nothing else stripped.

        Raises:
            AnswerError: memory runs out at a single question, a question has not exactly one
                mark for the image, or the processor or the model fails.
        """
        for question in questions:
            self._check(question)
        answers: list[str] = []
        while len(answers) < len(questions):
            batch = questions[len(answers) : len(answers) + self._batch_size]
            texts = self._answer_batch(batch)
            if texts is None:
                self._batch_size = max(1, len(batch) // 2)
                self._free_memory()
            else:
                answers += texts
        return answers

    def _check(self, question: Question) -> None:
        """Raise AnswerError if the text would show the model another number of images."""
        marks = question.text.count(_IMAGE_MARK)
        image_token = getattr(self._checkpoint.processor, "image_token", None)
        rest = question.text.replace(_IMAGE_MARK, "", 1)
        if marks != 1 or (image_token is not None and image_token in rest):
            raise AnswerError(
                f"{_name(question)} has {marks} marks {_IMAGE_MARK} for one image, or the "
                f"model's own mark {image_token} in its text; take the marks out of the expression"
            )

    def _answer_batch(self, questions: Sequence[Question]) -> list[str] | None:
        """Return the answers, or None where memory ran out and fewer questions may go."""
        try:
            return self._generate(questions)
        except Exception as error:  # model code can fail in any way; it is told, not hidden
            if is_out_of_memory(error):
                if len(questions) > 1:
                    return None
                problem = "memory ran out at a batch of one; use a smaller image, dtype or model"
            else:
                problem = f"{type(error).__name__}: {error}"
            raise AnswerError(
                f"the model {self._files.name} cannot answer {_name(questions[0])}"
                f"{f' and {len(questions) - 1} more' if len(questions) > 1 else ''}: {problem}"
            ) from error

    def _generate(self, questions: Sequence[Question]) -> list[str]:
        import torch

        model = self._checkpoint.model
        inputs = self._encode(questions).to(model.device, dtype=model.dtype)
        temperatures = [self._temperature(question) for question in questions]
        processors = [self._sampler(questions, temperatures)] if any(temperatures) else []
        with torch.inference_mode():
            tokens = model.generate(**inputs, logits_processor=processors)
        return self._checkpoint.processor.tokenizer.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )

    def _encode(self, questions: Sequence[Question]) -> Any:
        """Return the tensors of a batch, texts padded on the left."""
        from PIL import Image

        processor = self._checkpoint.processor
        prompts = [
            render_question(processor, self._checkpoint.chat_template, _parts(question.text))
            for question in questions
        ]
        bos = processor.tokenizer.bos_token
        return processor(
            text=prompts,
            images=[[Image.fromarray(question.image)] for question in questions],
            padding=True,
            # A template that writes the first token itself must not get it twice.
            add_special_tokens=not (bos and prompts[0].startswith(bos)),
            return_tensors="pt",
        )

    def _temperature(self, question: Question) -> float:
        return question.temperature if question.draw else self._options.temperature

    def _sampler(self, questions: Sequence[Question], temperatures: Sequence[float]) -> _Sampler:
        # A first answer keeps the draws that it had before there were further ones.
        rngs = [
            target_rng(
                self._options.seed, q.target_id, "answer", q.turn, *([q.draw] if q.draw else [])
            )
            for q in questions
        ]
        return _Sampler(rngs, temperatures=temperatures)

    def _free_memory(self) -> None:
        import torch

        if self._checkpoint.model.device.type == "cuda":
            torch.cuda.empty_cache()


class _Sampler:
    """Makes the likeliest token a draw from softmax(scores / temperature).

    Adding Gumbel noise and taking the maximum is such a draw; so every row can have a generator
    of its own, which the sampling of transformers has not.
    """

    def __init__(
        self, rngs: Sequence[np.random.Generator], *, temperatures: Sequence[float]
    ) -> None:
        self._rngs = rngs
        self._temperatures = np.array(temperatures)[:, None]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        noise = np.stack([rng.gumbel(size=scores.shape[1]) for rng in self._rngs])
        return scores + torch.from_numpy(self._temperatures * noise).to(scores.device, scores.dtype)


def _parts(text: str) -> list[dict[str, str]]:
    """Split a question into the parts of a message, nothing added or stripped."""
    before, after = text.split(_IMAGE_MARK)
    texts = [{"type": "text", "text": part} if part else None for part in (before, after)]
    return [part for part in (texts[0], {"type": "image"}, texts[1]) if part]


def _name(question: Question) -> str:
    return f"question {question.turn} of target {question.target_id!r}"
