"""Tiny random language models of every supported shape, saved as ordinary model folders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from trainer.spec.networks import Network
from trainer.text.language.models import LanguageModel, load

CHARACTERS = "0123456789+-*/=()?.,> abcdefghij"
PAD, EOS, BOS = 0, 1, 2
VOCABULARY = 3 + len(CHARACTERS)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SHAPES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LLAMA3_ROPE}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 24}),
}


def character_tokenizer(characters: str = CHARACTERS, **options: Any) -> PreTrainedTokenizerFast:
    vocabulary = {"<pad>": PAD, "<eos>": EOS, "<bos>": BOS} | {
        character: 3 + index for index, character in enumerate(characters)
    }
    inner = Tokenizer(models.WordLevel(vocabulary))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", bos_token="<bos>", **options
    )


def save_folder(
    folder: Path,
    shape: str = "qwen2",
    seed: int = 0,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **changes: Any,
) -> Path:
    """Save a model folder with GQA attention (4 query heads on 2) and two layers.

    The weights are large enough for distributions far from uniform.
    """
    config_class, model_class, options = SHAPES[shape]
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    torch.manual_seed(seed)
    model_class(config_class(**settings | options | changes)).save_pretrained(folder)
    (tokenizer or character_tokenizer()).save_pretrained(folder)
    return folder


@cache
def language_model(
    shape: str = "qwen2", dtype: str = "float32", seed: int = 0, **changes: Any
) -> LanguageModel:
    folder = save_folder(Path(mkdtemp()), shape, seed, **changes)
    return load(Network(model=f"file:{folder}", dtype=dtype))
