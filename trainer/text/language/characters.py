"""Which characters of a text a tokenizer cannot write, and which it changes or drops.

A tokenizer with a fixed list of characters or words gives its unknown token, or fails, where a text
has another one. One without an unknown token drops the character without a word, and a normaliser
may replace it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

from trainer.text.language.model_folders import ModelError
from trainer.text.language.text_models import TextModel

MOST_NAMED = 5
LONGEST_PIECE = 30


class UnwritableText(ModelError):
    """A text has characters or words for which the tokenizer has no token: its `pieces`."""

    def __init__(self, message: str, pieces: tuple[str, ...]) -> None:
        super().__init__(message)
        self.pieces = pieces


def unknown_id(language_model: TextModel) -> int | None:
    """Return the id of unreadable characters, or None if it is also another special token's id."""
    unknown: int | None = language_model.tokenizer.unk_token_id
    special = {
        *language_model.eos_ids,
        language_model.tokenizer.bos_token_id,
        language_model.tokenizer.pad_token_id,
    }
    return None if unknown in special else unknown


def unwritable(language_model: TextModel, text: str) -> UnwritableText:
    """Return the error about a text that the tokenizer cannot write."""
    pieces = _unknown_pieces(language_model, text)
    named = f": {named_pieces(pieces)}" if pieces else ""
    excerpt = text if len(text) <= 60 else text[:60] + "…"
    return UnwritableText(
        f"The tokenizer of {language_model.name} lacks a character of “{excerpt}”{named}. Use "
        "one that covers the data.",
        pieces,
    )


def named_pieces(pieces: Iterable[str]) -> str:
    """Characters with their code points, words in quotes.

    >>> named_pieces(["’", "naïve"])
    '’ (U+2019), “naïve”'
    """
    listed = list(pieces)
    names = [_name(piece) for piece in listed[:MOST_NAMED]]
    more = len(listed) - MOST_NAMED
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def fate_of(
    language_model: TextModel, character: str
) -> Literal["written", "unknown", "dropped", "changed"]:
    """Return what becomes of a character by itself when it is encoded and decoded again.

    Equal are characters that differ in case or in compatibility forms alone, as ½ and 1⁄2.
    """
    try:
        ids = language_model.tokenizer(character, add_special_tokens=False).input_ids
    # tokenizers raises a plain Exception where a vocabulary without an unknown token lacks one.
    except Exception:
        return "unknown"
    if unknown_id(language_model) in ids:
        return "unknown"
    text = str(language_model.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    if _compared(text) == _compared(character):
        return "written"
    if text.strip():
        return "changed"
    # Marks of direction, zero-width spaces and the like say nothing.
    return "written" if unicodedata.category(character) in ("Cc", "Cf") else "dropped"


def drops_line_breaks(language_model: TextModel, text: str) -> bool:
    """Return whether a text with line breaks inside has none once it is decoded again.

    Tokenizers that split at white space drop it, and with it the lines of code and of tables.
    """
    if "\n" not in text.strip():
        return False
    try:
        ids = language_model.tokenizer(text.strip(), add_special_tokens=False).input_ids
    except Exception:
        # A character that it lacks is reported for itself.
        return False
    decoded = language_model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return "\n" not in decoded


def _compared(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _unknown_pieces(language_model: TextModel, text: str) -> tuple[str, ...]:
    """The distinct pieces of a text that become the unknown token, in the order of the text."""
    characters = [character for character in dict.fromkeys(text) if not character.isspace()]
    unknown = tuple(
        character for character in characters if fate_of(language_model, character) == "unknown"
    )
    # A list of whole words lacks most characters by themselves, also those of words that it has.
    if unknown and len(unknown) <= len(characters) // 2:
        return unknown
    try:
        encoding = language_model.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        spans = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        pieces = [text[start:end] for id, (start, end) in spans if id == unknown_id(language_model)]
    # Tokenizers without a tokenizer.json know no offsets, and a text that fails has none.
    except Exception:
        return unknown
    return tuple(dict.fromkeys(piece for piece in pieces if piece.strip())) or unknown


def _name(piece: str) -> str:
    if len(piece) == 1:
        shown = f"{piece} " if piece.isprintable() else ""
        return f"{shown}(U+{ord(piece):04X})"
    short = piece if len(piece) <= LONGEST_PIECE else f"{piece[:LONGEST_PIECE]}…"
    return f"“{short}”"
