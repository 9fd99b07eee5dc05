"""Train a small byte-level BPE tokenizer; it decodes every text it encodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# A word keeps the space before it and each digit is split off, as in Qwen's tokenizer.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(
    sentences: Iterable[str],
    *,
    vocabulary: int,
    marks: Sequence[str],
    phrases: Sequence[str] = (),
    end: str,
    padding: str,
    chat_template: str,
) -> Any:
    """Train a tokenizer.

    Args:
        sentences: training text; the same sentences give the same tokenizer.
        vocabulary: largest number of tokens besides the marks; at least 256.
        marks: special tokens, never split.
        phrases: ordinary text that is one token each, wherever it stands.
        end: the mark that ends an answer.
        padding: the mark that pads shorter texts.
        chat_template: Jinja text.

    Returns:
        A `transformers.PreTrainedTokenizerFast`.
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([AddedToken(m, special=True, normalized=False) for m in marks])
    tokenizer.add_tokens([AddedToken(p, special=False, normalized=False) for p in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        pad_token=padding,
        additional_special_tokens=[m for m in marks if m not in (end, padding)],
        model_max_length=4096,
        chat_template=chat_template,
    )
