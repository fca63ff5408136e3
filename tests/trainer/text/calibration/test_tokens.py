"""Confidences in token ids: the reasoning keeps its ids, whatever the tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tests.trainer.text.tiny import save_folder
from trainer.spec.confidence import StatedConfidence
from trainer.spec.networks import Network
from trainer.text.calibration.codec import Codec, Reading
from trainer.text.calibration.tokens import (
    confidence_tokens,
    require_writable,
    with_confidence,
    without_confidence,
)
from trainer.text.language.models import LanguageModel, ModelError, load
from trainer.text.language.tokenizers import decode, token_texts

LINE = Codec(StatedConfidence())
INLINE = Codec(
    StatedConfidence(wording=" conf:{value}", own_line=False, decimals=1, instruction="")
)
TRAINED_ON = [
    *["x conf:0.4"] * 20,
    *["So it is 42.\nConfidence: 0.38\n"] * 5,
    "The sum is 7\nConfidence: 1.00",
    "é 漢字",
]

fragments = st.sampled_from(
    [
        "So",
        " it is",
        " 42",
        ".",
        ".\n",
        "\n",
        "\n\n",
        " conf",
        ": ",
        "0.4",
        "漢",
        "é",
        "Confidence",
        "Confidence: 0.9",
    ]
)
reasonings = st.lists(fragments, max_size=8).map("".join)


@cache
def built_in() -> LanguageModel:
    return load(Network(model="builtin:student"))


@cache
def byte_pairs() -> LanguageModel:
    """A byte-level BPE tokenizer with merges across the end of a line, such as `.⏎`."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(".\n", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        special_tokens=["<pad>", "<eos>", "<bos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TRAINED_ON, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", bos_token="<bos>"
    )
    return load(
        Network(model=f"file:{save_folder(Path(mkdtemp()), tokenizer=tokenizer, vocab_size=320)}")
    )


def ids_of(model: LanguageModel, text: str) -> tuple[int, ...]:
    return tuple(model.tokenizer(text, add_special_tokens=False).input_ids)


def test_the_built_in_pair_states_it_in_one_token() -> None:
    model = built_in()
    ids = (*ids_of(model, "12+30=42 conf:0.9"), model.eos_ids[0])
    assert confidence_tokens(INLINE, model, ids).tolist() == [False] * 8 + [True, False]
    assert without_confidence(INLINE, model, ids) == ids_of(model, "12+30=42")
    stated = with_confidence(INLINE, model, ids, 3 / 8)
    assert token_texts(model, stated.ids) == [*"12+30=42", " conf:0.4", "<eos>"]
    assert (stated.start, stated.stop) == (8, 9)


def test_a_line_of_its_own_starts_after_the_token_that_ends_the_line_before() -> None:
    model = byte_pairs()
    ids = ids_of(model, "It is 42.\nConfidence: 0.9\n")
    assert ".\n" in token_texts(model, ids)
    assert (
        decode(
            model,
            [
                id
                for id, in_statement in zip(ids, confidence_tokens(LINE, model, ids), strict=True)
                if not in_statement
            ],
        )
        == "It is 42.\n\n"
    )
    stated = with_confidence(LINE, model, ids_of(model, "It is 42.\n"), 0.5)
    assert stated.ids[: stated.start] == ids_of(model, "It is 42.\n")
    assert decode(model, stated.ids[stated.start : stated.stop]) == "Confidence: 0.50"


def test_text_that_shares_a_token_with_the_statement_survives() -> None:
    model = byte_pairs()
    ids = ids_of(model, "x conf:0.4")
    assert "x conf:0.4" in token_texts(model, ids)
    assert decode(model, without_confidence(INLINE, model, ids)) == "x"
    assert decode(model, with_confidence(INLINE, model, ids, 0.7).ids) == "x conf:0.7"


def test_a_long_answer_loses_the_end_of_its_reasoning_never_its_confidence() -> None:
    model = built_in()
    stated = with_confidence(INLINE, model, ids_of(model, "1+1+1+1=4 conf:0.9"), 0.2, longest=5)
    assert token_texts(model, stated.ids) == ["1", "+", "1", " conf:0.2", "<eos>"]
    line = with_confidence(LINE, model, ids_of(model, "1+1=2"), 0.25, longest=20)
    assert decode(model, line.ids) == "1+\nConfidence: 0.25"
    assert len(line.ids) == 20
    with pytest.raises(ValueError, match="takes 17 tokens, more than the longest answer of 10"):
        with_confidence(LINE, model, ids_of(model, "1+1=2"), 0.25, longest=10)


def test_a_tokenizer_that_lacks_the_words_is_refused() -> None:
    require_writable(INLINE, built_in(), 2)
    require_writable(LINE, byte_pairs(), 80)
    with pytest.raises(
        ModelError, match=r"cannot write “确信: 0\.00”\. Change data\.confidence\.wording"
    ):
        require_writable(Codec(StatedConfidence(wording="确信: {value}")), built_in(), 80)
    with pytest.raises(
        ModelError,
        match=r"needs 17 tokens to write .* at most 16\. Shorten data\.confidence\.wording",
    ):
        require_writable(LINE, built_in(), 16)


@settings(deadline=None, max_examples=60)
@given(
    pair=st.sampled_from(
        [(INLINE, built_in), (LINE, built_in), (INLINE, byte_pairs), (LINE, byte_pairs)]
    ),
    text=reasonings,
    statement=st.sampled_from(["", "0.9", "high", "85%"]),
    after=st.sampled_from(["", "\n", "\nSo"]),
    tenths=st.integers(0, 10),
)
def test_the_reasoning_keeps_its_ids_and_the_confidence_is_read(
    pair: tuple[Codec, Callable[[], LanguageModel]],
    text: str,
    statement: str,
    after: str,
    tenths: int,
) -> None:
    codec, opened = pair
    model = opened()
    if statement:
        text += codec.separator(text) + codec.settings.wording.replace("{value}", statement)
    ids = ids_of(model, text + after)
    text_read = decode(model, ids)
    mask = confidence_tokens(codec, model, ids)
    stated = with_confidence(codec, model, ids, tenths / 10)
    assert codec.read(decode(model, stated.ids)) == Reading(tenths / 10)
    assert decode(model, stated.ids[: stated.start]).split() == codec.strip(text_read).split()
    assert stated.ids[-1] == model.eos_ids[0]
    untouched = [id for id, in_statement in zip(ids, mask, strict=True) if not in_statement]
    assert _is_subsequence(untouched, stated.ids[: stated.start])
    assert with_confidence(codec, model, stated.ids, tenths / 10) == stated


def _is_subsequence(ids: list[int], longer_ids: tuple[int, ...]) -> bool:
    iterator = iter(longer_ids)
    return all(id in iterator for id in ids)
