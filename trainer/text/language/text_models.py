"""A language model as far as texts and token ids go: its tokenizer, ends and limits, no network.

Nothing here imports torch. `vocabulary` is the tokenizer's size, not the embedding's width:
checkpoints pad the embedding to a round number, and the rows beyond the tokenizer have no meaning.
Some tokenizers have a few tokens more than the embedding (Gemma 3 1B, Code Llama); these are no
part of the vocabulary, and a text with one of them is refused. Every softmax in this project is
over ids 0 … vocabulary − 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from trainer.spec.networks import Network, Thinking
from trainer.text.language.model_folders import (
    ModelError,
    cause_of,
    check_folder,
    local_folder,
    tokenizer_folder,
)
from trainer.text.language.text_towers import text_config
from trainer.text.language.tokenizer_files import load_tokenizer, vocabulary_size


@dataclass(frozen=True, kw_only=True)
class TextModel:
    """The tokenizer of a language model with what the model says about its texts.

    `vocabulary` is the number of ids that have a token and are embedded. `eos_ids` are the ids that
    end an answer, the tokenizer's own first. `chat_template` and `thinking` say how its prompts are
    formatted.
    """

    tokenizer: PreTrainedTokenizerBase
    name: str
    vocabulary: int
    max_length: int
    eos_ids: tuple[int, ...]
    chat_template: bool
    thinking: Thinking = "as_the_template"


def open_text_model(
    network: Network, resolve: Callable[[str], Path] = local_folder, frozen: bool = False
) -> TextModel:
    """Open a network of the run without its weights; `frozen` as for `models.load`.

    Raises ModelError if the model cannot be used.
    """
    folder = resolve(network.model)
    check_folder(folder, weights=not network.random_init, frozen=frozen)
    return _text_model(network, folder)


def open_tokenizer(
    network: Network, resolve: Callable[[str], Path] = tokenizer_folder
) -> TextModel:
    """Open a network that runs elsewhere, from a folder that need not have its weights.

    Raises ModelError if the folder has no tokenizer or configuration that can be used.
    """
    return _text_model(network, resolve(network.model))


def _text_model(network: Network, folder: Path) -> TextModel:
    tokenizer = load_tokenizer(folder)
    config = text_config(stored_config(folder))
    # An embedding of another width does not fit the configuration, which is found at loading.
    embedded = getattr(config, "vocab_size", None) or vocabulary_size(tokenizer)
    return TextModel(**text_facts(network, folder, tokenizer, config, embedded))


def text_facts(
    network: Network, folder: Path, tokenizer: PreTrainedTokenizerBase, config: Any, embedded: int
) -> dict[str, Any]:
    """Return the fields of the network's `TextModel`; `embedded` counts the embedding's rows.

    Raises ModelError if no token ends an answer.
    """
    vocabulary = min(vocabulary_size(tokenizer), embedded)
    generation = generation_config(folder, config, network.random_init)
    return {
        "tokenizer": tokenizer,
        "name": network.model,
        "vocabulary": vocabulary,
        "max_length": int(
            getattr(config, "max_position_embeddings", None)
            # Some architectures have no limit of positions.
            or 2**31
        ),
        "eos_ids": _eos_ids(tokenizer, generation, folder, vocabulary),
        "chat_template": network.chat_template and bool(tokenizer.chat_template),
        "thinking": network.thinking,
    }


def stored_config(folder: Path) -> Any:
    """Return the folder's configuration. Raises ModelError if transformers does not know it."""
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, TypeError, OSError) as error:
        version = transformers.__version__
        raise ModelError(
            f"{folder}: transformers {version} cannot open this model without running its "
            f"own code ({cause_of(error)})."
        ) from error
    # Each architecture checks its own settings, with errors of many kinds.
    except Exception as error:
        raise ModelError(
            f"{folder}: its config.json describes no network ({cause_of(error)}). Check that it is "
            "the one that the model was saved with."
        ) from error


def generation_config(folder: Path, config: Any, random_init: bool) -> GenerationConfig:
    """Return what transformers makes of the folder's generation_config.json, or takes instead.

    Raises ModelError if it cannot be read.
    """
    try:
        if (folder / "generation_config.json").is_file():
            return GenerationConfig.from_pretrained(folder, local_files_only=True)
        if random_init:
            return GenerationConfig.from_model_config(config)
        return GenerationConfig.from_pretrained(
            folder, config_file_name="config.json", _from_model_config=True, local_files_only=True
        )
    # It checks its values by errors of several kinds.
    except Exception as error:
        raise ModelError(
            f"{folder}: its generation_config.json cannot be read ({cause_of(error)}). Check that "
            "it is the one that the model was saved with."
        ) from error


def _eos_ids(
    tokenizer: PreTrainedTokenizerBase,
    generation: GenerationConfig,
    folder: Path,
    vocabulary: int,
) -> tuple[int, ...]:
    # Chat models list further end tokens there, such as the end of a turn.
    end_ids = getattr(generation, "eos_token_id", None)
    listed = end_ids if isinstance(end_ids, list | tuple) else [end_ids]
    eos_ids = tuple(
        # A token that is not embedded is never written.
        dict.fromkeys(
            end
            for end in (tokenizer.eos_token_id, *listed)
            if isinstance(end, int) and 0 <= end < vocabulary
        )
    )
    if not eos_ids:
        raise ModelError(
            f"{folder}: neither tokenizer nor generation_config.json names an end-of-text "
            "token that the model embeds, so no answer could end."
        )
    return eos_ids
