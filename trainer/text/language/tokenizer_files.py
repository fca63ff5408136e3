"""Tokenizers opened exactly as stored.

transformers' AutoTokenizer replaces a small custom tokenizer by the class that the model type
suggests and then drops, for example, spaces. A `tokenizer.json` is complete, so it is opened
directly; AutoTokenizer is used only for older folders without one.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from trainer.text.language.model_folders import ModelError

OLDER_FILES = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the folder's tokenizer. Raises ModelError if there is none or it cannot be read."""
    exact = (folder / "tokenizer.json").is_file()
    if not exact and not any((folder / name).is_file() for name in OLDER_FILES):
        raise ModelError(
            f"{folder} has no tokenizer. Copy the model's tokenizer.json and "
            "tokenizer_config.json into it."
        )
    kind = PreTrainedTokenizerFast if exact else AutoTokenizer
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"{folder}: the tokenizer cannot be read "
            f"({str(error).strip().splitlines()[0]}). Save it again."
        ) from error


def vocabulary_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the largest id that has a token, plus one."""
    return max(tokenizer.get_vocab().values()) + 1
