"""A multimodal model in this process: answers questions with a checkpoint of transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hlmat.transforms.core.errors import AnswerError, is_out_of_memory
from hlmat.transforms.core.questions import AnswerText, Question
from hlmat.transforms.core.rng import target_rng
from hlmat.transforms.policies.backends.checkpoint.expected_score import (
    NumberLogits,
    NumberTokens,
)
from hlmat.transforms.policies.backends.checkpoint.files import CheckpointFiles, find_checkpoint
from hlmat.transforms.policies.backends.checkpoint.loading import LoadedCheckpoint, load_checkpoint
from hlmat.transforms.policies.backends.checkpoint.processor import render_question, resized_by
from hlmat.transforms.policies.backends.options import CheckpointOptions

_IMAGE_MARK = "<image>"
_FINISH = "Finish"


def load_checkpoint_answerer(options: CheckpointOptions) -> CheckpointAnswerer:
    """Load the checkpoint; needs torch, transformers and peft.

    Raises:
        ConfigError: the checkpoint is missing, damaged, unsafe or of an unsupported type, its
            adapter does not fit, or a package or the device is missing.
    """
    files = find_checkpoint(options.model, adapter=options.adapter)
    checkpoint = load_checkpoint(files, device=options.device, dtype=options.dtype)
    return CheckpointAnswerer(options, files=files, checkpoint=checkpoint)


def checkpoint_identity(
    options: CheckpointOptions, *, files: CheckpointFiles | None = None
) -> Mapping[str, str | int | float | bool | None]:
    """Return what determines a checkpoint's answers; hash its files without loading it.

    Args:
        options: checkpoint and generation settings.
        files: the result of `find_checkpoint`; None to call it.

    Raises:
        ConfigError: the files are missing, damaged or unsafe to load.
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
        # Omitted if they are the defaults, so that finished runs keep their fingerprints.
        **({"score_reading": "expected"} if options.score_reading == "expected" else {}),
        **({"always_click": True} if options.always_click else {}),
    }


class CheckpointAnswerer:
    """Answer with a loaded checkpoint; built by `load_checkpoint_answerer`.

    A question becomes one user message in the checkpoint's chat template, with the image at its
    mark, preceded by its system message and functions, if any. The processor gets the image at full
    size and resizes it itself. Sampling settings of the checkpoint, such as a repetition penalty,
    are ignored.

    With a temperature, a question's draws depend on its target, its turn and the seed, not on its
    place in a batch. Only rounding varies: on another device, dtype or batch size, scores differ in
    their last digits, which can change a draw or break a tie differently.
    """

    def __init__(
        self, options: CheckpointOptions, *, files: CheckpointFiles, checkpoint: LoadedCheckpoint
    ) -> None:
        from transformers import GenerationConfig

        self._options = options
        self._files = files
        self._checkpoint = checkpoint
        self._batch_size = options.batch_size
        self._identity: Mapping[str, str | int | float | bool | None] | None = None
        tokenizer = checkpoint.processor.tokenizer
        self._numbers = self._unwanted = None
        if options.score_reading == "expected":
            self._numbers = NumberTokens(
                tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
            )
        if options.always_click:
            self._unwanted = _first_tokens(tokenizer, _FINISH)
        # Defaults for the call of `generate`.
        checkpoint.model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=options.max_new_tokens,
            eos_token_id=list(checkpoint.stop_ids),
            pad_token_id=checkpoint.pad_id,
        )

    def identity(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the result of `checkpoint_identity`; the first call hashes all files."""
        if self._identity is None:
            self._identity = checkpoint_identity(self._options, files=self._files)
        return dict(self._identity)

    def seen_size(self, size_hw: tuple[int, int]) -> tuple[int, int] | None:
        """Return the (height, width) to which the checkpoint's processor resizes an image."""
        return resized_by(self._checkpoint.processor, size_hw)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Return the model's texts without special tokens, otherwise unstripped.

        Raises:
            AnswerError: out of memory for a single question, a question without exactly one image
                mark, or a failure of processor or model.
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
        """Raise AnswerError unless the text has exactly one image mark."""
        marks = question.text.count(_IMAGE_MARK)
        image_token = getattr(self._checkpoint.processor, "image_token", None)
        rest = question.text.replace(_IMAGE_MARK, "", 1)
        if marks != 1 or (image_token is not None and image_token in rest):
            raise AnswerError(
                f"{_name(question)} has {marks} marks {_IMAGE_MARK} for one image, or the model's "
                f"mark {image_token} in its text; remove the marks from the expression"
            )

    def _answer_batch(self, questions: Sequence[Question]) -> list[str] | None:
        """Return the answers, or None if out of memory and a smaller batch may work."""
        try:
            return self._generate(questions)
        except Exception as error:  # model code can raise anything; report it
            if is_out_of_memory(error):
                if len(questions) > 1:
                    return None
                problem = "out of memory at batch size 1; use a smaller image, dtype or model"
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
        numbers = None if self._numbers is None else NumberLogits(self._numbers)
        processors: list[Any] = [] if numbers is None else [numbers]
        if self._unwanted is not None:
            processors.append(_Without(self._unwanted))
        if any(temperatures):
            processors.append(self._sampler(questions, temperatures))
        with torch.inference_mode():
            tokens = model.generate(**inputs, logits_processor=processors)
        written = tokens[:, inputs["input_ids"].shape[1] :]
        self._note(questions, inputs, written)
        texts = [self._decode(row) for row in written.tolist()]
        if numbers is not None:
            texts = [
                numbers.rescored(text, row, tokens, self._decode)
                for row, (text, tokens) in enumerate(zip(texts, written.tolist(), strict=True))
            ]
        stop_ids = torch.tensor(self._checkpoint.stop_ids, device=written.device)
        ends = torch.isin(written, stop_ids)
        flaw = f"cut off after --max-new-tokens {self._options.max_new_tokens}"
        return [
            AnswerText(text, flaw=None if has_end else flaw)
            for text, has_end in zip(texts, ends.any(dim=1).tolist(), strict=True)
        ]

    def _note(self, questions: Sequence[Question], inputs: Any, written: Any) -> None:
        """Take note of the tensors of a batch, and of the tokens written; for subclasses."""

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._checkpoint.processor.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _encode(self, questions: Sequence[Question]) -> Any:
        """Return the tensors of a batch, texts padded on the left."""
        from PIL import Image

        processor = self._checkpoint.processor
        prompts = [
            render_question(
                processor,
                self._checkpoint.chat_template,
                _parts(question.text),
                system=question.system,
                functions=question.functions,
            )
            for question in questions
        ]
        bos = processor.tokenizer.bos_token
        return processor(
            text=prompts,
            images=[[Image.fromarray(question.image)] for question in questions],
            padding=True,
            # Do not add the first token twice if the template writes it.
            add_special_tokens=not (bos and prompts[0].startswith(bos)),
            return_tensors="pt",
        )

    def _temperature(self, question: Question) -> float:
        return question.temperature if question.draw else self._options.temperature

    def _sampler(self, questions: Sequence[Question], temperatures: Sequence[float]) -> _Sampler:
        # Draw 0 is left out of the seed, so that first answers equal those of older versions.
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
    """Turn greedy decoding into sampling from softmax(scores / temperature).

    The maximum after adding Gumbel noise is such a sample, and every row can have its own
    generator, which the sampling of transformers does not support.
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


class _Without:
    """Rule out tokens."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores = scores.clone()
        scores[:, self._tokens] = -float("inf")
        return scores


def _first_tokens(tokenizer: Any, word: str) -> list[int]:
    """Return the tokens that a word begins with, at the start of a text and after a space."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (word, f", {word}")]
    return sorted({ids[0][0], *(ids[1][k] for k in _starts_of(tokenizer, ids[1], word))})


def _starts_of(tokenizer: Any, tokens: Sequence[int], word: str) -> list[int]:
    """Return the last index from which on the tokens spell a word, if any."""
    found = [k for k in range(len(tokens)) if tokenizer.decode(tokens[k:]).strip() == word]
    return found[-1:]


def _parts(text: str) -> list[dict[str, str]]:
    """Split a question into the parts of a message without stripping."""
    before, after = text.split(_IMAGE_MARK)
    texts = [{"type": "text", "text": part} if part else None for part in (before, after)]
    return [part for part in (texts[0], {"type": "image"}, texts[1]) if part]


def _name(question: Question) -> str:
    return f"question {question.turn} of target {question.target_id!r}"
