"""Tokenizers that lack, drop or replace characters, and rows that have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.trainer.text.preflight.definitions import ROWS
from tests.trainer.text.tiny import CHARACTERS, character_tokenizer, save_folder

CHAT = "{% for m in messages %}({{ m['content'] }}){% endfor %}"


def with_row(**row: str) -> list[dict[str, str]]:
    return [*ROWS[:20], {"question": "7+7=", "answer": "14", **row}, *ROWS[20:]]


def with_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Path:
    return save_folder(folder / "student", tokenizer=tokenizer, **changes)


def dropping_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    """One that has no unknown token and drops what it lacks without a word."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2} | {
        character: 3 + index for index, character in enumerate(CHARACTERS)
    }
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", bos_token="<bos>", **options
    )


def replacing_tokenizer() -> PreTrainedTokenizerFast:
    """One that writes - for +, as normalisers replace typographic signs."""
    tokenizer = character_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("+", "-")
    return tokenizer


def unknown_tokenizer() -> PreTrainedTokenizerFast:
    """One with an unknown token of its own, as lists of words have."""
    tokenizer = character_tokenizer(CHARACTERS[:-1])
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    inner["model"]["vocab"]["<unk>"] = 3 + len(CHARACTERS) - 1
    inner["model"]["unk_token"] = "<unk>"
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(inner)),
        eos_token="<eos>",
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
